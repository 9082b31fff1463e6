/** The native library of this machine, built when it is missing or older than its sources: with Zig
 *  from node_modules, else with a `zig` on PATH, else with clang or gcc (design D11). Imports nothing
 *  but Bun, so that it runs before dependencies are there. */
import { createHash } from "node:crypto"
import { availableParallelism } from "node:os"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { NativeError } from "../src/errors.ts"

const ROOT = join(import.meta.dir, "..")
const LIBRARY = `libds4_cpu.${process.platform === "darwin" ? "dylib" : "so"}`
/** Folder of this machine's libraries, as build.zig names it. */
const TARGET = `${process.platform}-${process.arch}`
const OUT = join(ROOT, "zig-out")
const LOCK_WAIT_MS = 100

export interface LibraryOptions {
  /** A library that is there already: used as it is. */
  library?: string | undefined
  /** Told once, when a build begins. */
  onProgress?: ((line: string) => void) | undefined
}

/** Path of the CPU library, built first if need be. A compiled executable cannot build: its library
 *  lies beside it. @throws NativeError if that is not possible. */
export async function ensureNativeLibrary(options: LibraryOptions = {}): Promise<string> {
  const beside = Bun.isStandaloneExecutable ? join(dirname(process.execPath), LIBRARY) : undefined
  const given = options.library ?? beside
  if (given) {
    if (existsSync(given)) return given
    throw new NativeError(`Cannot load the native library ${given}: there is no such file`)
  }
  const library = join(OUT, TARGET, LIBRARY)
  const stamp = sourceStamp()
  if (isCurrent(library, stamp)) return library
  await withLock(async () => {
    if (isCurrent(library, stamp)) return
    options.onProgress?.("Building the native kernels (once, about half a minute)")
    await buildInto(library, stamp)
  })
  return library
}

/** Hash of all that the library is made of. */
function sourceStamp(): string {
  const folders = ["ffi", "ffi/cpu"]
  const files = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder))
      .filter((f) => /\.[ch]$/.test(f))
      .map((f) => `${folder}/${f}`),
  )
  const hash = createHash("sha256")
  for (const file of [...files.toSorted(), "build.zig"])
    hash.update(`${file}\n`).update(readFileSync(join(ROOT, file)))
  return hash.digest("hex")
}

function isCurrent(library: string, stamp: string): boolean {
  const beside = `${library}.stamp`
  return existsSync(library) && existsSync(beside) && readFileSync(beside, "utf8") === stamp
}

/** Builds under a name of its own, then renames: nobody ever sees half a library. */
async function buildInto(library: string, stamp: string): Promise<void> {
  const prefix = join(OUT, `tmp-${process.pid}`)
  const made = join(prefix, TARGET, LIBRARY)
  try {
    mkdirSync(join(prefix, TARGET), { recursive: true })
    const compiler = await findCompiler()
    if (compiler.kind === "zig") await buildWithZig(compiler.path, prefix)
    else await buildWithCc(compiler.path, made)
    mkdirSync(join(OUT, TARGET), { recursive: true })
    renameSync(made, library)
    writeFileSync(`${library}.stamp`, stamp)
  } finally {
    rmSync(prefix, { recursive: true, force: true })
  }
}

interface Compiler {
  kind: "zig" | "cc"
  path: string
}

/** The npm package's bin is a node script; the program beside it needs no node. */
async function findCompiler(): Promise<Compiler> {
  const packaged = join(ROOT, "node_modules/@zigc", TARGET, "bin/zig")
  if (existsSync(packaged)) return { kind: "zig", path: packaged }
  const zig = Bun.which("zig")
  if (zig && (await run([zig, "version"])).output.startsWith("0.16."))
    return { kind: "zig", path: zig }
  const cc = Bun.which("clang") ?? Bun.which("gcc") ?? Bun.which("cc")
  if (cc) return { kind: "cc", path: cc }
  throw new NativeError(
    "Cannot build the native kernels: there is no compiler. Run `bun install`, which brings Zig for " +
      "Linux x64; elsewhere install Zig 0.16 (ziglang.org), clang or gcc.",
  )
}

/** Caches stay in the repository, so that deleting it leaves nothing behind. */
async function buildWithZig(zig: string, prefix: string): Promise<void> {
  const cache = join(ROOT, ".zig-cache")
  const flags = [
    "--prefix",
    prefix,
    "--cache-dir",
    cache,
    "--global-cache-dir",
    join(cache, "global"),
  ]
  await mustRun([zig, "build", ...flags])
}

/** What build.zig does, for a plain C compiler: every family once per instruction set. */
async function buildWithCc(cc: string, library: string): Promise<void> {
  const zig = readFileSync(join(ROOT, "build.zig"), "utf8")
  const list = (name: string) =>
    strings(zig.match(new RegExp(`const ${name} = [^{]*\\{([^;]*)\\};`))?.[1])
  const flags = list("flags")
  const variants = [...(zig.match(variantBlock())?.[1] ?? "").matchAll(/\.name = "(\w+)"/g)]
  const jobs: { object: string; args: string[] }[] = []
  const add = (file: string, variant: string, extra: string[]) => {
    const object = `${library}.${variant}.${file}.o`
    jobs.push({ object, args: [...extra, "-c", join(ROOT, `ffi/cpu/${file}.c`), "-o", object] })
  }
  for (const file of list("common")) add(file, "common", [])
  for (const [, variant] of variants)
    for (const file of list("families"))
      add(file, variant!, [`-DDS4_ISA=${variant}`, ...machineFlags(variant!)])
  const queue = [...jobs]
  const worker = async () => {
    for (let job = queue.pop(); job; job = queue.pop())
      await mustRun([cc, ...flags, "-fPIC", ...job.args])
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  const objects = jobs.map((j) => j.object)
  await mustRun([cc, "-shared", "-o", library, ...objects, "-lm", "-lpthread"])
}

const variantBlock = () => new RegExp(`const ${process.arch}_variants = [^{]*\\{([^;]*)\\};`)

const strings = (list = "") => [...list.matchAll(/"([^"]*)"/g)].map((m) => m[1]!)

/** The `cc: flags` of an instruction set's header. */
function machineFlags(variant: string): string[] {
  const header = readFileSync(join(ROOT, `ffi/cpu/simd_${variant}.h`), "utf8")
  return (header.match(/cc: ?([^\n*]*)/)?.[1] ?? "").split(" ").filter(Boolean)
}

async function run(command: string[]): Promise<{ code: number; output: string }> {
  const p = Bun.spawn(command, { cwd: ROOT, stdin: "ignore", stdout: "pipe", stderr: "pipe" })
  const [out, err] = await Promise.all([
    new Response(p.stdout).text(),
    new Response(p.stderr).text(),
  ])
  return { code: await p.exited, output: out + err }
}

async function mustRun(command: string[]): Promise<void> {
  const { code, output } = await run(command)
  if (code === 0) return
  const lines = output
    .trim()
    .split("\n")
    .map((line) => line.slice(0, 200)) // whole command lines
  const end = lines.slice(-30).join("\n")
  throw new NativeError(`Cannot build the native kernels: ${command[0]} ended with ${code}\n${end}`)
}

/** Two first starts at once: the second waits, then finds the library. A lock whose owner is dead is
 *  taken over. */
async function withLock(work: () => Promise<void>): Promise<void> {
  const lock = join(OUT, "build.lock")
  mkdirSync(OUT, { recursive: true })
  while (!takeLock(lock)) await Bun.sleep(LOCK_WAIT_MS)
  try {
    await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function takeLock(lock: string): boolean {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" })
    return true
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "EEXIST")
      throw new NativeError(`Cannot build the native kernels: ${(e as Error).message}`)
  }
  if (!isAlive(lock)) rmSync(lock, { force: true })
  return false
}

function isAlive(lock: string): boolean {
  try {
    const pid = Number(readFileSync(lock, "utf8"))
    if (pid > 0) process.kill(pid, 0)
    return true
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code
    return code !== "ESRCH" && code !== "ENOENT"
  }
}

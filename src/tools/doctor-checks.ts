/** What `doctor` looks at: each check reads, judges and says what to do; none changes anything. */
import { existsSync, readFileSync } from "node:fs"
import { arch, availableParallelism, cpus, totalmem } from "node:os"
import { join } from "node:path"
import { ensureNativeLibrary } from "../../ffi/build.ts"
import { abiOf, openContext, openLibrary } from "../../ffi/library.ts"
import { resolveUserPath } from "../cli/paths.ts"
import { env } from "../env.ts"
import type { GgufFile } from "../gguf/types.ts"
import { availableMemory } from "../session/memory.ts"
import { memoryReport } from "./inspect-memory.ts"
import { inspectModel } from "./inspect-model.ts"
import { count, size } from "./inspect-print.ts"

/** A note is worth knowing and stops nothing. */
export type Status = "ok" | "note" | "warning" | "failure"

export interface Finding {
  topic: string
  status: Status
  text: string
  /** What to do about it. */
  fix?: string
}

/** The Bun that everything is tested with. */
export const PINNED_BUN = "1.4.5"

export const ROOT = join(import.meta.dir, "../..")

const PLATFORMS = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"]

export function checkMachine(): Finding[] {
  const [cpu] = cpus()
  const memory = `${size(totalmem())} of memory, ${size(availableMemory())} free for programs`
  const found: Finding[] = [
    {
      topic: "processor",
      status: "ok",
      text: `${cpu?.model.trim() || arch()}, ${availableParallelism()} threads`,
    },
    { topic: "memory", status: "ok", text: memory },
  ]
  if (process.platform === "win32")
    found.push({
      topic: "system",
      status: "failure",
      text: "Windows: ds4 runs on Linux and macOS",
      fix: "Use it inside WSL2: `wsl --install`, then the same commands in its Linux shell.",
    })
  else if (PLATFORMS.includes(`${process.platform}-${process.arch}`))
    found.push({ topic: "system", status: "ok", text: `${process.platform}, ${process.arch}` })
  else
    found.push({
      topic: "system",
      status: "warning",
      text: `${process.platform}, ${process.arch}: never tried`,
      fix: `Known to work: ${PLATFORMS.join(", ")}.`,
    })
  return found
}

export function checkBun(version: string = Bun.version): Finding {
  const order = Bun.semver.order(version, PINNED_BUN)
  if (order === 0) return { topic: "Bun", status: "ok", text: version }
  return {
    topic: "Bun",
    status: order < 0 ? "failure" : "warning",
    text: `${version}; ds4 is tested with ${PINNED_BUN}`,
    fix: `\`npx -y bun@${PINNED_BUN} ds4 …\` runs that one without installing it.`,
  }
}

/** Surroundings in which commands end with messages that are hard to understand. */
export function checkInstall(): Finding[] {
  const found: Finding[] = []
  if (!Bun.which("bun"))
    found.push({
      topic: "PATH",
      status: "note",
      text: "`bun` is not on PATH",
      fix: `\`npx -y bun@${PINNED_BUN} ds4 …\` works without; to install it: bun.sh.`,
    })
  else if (!Bun.which("bunx"))
    found.push({
      topic: "PATH",
      status: "note",
      text: "`bunx` is not on PATH though `bun` is",
      fix: "`bun x` is the same command.",
    })
  if (ignoresScripts())
    found.push({
      topic: "npm",
      status: "note",
      text: "`ignore-scripts` is on: npm's package of Bun stays a stub without its program",
      fix: "After installing it: `node node_modules/bun/install.js`. ds4 needs no scripts itself.",
    })
  if (!existsSync(join(ROOT, "node_modules/cac")))
    found.push({
      topic: "packages",
      status: "warning",
      text: "not installed",
      fix: "`bun install`; the first `ds4 chat` does it too.",
    })
  return found.length > 0 ? found : [{ topic: "installation", status: "ok", text: "complete" }]
}

function ignoresScripts(): boolean {
  if (env("npm_config_ignore_scripts") === "true") return true
  const files = [join(ROOT, ".npmrc"), resolveUserPath("~/.npmrc")]
  return files.some((file) => /^\s*ignore-scripts\s*=\s*true/m.test(readIfThere(file)))
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** The native library: builds it if it is missing, as any other command would. */
export async function checkLibrary(onProgress: (line: string) => void): Promise<Finding> {
  const topic = "native library"
  try {
    const path = await ensureNativeLibrary({ onProgress })
    const library = openLibrary(path)
    const ctx = openContext(library)
    const { abi, isas, isa, threads } = abiOf(library, ctx)
    library.ds4_close(ctx)
    const sets = isas.map((name) => (name === isa ? `${name} (used)` : name)).join(", ")
    return { topic, status: "ok", text: `${path}, ABI ${abi}, ${sets}, ${threads} threads` }
  } catch (error) {
    return {
      topic,
      status: "failure",
      text: firstLine(error),
      fix: "`bun install` brings a compiler on Linux x64; elsewhere install Zig 0.16, clang or gcc.",
    }
  }
}

/** A model and what its context takes here. */
export function checkModel(open: () => GgufFile, context: number): Finding[] {
  let file: GgufFile | undefined
  try {
    file = open()
    const r = inspectModel(file)
    const found: Finding[] = [
      { topic: "model", status: "ok", text: `${r.file}: ${r.name}, ${r.shape}, ${size(r.bytes)}` },
    ]
    if (r.extraTensors.length > 0)
      found.push({
        topic: "model",
        status: "warning",
        text: `${r.extraTensors.length} tensors that the model does not use: ${r.extraTensors[0]} …`,
      })
    return [...found, checkContext(file, r.config, context)]
  } catch (error) {
    return [{ topic: "model", status: "failure", text: firstLine(error) }]
  } finally {
    file?.source.close()
  }
}

function checkContext(
  file: GgufFile,
  config: Parameters<typeof memoryReport>[1],
  wanted: number,
): Finding {
  const context = Math.min(wanted, config.contextLength)
  const { total, machine } = memoryReport(file, config, { context })
  const topic = "context"
  const text = `${count(context)} tokens take ${size(total)} beside the weights`
  const most = `the largest that fits is ${count(machine.largestContext)}`
  if (!machine.fits)
    return {
      topic,
      status: "failure",
      text: `${text}, ${size(machine.available)} are left`,
      fix:
        machine.largestContext > 0
          ? `\`--ctx ${machine.largestContext}\`: ${most}.`
          : "More memory.",
    }
  if (!machine.weightsFit)
    return {
      topic,
      status: "warning",
      text: `${text}; the weights do not fit in memory and are read from disk over and over`,
      fix: `It runs, slowly; ${most}.`,
    }
  return { topic, status: "ok", text: `${text}; ${most}` }
}

const firstLine = (error: unknown) => (error as Error).message.split("\n")[0]!

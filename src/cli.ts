#!/usr/bin/env bun
/** The entry. It imports nothing from npm, so that a bare clone can fetch its packages and build its
 *  library with a line of progress, and only then load the rest. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { ensureNativeLibrary } from "../ffi/build.ts"
import { OutputClosed, writeAll } from "./cli/write.ts"
import { env } from "./env.ts"
import { CliError, Ds4Error, NativeError } from "./errors.ts"

const ROOT = join(import.meta.dir, "..")
const RUNTIME_PACKAGES = ["@valibot/to-json-schema", "cac", "picocolors", "valibot"]
const say = (line: string) => writeAll(2, `${line}\n`)

/** Fetches the packages that running needs; a compiled executable has them in it.
 *  @throws Ds4Error when that fails. */
async function ensurePackages(): Promise<void> {
  if (Bun.isStandaloneExecutable) return
  const isThere = (name: string) => existsSync(join(ROOT, "node_modules", name, "package.json"))
  if (RUNTIME_PACKAGES.every(isThere)) return
  say("Fetching packages (once)")
  const install = Bun.spawn([process.execPath, "install", "--frozen-lockfile", "--production"], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  })
  const said = await new Response(install.stderr).text()
  if ((await install.exited) === 0) return
  const reason = said.match(/error: (.*)/)?.[1] ?? said.trim().split("\n").at(-1)
  throw new Ds4Error(
    `Cannot fetch packages: ${reason || "bun install failed"} (the first start needs the network)`,
  )
}

/** Commands that only print need no library, and doctor wants to say what is wrong with it. */
function needsLibrary(argv: readonly string[]): boolean {
  const [first, ...rest] = argv
  if (first === undefined || ["help", "--help", "-h", "--version", "-v", "doctor"].includes(first))
    return false
  return !["--help", "-h"].includes(rest.at(-1) ?? "")
}

/** One line for the user, the end of a compiler's output below it; all of it with DS4_DEBUG. */
function report(error: unknown): number {
  if (error instanceof OutputClosed) return 0
  const text = error instanceof Error ? error.message : String(error)
  if (env("DS4_DEBUG")) say(error instanceof Error ? `${error.stack}` : text)
  else {
    const [first, ...more] = text.split("\n")
    const isOurs = error instanceof Ds4Error
    say(
      `ds4: ${isOurs ? "" : "internal error: "}${first}${isOurs ? "" : " (DS4_DEBUG=1 says more)"}`,
    )
    if (error instanceof NativeError && more.length > 0) say(more.join("\n"))
  }
  return error instanceof CliError ? 2 : 1
}

async function start(argv: readonly string[]): Promise<number> {
  await ensurePackages()
  if (needsLibrary(argv)) await ensureNativeLibrary({ onProgress: say })
  const { main } = await import("./cli/main.ts")
  return main(argv)
}

const fail = (error: unknown) => process.exit(report(error))
process.on("uncaughtException", fail)
process.on("unhandledRejection", fail)
// All output is written when it is given; a Worker in the middle of a kernel is not waited for.
process.exit(await start(process.argv.slice(2)).catch(report))

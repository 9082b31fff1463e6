#!/usr/bin/env bun
/** The entry. It imports nothing from npm, so that a bare clone can fetch its packages and build its
 *  library with a line of progress, and only then load the rest. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { ensureNativeLibrary } from "../ffi/build.ts"
import { env } from "./env.ts"
import { CliError, Ds4Error } from "./errors.ts"

const ROOT = join(import.meta.dir, "..")

/** Fetches the packages that running needs. @throws Ds4Error when that fails. */
async function ensurePackages(): Promise<void> {
  if (existsSync(join(ROOT, "node_modules/cac"))) return
  process.stderr.write("Fetching packages (once)\n")
  const install = Bun.spawn([process.execPath, "install", "--frozen-lockfile", "--production"], {
    cwd: ROOT,
    stdout: "ignore",
    stderr: "pipe",
  })
  const said = await new Response(install.stderr).text()
  if ((await install.exited) !== 0)
    throw new Ds4Error(`Packages could not be fetched: ${said.trim().split("\n").at(-1)}`)
}

/** One line for the user; the whole error with DS4_DEBUG. */
function report(error: unknown): number {
  if (env("DS4_DEBUG")) console.error(error)
  else {
    const text = error instanceof Error ? error.message : String(error)
    process.stderr.write(`ds4: ${text.split("\n")[0]}\n`)
  }
  return error instanceof CliError ? 2 : 1
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1)
})

try {
  await ensurePackages()
  await ensureNativeLibrary({
    library: env("DS4_LIBRARY"),
    onProgress: (line) => process.stderr.write(`${line}\n`),
  })
  const { main } = await import("./cli/main.ts")
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.exitCode = report(error)
}

/** The caller's directory. `bun ds4` runs in the package's own, so that a relative path of the user
 *  would miss; npx keeps the caller's in INIT_CWD, and the parent process (`bun run`) stands in it. */
import { readlinkSync } from "node:fs"
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import { env } from "../env.ts"

const PACKAGE = join(import.meta.dir, "../..")

let known: string | undefined

/** The directory in which the user typed the command. */
export function callerDirectory(): string {
  known ??= findCaller()
  return known
}

function findCaller(): string {
  if (resolve(process.cwd()) !== resolve(PACKAGE)) return process.cwd()
  const init = env("INIT_CWD")
  if (init) return init
  try {
    return readlinkSync(`/proc/${process.ppid}/cwd`)
  } catch {
    return process.cwd()
  }
}

/** A path as the user means it. */
export function resolveUserPath(path: string): string {
  if (path === "~" || path.startsWith("~/")) return join(homedir(), path.slice(1))
  return resolve(callerDirectory(), path)
}

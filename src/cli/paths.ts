/** The directories that the command line knows: where the user stands, and where ds4 keeps things. */
import { spawnSync } from "node:child_process"
import { readlinkSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { isAbsolute, join, resolve } from "node:path"
import { env } from "../env.ts"

const PACKAGE = join(import.meta.dir, "../..")

/** What can be known about how the process was started. */
export interface Start {
  cwd: string
  /** INIT_CWD, where npm and npx were called. */
  initCwd: string | undefined
  /** Whether a script of package.json runs us. */
  isScript: boolean
  /** Where the parent process stands, and whether it is Bun itself. */
  parent(): { cwd: string; isBun: boolean } | undefined
}

/** The directory in which the user typed the command. `bun ds4` runs its script in the package's own
 *  directory, so that relative paths of the user would miss; but it stays itself where it was called. */
export function findCaller(start: Start, root = PACKAGE): string {
  if (!start.isScript || resolve(start.cwd) !== resolve(root)) return start.cwd
  const parent = start.parent()
  if (parent?.isBun) return parent.cwd
  return start.initCwd ?? start.cwd
}

function processStart(): Start {
  return {
    cwd: process.cwd(),
    initCwd: env("INIT_CWD"),
    isScript: env("npm_lifecycle_event") !== undefined,
    parent: process.platform === "linux" ? linuxParent : lsofParent,
  }
}

function linuxParent() {
  try {
    const of = (what: string) => readlinkSync(`/proc/${process.ppid}/${what}`)
    return { cwd: of("cwd"), isBun: of("exe") === readlinkSync("/proc/self/exe") }
  } catch {
    return undefined
  }
}

/** macOS has no /proc; lsof is part of it. */
function lsofParent() {
  const flags = ["-a", "-p", String(process.ppid), "-d", "cwd", "-Fcn"]
  const said = spawnSync("lsof", flags, { encoding: "utf8" }).stdout ?? ""
  const cwd = said.match(/^n(.+)$/m)?.[1]
  return cwd === undefined ? undefined : { cwd, isBun: /^cbun/m.test(said) }
}

let caller: string | undefined

/** A path as the user means it. */
export function resolveUserPath(path: string): string {
  const home = homeDirectory()
  if (home !== undefined && /^~(\/|$)/.test(path)) return join(home, path.slice(1))
  caller ??= findCaller(processStart())
  return resolve(caller, path)
}

/** The user's own directory, or undefined where there is none. */
function homeDirectory(): string | undefined {
  try {
    return homedir() || undefined
  } catch {
    return undefined
  }
}

/** Models and history live here. */
export function ds4Directory(): string | undefined {
  const home = homeDirectory()
  return home === undefined ? undefined : join(home, ".ds4")
}

/** What can be made again lives here: $XDG_CACHE_HOME/ds4 or ~/.cache/ds4. */
export function cacheDirectory(): string {
  const xdg = env("XDG_CACHE_HOME") // a relative one is to be ignored
  const cache =
    xdg !== undefined && isAbsolute(xdg) ? xdg : join(homeDirectory() ?? tmpdir(), ".cache")
  return join(cache, "ds4")
}

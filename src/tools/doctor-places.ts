/** Where ds4 keeps things, how large they are, and how to be rid of them. */
import { lstatSync, readdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ds4Directory, resolveUserPath } from "../cli/paths.ts"
import { env } from "../env.ts"
import { ROOT } from "./doctor-checks.ts"

export interface Place {
  what: string
  path: string
  /** Bytes on disk; null where there is nothing. */
  bytes: number | null
  /** The command that removes it, or null for what belongs to ds4 itself. */
  remove: string | null
}

const MODELS = join(ROOT, "models")

/** All places, whether there is something or not. */
export function places(): Place[] {
  const home = ds4Directory() ?? join(tmpdir(), "ds4")
  const cache = join(env("XDG_CACHE_HOME") ?? resolveUserPath("~/.cache"), "ds4")
  const all: [what: string, path: string][] = [
    ["your models", join(home, "models")],
    ["history of the chat", join(home, "history")],
    ["KV cache", join(cache, "kv")],
    ["models of the bench", join(cache, "synthetic")],
    ["native library", join(ROOT, "zig-out")],
    ["build cache", join(ROOT, ".zig-cache")],
    ["packages", join(ROOT, "node_modules")],
    ["ds4-mini", MODELS],
  ]
  return all.map(([what, path]) => ({
    what,
    path,
    bytes: bytesUnder(path),
    remove: path.startsWith(MODELS) ? null : `rm -r ${shellWord(path)}`,
  }))
}

const shellWord = (path: string) =>
  /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`

/** Bytes of a file or of everything in a folder; links are not followed. */
export function bytesUnder(path: string): number | null {
  try {
    const stat = lstatSync(path)
    if (!stat.isDirectory()) return onDisk(stat)
  } catch {
    return null
  }
  let bytes = 0
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    try {
      bytes += onDisk(lstatSync(join(entry.parentPath, entry.name)))
    } catch {
      // gone in between
    }
  }
  return bytes
}

/** A sparse file takes less than its size. */
const onDisk = (stat: { size: number; blocks: number }) => Math.min(stat.size, 512 * stat.blocks)

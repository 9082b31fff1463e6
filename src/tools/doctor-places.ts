/** Where ds4 keeps things, how large they are, and how to be rid of them. */
import { lstatSync, readdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { cacheDirectory, ds4Directory } from "../cli/paths.ts"
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

/** All places, whether there is something or not. `kv` is the folder of the KV cache. */
export function places(kv: string): Place[] {
  const home = ds4Directory() ?? join(tmpdir(), "ds4")
  const all: [what: string, path: string][] = [
    ["your models", join(home, "models")],
    ["history of the chat", join(home, "history")],
    ["KV cache", kv],
    ["models of the bench", join(cacheDirectory(), "synthetic")],
    ["native library", join(ROOT, "zig-out")],
    ["build cache", join(ROOT, ".zig-cache")],
    ["packages", join(ROOT, "node_modules")],
    ["ds4-mini", MODELS],
  ]
  return all.map(([what, path]) => ({
    what,
    path,
    bytes: bytesUnder(path),
    remove: removal(path, kv),
  }))
}

function removal(path: string, kv: string): string | null {
  if (path.startsWith(MODELS)) return null
  return path === kv ? "ds4 cache rm --all" : `rm -r ${shellWord(path)}`
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

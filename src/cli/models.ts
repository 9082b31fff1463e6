/** Which model a command means, and how it is to be opened. */
import { readdirSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { CliError } from "../errors.ts"
import type { BackendName } from "../ops/backend.ts"
import type { OpenOptions } from "../session/open.ts"
import { PUBLISHED } from "../tools/doctor-published.ts"
import type { Io } from "./io.ts"
import type { Args } from "./options.ts"
import { nearest } from "./parse.ts"
import { cacheDirectory, ds4Directory } from "./paths.ts"

const MINI = join(import.meta.dir, "../../models/ds4-mini/ds4-mini-q8.gguf")

/** -m, DS4_MODEL, the first file of ~/.ds4/models, else ds4-mini with a line that says so.
 *  @throws CliError when the named one is not there. */
export function findModel(args: Args, io: Io): { path: string; isDefault: boolean } {
  const named = args.text("model")
  if (named !== undefined) return { path: existing(io.resolvePath(named)), isDefault: false }
  const own = ownModels()
  if (own.length > 0) {
    if (own.length > 1)
      io.err(
        `Using ${basename(own[0]!)}, the first of ${own.length} models in ~/.ds4/models (-m)\n`,
      )
    return { path: own[0]!, isDefault: false }
  }
  io.err(`${miniNotice()}\n`)
  return { path: existing(MINI), isDefault: true }
}

/** Says that the tiny model is used, and how to come by the real one. */
function miniNotice(): string {
  const { repository, file, bytes } = PUBLISHED
  return (
    `Using ds4-mini, a tiny model for trying things out. The real one is ${file} of ` +
    `huggingface.co/${repository} (${(bytes / 2 ** 30).toFixed(0)} GiB): put it into ` +
    "~/.ds4/models, or name it with -m."
  )
}

function ownModels(): string[] {
  const folder = join(ds4Directory() ?? "", "models")
  return list(folder)
    .filter((f) => f.endsWith(".gguf"))
    .toSorted()
    .map((f) => join(folder, f))
}

function existing(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found && !found.isDirectory()) return path
  const ggufs = (folder: string) => list(folder).filter((f) => f.endsWith(".gguf"))
  if (found) {
    const hint = ggufs(path)[0]
    throw new CliError(
      `Cannot open ${path}: it is a folder, expected a GGUF file` +
        (hint ? `, as ${hint} in it` : ""),
    )
  }
  const near = nearest(basename(path), ggufs(dirname(path)))
  throw new CliError(
    `Cannot open ${path}: there is no such file` + (near ? `; did you mean ${near}?` : ""),
  )
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** Bytes that the KV cache on disk may take where nothing is said. */
export const DEFAULT_KV_SPACE = 4 * 2 ** 30

/** Where the flags say the KV cache on disk is, and how large; nothing with --no-kv-disk. */
export function diskOptions(args: Args, io: Io): Pick<OpenOptions, "disk"> {
  const budget = args.number("kvSpace") ?? DEFAULT_KV_SPACE
  if (args.text("kvDisk") === "off" || budget === 0) return {}
  return { disk: { dir: kvDirectory(args, io), budget } }
}

/** The folder of the KV cache on disk. */
export function kvDirectory(args: Args, io: Io): string {
  const named = args.text("kvDir")
  return named === undefined ? join(cacheDirectory(), "kv") : io.resolvePath(named)
}

/** How the flags say the model is to be opened. */
export function engineOptions(args: Args): OpenOptions {
  const backend = args.text("backend")
  const [context, threads, isa] = [args.number("ctx"), args.number("threads"), args.text("isa")]
  return {
    ...(backend !== undefined && { backend: backend as BackendName }),
    ...(context !== undefined && { context }),
    ...(threads !== undefined && { threads }),
    ...(isa !== undefined && { isa }),
  }
}

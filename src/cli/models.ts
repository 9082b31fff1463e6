/** Which model a command means, and how it is to be opened. */
import { existsSync, readdirSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { CliError } from "../errors.ts"
import type { BackendName } from "../ops/backend.ts"
import type { OpenOptions } from "../session/open.ts"
import type { Io } from "./io.ts"
import type { Args } from "./options.ts"

const MINI = join(import.meta.dir, "../../models/ds4-mini/ds4-mini-q8.gguf")

/** -m, DS4_MODEL, the only or first file of ~/.ds4/models, else ds4-mini with a line saying so. */
export function findModel(args: Args, io: Io): { path: string; isDefault: boolean } {
  const named = args.text("model")
  if (named !== undefined) {
    const path = io.resolvePath(named)
    if (!existsSync(path)) throw new CliError(`There is no model file ${path}`)
    return { path, isDefault: false }
  }
  const folder = join(homedir(), ".ds4/models")
  const own = existsSync(folder)
    ? readdirSync(folder)
        .filter((f) => f.endsWith(".gguf"))
        .sort()
    : []
  if (own.length > 0) return { path: join(folder, own[0]!), isDefault: false }
  io.err(
    "Using ds4-mini, a tiny model for trying things out; put the real one (repository " +
      "antirez/deepseek-v4-gguf, 81 GiB) into ~/.ds4/models or name it with -m.\n",
  )
  return { path: MINI, isDefault: true }
}

/** How the flags say the model is to be opened. */
export function engineOptions(args: Args): OpenOptions {
  const backend = args.flag("cpu") ? "cpu" : args.text("backend")
  const [context, threads, isa] = [args.number("ctx"), args.number("threads"), args.text("isa")]
  return {
    ...(backend !== undefined && { backend: backend as BackendName }),
    ...(context !== undefined && { context }),
    ...(threads !== undefined && { threads }),
    ...(isa !== undefined && { isa }),
  }
}

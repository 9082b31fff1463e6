/** From a file on disk, or bytes in memory, to a runtime: what fits is decided here, before anything
 *  large is taken. */
import { mapFile } from "../../ffi/host.ts"
import { ContextError } from "../errors.ts"
import { readGguf } from "../gguf/reader.ts"
import { bytesSource } from "../gguf/source.ts"
import type { GgufFile } from "../gguf/types.ts"
import { readConfig } from "../model/config.ts"
import type { BackendName } from "../ops/backend.ts"
import { type BackendOptions, openBackend } from "../ops/open.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import { DiskCache, type DiskOptions } from "./disk/cache.ts"
import { planMemory } from "./memory.ts"
import { Runtime, type RuntimeOptions } from "./runtime.ts"

/** A model's bytes: a file to map, or memory (a compiled executable cannot map a file inside itself). */
export type ModelSource = { path: string } | { bytes: Uint8Array; name: string }

export interface OpenOptions extends Partial<RuntimeOptions>, BackendOptions {
  backend?: BackendName
  /** Memory to stay within; by default what the machine has left. */
  memoryBytes?: number
  /** Keeps pages on disk too. */
  disk?: DiskOptions
}

export const DEFAULT_CONTEXT = 32768

/** Maps and parses a model file. @throws GgufError, or NativeError when it cannot be opened. */
export function openModelFile(model: ModelSource): GgufFile {
  const source = "path" in model ? mapFile(model.path) : bytesSource(model.bytes, model.name)
  try {
    return readGguf(source)
  } catch (error) {
    source.close()
    throw error
  }
}

/** Opens a model on a backend. Without `context`: 32,768 tokens or the most that fits.
 *  @throws ContextError naming the largest context that fits, before anything large is taken. */
export function openRuntime(model: ModelSource, options: OpenOptions = {}): Runtime {
  const file = openModelFile(model)
  const backend = openBackend(options.backend ?? "cpu", options)
  const config = readConfig(file.metadata)
  const plan = planMemory(config, backend, file.source.size, options)
  const fitting = Math.max(PAGE_TOKENS, Math.min(config.contextLength, plan.largest))
  const context = options.context ?? Math.min(DEFAULT_CONTEXT, fitting)
  const wanted = plan.bytesAt(context)
  if (wanted > plan.available)
    throw new ContextError(
      `A context of ${context} tokens needs ${gib(wanted)} GiB beside the weights, ` +
        `${gib(plan.available)} GiB are left; the largest that fits is ${plan.largest} (--ctx)`,
    )
  const runtime = new Runtime(file, backend, { ...options, context })
  if (options.disk) runtime.disk = new DiskCache(runtime, options.disk)
  return runtime
}

const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2)

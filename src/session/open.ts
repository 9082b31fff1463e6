/** From a file on disk, or bytes in memory, to a runtime: what fits is decided here, before anything
 *  large is taken. */
import { freemem, totalmem } from "node:os"
import { readFileSync } from "node:fs"
import { mapFile } from "../../ffi/host.ts"
import { ContextError } from "../errors.ts"
import { readGguf } from "../gguf/reader.ts"
import { bytesSource } from "../gguf/source.ts"
import type { GgufFile } from "../gguf/types.ts"
import { type Config, readConfig } from "../model/config.ts"
import { kvSizes } from "../model/kv-cache.ts"
import { scratchBytes } from "../model/scratch.ts"
import type { Backend, BackendName } from "../ops/backend.ts"
import { type BackendOptions, openBackend } from "../ops/open.ts"
import { PAGE_TOKENS } from "../ops/ops.ts"
import { DEFAULTS, Runtime, type RuntimeOptions } from "./runtime.ts"

/** A model's bytes: a file to map, or memory (a compiled executable cannot map a file inside itself). */
export type ModelSource = { path: string } | { bytes: Uint8Array; name: string }

export interface OpenOptions extends Partial<RuntimeOptions>, BackendOptions {
  backend?: BackendName
  /** Memory to stay within; by default what the machine has left. */
  memoryBytes?: number
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
  const context = options.context ?? Math.min(DEFAULT_CONTEXT, config.contextLength, plan.largest)
  const wanted = plan.bytesAt(context)
  if (wanted > plan.available)
    throw new ContextError(
      `A context of ${context} tokens needs ${gib(wanted)} GiB beside the weights, ` +
        `${gib(plan.available)} GiB are left; the largest that fits is ${plan.largest} (--ctx)`,
    )
  return new Runtime(file, backend, { ...options, context })
}

export interface MemoryPlan {
  /** Bytes left for everything but the weights. */
  available: number
  /** Bytes of KV memory, resume points and scratch for a context. */
  bytesAt(context: number): number
  /** The largest context, in whole pages, that fits. */
  largest: number
}

/** What a context costs on a backend, and how large it can be. Exact: pages, sequences and scratch are
 *  what KvCache and Scratch take. */
export function planMemory(
  c: Config,
  backend: Backend,
  weightBytes: number,
  o: Partial<RuntimeOptions> & { memoryBytes?: number } = {},
): MemoryPlan {
  const { nSeqs, maxRows, maxOutputs, resumeBytes } = { ...DEFAULTS, ...o }
  const sizes = kvSizes(c, backend)
  const scratch = scratchBytes(backend, c, maxRows, maxOutputs)
  const bytesAt = (context: number) => {
    const tableLen = Math.ceil(context / PAGE_TOKENS)
    const pages = o.nPages ?? tableLen * nSeqs
    const tables = 4 * tableLen * nSeqs
    const resume = Math.min(resumeBytes, sizes.resumePointBytes * (2 + tableLen / 16))
    return scratch + tables + nSeqs * sizes.sequenceBytes + pages * sizes.pageBytes + resume
  }
  const memory = o.memoryBytes ?? availableMemory()
  // Weights that fit stay in memory beside the cache; weights that do not are paged in and out.
  const available = weightBytes < memory ? memory - weightBytes : memory / 2
  let pages = Math.floor(c.contextLength / PAGE_TOKENS)
  while (pages > 1 && bytesAt(pages * PAGE_TOKENS) > available) pages = Math.floor(pages * 0.9)
  return { available, bytesAt, largest: pages * PAGE_TOKENS }
}

/** Memory that programs can still take: page cache counts as free. */
export function availableMemory(): number {
  try {
    const line = readFileSync("/proc/meminfo", "utf8").match(/^MemAvailable:\s+(\d+) kB/m)
    if (line) return Number(line[1]) * 1024
  } catch {
    // not Linux
  }
  return process.platform === "darwin" ? totalmem() * 0.75 : freemem()
}

const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2)

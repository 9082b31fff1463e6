/** From a file on disk, or bytes in memory, to a runtime: what fits is decided here, before anything
 *  large is taken. */
import { freemem, totalmem } from "node:os"
import { readFileSync } from "node:fs"
import { mapFile } from "../../ffi/host.ts"
import { ContextError } from "../errors.ts"
import { readGguf } from "../gguf/reader.ts"
import { bytesSource } from "../gguf/source.ts"
import type { GgufFile } from "../gguf/types.ts"
import { type Config, readConfig, ropeFrequencies } from "../model/config.ts"
import { kvSizes, type RowSizes } from "../model/kv-cache.ts"
import { scratchBytes } from "../model/scratch.ts"
import type { BackendName } from "../ops/backend.ts"
import { type BackendOptions, openBackend } from "../ops/open.ts"
import { PAGE_TOKENS } from "../ops/ops.ts"
import { candidateLayout } from "./candidates.ts"
import { DEFAULTS, Runtime, type RuntimeOptions } from "./runtime.ts"
import { RESUME_EVERY_PAGES, RESUME_LIVE_PAGES } from "./sequence.ts"

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
  const fitting = Math.max(PAGE_TOKENS, Math.min(config.contextLength, plan.largest))
  const context = options.context ?? Math.min(DEFAULT_CONTEXT, fitting)
  const wanted = plan.bytesAt(context)
  if (wanted > plan.available)
    throw new ContextError(
      `A context of ${context} tokens needs ${gib(wanted)} GiB beside the weights, ` +
        `${gib(plan.available)} GiB are left; the largest that fits is ${plan.largest} (--ctx)`,
    )
  return new Runtime(file, backend, { ...options, context })
}

/** Where the memory beside the weights goes, in bytes: what Runtime, Scheduler and PageTree take. */
export interface MemoryParts {
  /** KV pages of 128 tokens, and how many. */
  pages: number
  nPages: number
  pageTable: number
  /** Rings and frontiers of the live sequences. */
  sequences: number
  /** Resume points in host memory, at most, and how many. */
  resume: number
  nResume: number
  /** Activations, logits, rotation frequencies, sampling candidates. */
  scratch: number
  total: number
}

/** The memory that a context takes on a backend. */
export function memoryAt(
  c: Config,
  backend: RowSizes,
  context: number,
  o: Partial<RuntimeOptions> = {},
): MemoryParts {
  const { nSeqs, maxRows, maxOutputs, resumeBytes } = { ...DEFAULTS, ...o }
  const sizes = kvSizes(c, backend)
  const tableLen = Math.ceil(context / PAGE_TOKENS)
  const nPages = o.nPages ?? tableLen * nSeqs
  const wanted = Math.min(tableLen, RESUME_LIVE_PAGES + Math.floor(tableLen / RESUME_EVERY_PAGES))
  const nResume = Math.min(wanted * nSeqs, Math.floor(resumeBytes / sizes.resumePointBytes))
  const parts = {
    pages: nPages * sizes.pageBytes,
    nPages,
    pageTable: 4 * tableLen * nSeqs,
    sequences: nSeqs * sizes.sequenceBytes,
    resume: nResume * sizes.resumePointBytes,
    nResume,
    scratch:
      scratchBytes(backend, c, maxRows, maxOutputs) +
      2 * ropeFrequencies(c, false).byteLength +
      candidateLayout(maxOutputs).bytes,
  }
  const { pages, pageTable, sequences, resume, scratch } = parts
  return { ...parts, total: pages + pageTable + sequences + resume + scratch }
}

export interface MemoryPlan {
  /** Bytes left for everything but the weights. */
  available: number
  /** Whether the weights stay in memory beside it; else they are read from disk again and again. */
  weightsFit: boolean
  /** Bytes of KV memory, resume points and scratch for a context. */
  bytesAt(context: number): number
  /** The largest context, in whole pages, that fits; 0 if none does. */
  largest: number
}

/** What a context costs on a backend, and how large it can be. */
export function planMemory(
  c: Config,
  backend: RowSizes,
  weightBytes: number,
  o: Partial<RuntimeOptions> & { memoryBytes?: number } = {},
): MemoryPlan {
  const bytesAt = (context: number) => memoryAt(c, backend, context, o).total
  const memory = o.memoryBytes ?? availableMemory()
  const weightsFit = weightBytes < memory
  const available = weightsFit ? memory - weightBytes : memory / 2
  let fits = 0
  let tooMany = Math.floor(c.contextLength / PAGE_TOKENS) + 1
  while (tooMany - fits > 1) {
    const pages = Math.floor((fits + tooMany) / 2)
    if (bytesAt(pages * PAGE_TOKENS) <= available) fits = pages
    else tooMany = pages
  }
  return { available, weightsFit, bytesAt, largest: fits * PAGE_TOKENS }
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

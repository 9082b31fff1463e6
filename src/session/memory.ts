/** What a context costs, without taking it: by part, exactly what Runtime, Scheduler and PageTree
 *  take. */
import { readFileSync } from "node:fs"
import { freemem, totalmem } from "node:os"
import { type Config, ropeFrequencies } from "../model/config.ts"
import { kvSizes, type RowSizes } from "../model/kv-cache.ts"
import { scratchBytes } from "../model/scratch.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import { candidateLayout } from "./candidates.ts"
import { DEFAULTS, type RuntimeOptions } from "./runtime.ts"
import { RESUME_EVERY_PAGES, RESUME_LIVE_PAGES } from "./sequence.ts"

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
      candidateLayout(maxOutputs, c.vocabSize).bytes,
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

/** What a context costs: exactly the bytes that a runtime takes (spec §17.2 with packed rows). */
import type { GgufFile } from "../gguf/types.ts"
import type { Config } from "../model/config.ts"
import { kvSizes, ringSlots, type RowSizes } from "../model/kv-cache.ts"
import { packedIndexBytes, packedKvBytes } from "../ops/backend.ts"
import { memoryAt, planMemory } from "../session/memory.ts"
import { DEFAULTS } from "../session/runtime.ts"

export interface MemoryReport {
  context: number
  /** The mapped file: stays on disk until read, and may be dropped from memory again. */
  weights: number
  pages: { count: number; bytesEach: number; bytes: number }
  /** Kept copies of the rings, most of them at every 16th page. */
  resumePoints: { count: number; bytesEach: number; bytes: number }
  /** Of each live sequence: raw window and unfinished blocks. */
  rings: { sequences: number; window: number; frontier: number; bytes: number }
  pageTable: number
  scratch: { rows: number; outputs: number; bytes: number }
  /** All but the weights. */
  total: number
  /** KV memory that decoding one token reads at the end of this context. */
  readPerToken: number
  machine: {
    /** What is left for everything but the weights. */
    available: number
    fits: boolean
    /** Whether the weights stay in memory beside it, or are read from disk over and over. */
    weightsFit: boolean
    largestContext: number
  }
}

export interface MemoryOptions {
  context: number
  sequences?: number
  /** Memory to plan with; by default what this machine has left. */
  memoryBytes?: number | undefined
}

/** How the CPU backend, and every other that runs the full model, stores rows. */
export const PACKED_ROWS: RowSizes = { kvRowBytes: packedKvBytes, indexRowBytes: packedIndexBytes }

/** The account of a context of this model on this machine. */
export function memoryReport(file: GgufFile, c: Config, o: MemoryOptions): MemoryReport {
  const nSeqs = o.sequences ?? 1
  const options = { nSeqs, ...(o.memoryBytes !== undefined && { memoryBytes: o.memoryBytes }) }
  const sizes = kvSizes(c, PACKED_ROWS)
  const parts = memoryAt(c, PACKED_ROWS, o.context, options)
  const weights = file.source.size
  const plan = planMemory(c, PACKED_ROWS, weights, options)
  const window = c.nLayers * ringSlots(c) * packedKvBytes(c.headDim, c.ropeDim)
  return {
    context: o.context,
    weights,
    pages: { count: parts.nPages, bytesEach: sizes.pageBytes, bytes: parts.pages },
    resumePoints: { count: parts.nResume, bytesEach: sizes.resumePointBytes, bytes: parts.resume },
    rings: {
      sequences: nSeqs,
      window: nSeqs * window,
      frontier: nSeqs * (sizes.sequenceBytes - window),
      bytes: parts.sequences,
    },
    pageTable: parts.pageTable,
    scratch: { rows: DEFAULTS.maxRows, outputs: DEFAULTS.maxOutputs, bytes: parts.scratch },
    total: parts.total,
    readPerToken: cacheBytesRead(c, o.context),
    machine: {
      available: plan.available,
      fits: parts.total <= plan.available,
      weightsFit: plan.weightsFit,
      largestContext: plan.largest,
    },
  }
}

/** Rows that the last token of a context reads, in bytes. Spec §18.2. */
function cacheBytesRead(c: Config, context: number): number {
  const row = packedKvBytes(c.headDim, c.ropeDim)
  const index = packedIndexBytes(c.indexHeadDim)
  let bytes = 0
  for (const ratio of c.compressRatios) {
    const compressed = ratio === 0 ? 0 : Math.floor(context / ratio)
    const chooses = ratio === 4 && compressed > c.indexTopK
    bytes += Math.min(context, c.window) * row
    bytes += (chooses ? c.indexTopK : compressed) * row
    if (chooses) bytes += compressed * index
  }
  return bytes
}

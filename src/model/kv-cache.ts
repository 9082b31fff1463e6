/** Device memory of the KV cache, per layer: rings hold what every sequence needs of its last tokens,
 *  pages hold what it keeps for ever (design D5-D7). Which page belongs to whom is src/session's
 *  business; here is only the memory and its sizes.
 *
 *    ring            raw window rows, packed                       [nSeqs, ringSlots, rowBytes]
 *    frontier        compressor projections of unfinished blocks   [nSeqs, slots, width] f32, k and s
 *    pages           compressed rows, packed                       [nPages, 128 / ratio, rowBytes]
 *    index pages     index rows, packed (ratio 4)                  [nPages, 32, indexRowBytes]  */
import type { Backend } from "../ops/backend.ts"
import { PAGE_TOKENS, type Pages } from "../ops/kv-ops.ts"
import { type DeviceBuffer, Tensor, type TensorType } from "../ops/tensor.ts"
import type { CompressRatio, Config } from "./config.ts"

/** A sequence may go back by so many tokens without reading anything again. */
export const REWIND_SLACK = 32

/** Frontier of one compressor: projections of a sequence's last tokens, at pos mod slots. */
export interface Frontier {
  k: Tensor
  s: Tensor
}

export interface LayerCache {
  ratio: CompressRatio
  ring: Tensor
  pages: Pages | null
  frontier: Frontier | null
  indexPages: Pages | null
  indexFrontier: Frontier | null
}

export interface KvShape {
  /** Sequences that are live at once. */
  nSeqs: number
  /** Pages in all, shared by the sequences. */
  nPages: number
  /** Pages that one sequence can have. */
  tableLen: number
}

/** Slots of the raw window's ring. */
export const ringSlots = (c: Config): number => c.window + REWIND_SLACK

/** Slots of a compressor's frontier: what one pooling reads, and the slack. */
export const frontierSlots = (ratio: number): number =>
  (ratio === 4 ? 2 * ratio : ratio) + REWIND_SLACK

/** Bytes of KV memory, by purpose; what `inspect --ctx` prints. */
export interface KvSizes {
  /** Compressed and index rows of 128 tokens over all layers. */
  pageBytes: number
  /** Raw window and ratio-4 tail of a page boundary. */
  resumePointBytes: number
  /** Rings and frontiers of one live sequence. */
  sequenceBytes: number
}

/** What a backend decides of memory: how it stores rows. */
export type RowSizes = Pick<Backend, "kvRowBytes" | "indexRowBytes">

/** Sizes for a model on a backend. Spec §17.2, with packed rows. */
export function kvSizes(c: Config, backend: RowSizes): KvSizes {
  const row = backend.kvRowBytes(c.headDim, c.ropeDim)
  const index = backend.indexRowBytes(c.indexHeadDim)
  const sizes = { pageBytes: 0, resumePointBytes: 0, sequenceBytes: 0 }
  for (const ratio of c.compressRatios) {
    sizes.sequenceBytes += ringSlots(c) * row
    sizes.resumePointBytes += c.window * row
    if (ratio === 0) continue
    const width = ratio === 4 ? 2 * (c.headDim + c.indexHeadDim) : c.headDim
    sizes.pageBytes += (PAGE_TOKENS / ratio) * (ratio === 4 ? row + index : row)
    sizes.sequenceBytes += frontierSlots(ratio) * width * 2 * 4
    if (ratio === 4) sizes.resumePointBytes += ratio * (c.headDim + c.indexHeadDim) * 2 * 4
  }
  return sizes
}

export class KvCache {
  readonly layers: readonly LayerCache[]
  /** i32 [nSeqs, tableLen]: physical page of each page of a sequence. */
  readonly pageTable: Tensor
  readonly shape: KvShape
  readonly #backend: Backend
  readonly #buffers: DeviceBuffer[] = []

  /** Takes all KV memory of a model at once. @throws ContextError when there is not enough. */
  constructor(backend: Backend, c: Config, shape: KvShape) {
    this.#backend = backend
    this.shape = shape
    this.pageTable = this.#tensor("I32", "page table", shape.nSeqs, shape.tableLen)
    this.layers = c.compressRatios.map((ratio) => this.#layer(c, ratio))
  }

  close(): void {
    for (const buffer of this.#buffers) this.#backend.free(buffer)
    this.#buffers.length = 0
  }

  #layer(c: Config, ratio: CompressRatio): LayerCache {
    const row = this.#backend.kvRowBytes(c.headDim, c.ropeDim)
    const index = this.#backend.indexRowBytes(c.indexHeadDim)
    return {
      ratio,
      ring: this.#tensor("U8", "window ring", this.shape.nSeqs, ringSlots(c), row),
      pages: ratio === 0 ? null : this.#pages(ratio, row),
      frontier: ratio === 0 ? null : this.#frontier(ratio, c.headDim),
      indexPages: ratio === 4 ? this.#pages(ratio, index) : null,
      indexFrontier: ratio === 4 ? this.#frontier(ratio, c.indexHeadDim) : null,
    }
  }

  #pages(ratio: number, rowBytes: number): Pages {
    const rows = this.#tensor("U8", "KV pages", this.shape.nPages, PAGE_TOKENS / ratio, rowBytes)
    return { rows, table: this.pageTable, ratio }
  }

  #frontier(ratio: number, d: number): Frontier {
    const dims = [this.shape.nSeqs, frontierSlots(ratio), ratio === 4 ? 2 * d : d]
    return {
      k: this.#tensor("F32", "compressor frontier", ...dims),
      s: this.#tensor("F32", "compressor frontier", ...dims),
    }
  }

  #tensor(type: TensorType, what: string, ...dims: number[]): Tensor {
    const bytes = dims.reduce((a, b) => a * b, type === "U8" ? 1 : 4)
    const buffer = this.#backend.alloc(bytes, what)
    this.#buffers.push(buffer)
    return new Tensor(buffer, 0, type, dims)
  }
}

/** Ops on what a sequence keeps: the precision its rows are stored in, rings and pages, compressed rows,
 *  which of them a token chooses, and attention to them. The first half of `Ops` (ops.ts). */
import { ShapeError } from "../errors.ts"
import { dims2, dims3, expectRows, same } from "./shapes.ts"
import type { Backend } from "./backend.ts"
import { type Tensor, typeId } from "./tensor.ts"

/** Rows of packed KV memory hold 128 tokens a page. */
export const PAGE_TOKENS = 128
export const ROW_KV = 0
export const ROW_INDEX = 1

/** Where the compressed rows of a layer lie, and which page a sequence's block is in. */
export interface Pages {
  /** Packed rows, bytes [nPages, 128 / ratio, rowBytes]. */
  readonly rows: Tensor
  /** Physical page of (sequence, page number): i32 [nSeqs, tableLen]. */
  readonly table: Tensor
  readonly ratio: number
}

export class KvOps {
  readonly backend: Backend
  protected readonly kernels: Backend["kernels"]

  constructor(backend: Backend) {
    this.backend = backend
    this.kernels = backend.kernels
  }

  /** Precision of a stored attention row, in place: the first dim - ropeDim elements through FP8
   *  E4M3 in blocks of 64, `sc = 2^⌈log2(max(|v|, 1e-4) / 448)⌉, v = E4M3(v / sc) · sc`; the rotated
   *  tail to f16. x [nRows, dim]. Spec §8. */
  roundKv(x: Tensor, ropeDim: number): void {
    const [nRows, dim] = dims2(x, "roundKv x")
    if (ropeDim % 2 !== 0 || (dim - ropeDim) % 64 !== 0)
      throw new ShapeError(`roundKv: ${dim} - ${ropeDim} is no multiple of 64`)
    this.kernels.roundKv(x, nRows, dim, ropeDim)
  }

  /** Precision of an index query or row, in place: Hadamard in natural order, times dim^-½, then FP4
   *  E2M1 in blocks of 32 with `sc = 2^⌈log2(max|v| / 6)⌉`. x [nRows…, dim], dim a power of two. Spec §8. */
  roundIndex(x: Tensor): void {
    const dim = x.dims.at(-1)!
    if (dim % 32 !== 0 || Math.log2(dim) % 1 !== 0)
      throw new ShapeError(`roundIndex: ${dim} is not a power of two of at least 32`)
    this.kernels.roundIndex(x, x.size / dim, dim)
  }

  /** Packs rounded rows losslessly (ffi/types.h: ds4_row_format). out bytes [nRows, rowBytes];
   *  x [nRows, dim] that went through roundKv or roundIndex. Design D6. */
  packRows(out: Tensor, x: Tensor, format: number, ropeDim = 0): void {
    const [nRows, dim] = dims2(x, "packRows x")
    const [, rowBytes] = dims2(out, "packRows out", nRows)
    this.kernels.packRows(out, x, nRows, dim, ropeDim, rowBytes, format)
  }

  /** Keeps a step's rows for later steps: row (seq, pos) goes to `ring[seq, pos mod nSlots]`, unless a
   *  later row of the same sequence in this step takes the same slot.
   *  ring [nSeqs, nSlots, width]; src [nRows, width], same type. Design D7. */
  storeRing(ring: Tensor, src: Tensor, rows: Tensor): void {
    const [nSeqs, nSlots, width] = dims3(ring, "storeRing ring")
    const nRows = src.dims[0]!
    if (src.size !== nRows * width || src.type !== ring.type)
      throw new ShapeError(`storeRing: rows [${src.dims}] do not fit ring [${ring.dims}]`)
    expectRows(rows, nRows)
    this.kernels.storeRing(ring, src, rows, nRows, nSeqs, nSlots, src.bytes / nRows)
  }

  /** Stores the packed row of every block that a row of the step completes, `(pos + 1) % ratio = 0`,
   *  as row `c = pos div ratio` of its sequence. src bytes [nRows, rowBytes]. Spec §9. */
  storePages(pages: Pages, src: Tensor, rows: Tensor): void {
    const [nPages, , width] = dims3(pages.rows, "storePages pages")
    const [nSeqs, tableLen] = dims2(pages.table, "storePages table")
    const [nRows] = dims2(src, "storePages src", undefined, width)
    expectRows(rows, nRows)
    this.kernels.storePages(
      pages.rows,
      src,
      pages.table,
      rows,
      nRows,
      nPages,
      nSeqs,
      tableLen,
      pages.ratio,
      width,
    )
  }

  /** Pools a block of tokens where a row completes one, else 0: `out_i = Σ_t softmax_t(s_t,i) · k_t,i`
   *  with `s_t += ape[t mod ratio]`. Candidates: the block's own tokens (their second halves if
   *  overlapping) and, if overlapping, the first halves of the block before, when there is one.
   *  Tokens of this step come from k, s [nRows, width], earlier ones from the rings
   *  [nSeqs, nSlots, width]; out [nRows, dim]; width = dim, or 2·dim if overlapping (ratio 4). Spec §9. */
  compress(
    out: Tensor,
    k: Tensor,
    s: Tensor,
    ring: { k: Tensor; s: Tensor },
    ape: Tensor,
    rows: Tensor,
  ): void {
    const [nRows, dim] = dims2(out, "compress out")
    const [nSeqs, nSlots, width] = dims3(ring.k, "compress ring")
    const [ratio] = dims2(ape, "compress ape", undefined, width)
    if (width !== dim && width !== 2 * dim) throw new ShapeError(`compress: ${width} for ${dim}`)
    k.expect("compress k", "F32", nRows, width)
    s.expect("compress s", "F32", nRows, width)
    same(ring.s, ring.k, "compress ring")
    expectRows(rows, nRows)
    const overlap = width === dim ? 0 : 1
    this.kernels.compress(
      out,
      k,
      s,
      ring.k,
      ring.s,
      ape,
      rows,
      nRows,
      nSeqs,
      nSlots,
      dim,
      ratio,
      overlap,
      typeId(ape.type),
    )
  }

  /** The best visible index rows of each row: with n = (pos + 1) div ratio,
   *  `score_c = scale · Σ_h w_h · max(0, q_h · k_c)` for c < n; sel gets the min(n, topK) largest in
   *  ascending order of c; equal scores: the lower c. (scale multiplies w before the sum.)
   *  sel i32 [nRows, topK]; q [nRows, nHeads, dim] as roundIndex leaves it; weights [nRows, nHeads]; pages of packed index rows.
   *  scores, if given, [nRows, len] gets the scores. Spec §10. */
  indexTopK(
    sel: Tensor,
    q: Tensor,
    weights: Tensor,
    pages: Pages,
    rows: Tensor,
    scale: number,
    scores: Tensor | null = null,
  ): void {
    const [nRows, nHeads, dim] = dims3(q, "indexTopK q")
    const [, topK] = dims2(sel, "indexTopK sel", nRows)
    const [nPages, , rowBytes] = dims3(pages.rows, "indexTopK pages")
    const [nSeqs, tableLen] = dims2(pages.table, "indexTopK table")
    weights.expect("indexTopK weights", "F32", nRows, nHeads)
    expectRows(rows, nRows)
    this.kernels.indexTopK(
      sel,
      q,
      weights,
      pages.rows,
      pages.table,
      rows,
      scores,
      nRows,
      nHeads,
      dim,
      topK,
      pages.ratio,
      rowBytes,
      nPages,
      nSeqs,
      tableLen,
      scores ? scores.dims[1]! : 0,
      scale,
    )
  }

  /** Attention of every head over one latent row per key (K = V), with a sink that has no value:
   *  `s_j = scale · q_h · row_j`, `M = max(sink_h, max_j s_j)`,
   *  `out_h = Σ_j e^{s_j - M} row_j / (e^{sink_h - M} + Σ_j e^{s_j - M})`.
   *  Keys, in this order: the raw rows of positions max(0, pos - window + 1) … pos — those of this step
   *  from `step` [nRows, rowBytes], earlier ones from `ring` [nSeqs, nSlots, rowBytes] at pos mod nSlots —
   *  then the compressed rows c < n = (pos + 1) div ratio, all of them, or sel's first min(n, topK).
   *  out, q [nRows, nHeads, dim]; sinks [nHeads]. Spec §6. */
  attend(
    out: Tensor,
    q: Tensor,
    step: Tensor,
    ring: Tensor,
    pages: Pages | null,
    sel: Tensor | null,
    sinks: Tensor,
    rows: Tensor,
    window: number,
    ropeDim: number,
    scale: number,
  ): void {
    const [nRows, nHeads, dim] = dims3(q, "attend q")
    const [ringSeqs, nSlots, rowBytes] = dims3(ring, "attend ring")
    same(out, q, "attend")
    step.expect("attend step", null, nRows, rowBytes)
    sinks.expect("attend sinks", "F32", nHeads)
    expectRows(rows, nRows)
    const [nPages] = pages ? dims3(pages.rows, "attend pages", undefined, undefined, rowBytes) : [0]
    const [nSeqs, tableLen] = pages ? dims2(pages.table, "attend table") : [ringSeqs, 0]
    if (nSeqs !== ringSeqs) throw new ShapeError(`attend: ${nSeqs} page tables, ${ringSeqs} rings`)
    const topK = sel ? dims2(sel, "attend sel", nRows)[1] : 0
    this.kernels.attend(
      out,
      q,
      step,
      ring,
      pages?.rows ?? null,
      pages?.table ?? null,
      sel,
      sinks,
      rows,
      nRows,
      nHeads,
      dim,
      ropeDim,
      rowBytes,
      window,
      nSlots,
      pages?.ratio ?? 0,
      topK,
      nPages,
      nSeqs,
      tableLen,
      scale,
    )
  }
}

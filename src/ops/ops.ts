/** What the model may ask of a machine. Each method checks shapes, derives sizes from them and hands
 *  over to the backend's kernel of the same name. Dims are outermost first, [nRows, dim]; activations
 *  are f32; a step has nRows rows, each a token of some sequence (ffi/types.h: ds4_row). A row's
 *  result never depends on the other rows, and no op branches on a position outside its kernel.
 *  Numbers of sections refer to the model specification summarised in docs/model.md. */
import { assert, ShapeError } from "../errors.ts"
import { dims2, dims3, expectRows, same } from "./shapes.ts"
import type { Backend } from "./backend.ts"
import { type Tensor, typeId } from "./tensor.ts"

/** Rows of packed KV memory hold 128 tokens a page. */
export const PAGE_TOKENS = 128
/** At most so many candidates of a row come back from `candidates`. */
export const CANDIDATE_LIMIT = 1024
/** u32 words of a ds4_candidate_row. */
export const CANDIDATE_WORDS = 5

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

export class Ops {
  readonly backend: Backend
  readonly #k: Backend["kernels"]

  constructor(backend: Backend) {
    this.backend = backend
    this.#k = backend.kernels
  }

  /** Token embedding, copied to every residual stream: `out[r,h] = table[token_r]`, h < hc.
   *  out [nRows, hc, dim]; table [vocab, dim] of any type; rows [nRows]. Spec §5. */
  embed(out: Tensor, table: Tensor, rows: Tensor): void {
    const [nRows, hc, dim] = dims3(out, "embed out")
    const [vocab] = dims2(table, "embed table", undefined, dim)
    expectRows(rows, nRows)
    this.#k.embed(out, table, rows, nRows, hc, dim, vocab, typeId(table.type))
  }

  /** Root-mean-square norm: `out[r,i] = w[i] · x[r,i] / √(mean_i x[r,i]² + eps)`, w = 1 where null.
   *  out, x [nRows, dim]; w [dim]; out may be x. Heads are normed as rows. arXiv:1910.07467, spec §5. */
  rmsNorm(out: Tensor, x: Tensor, w: Tensor | null, eps: number): void {
    const dim = x.dims.at(-1)!
    const nRows = x.size / dim
    same(out, x, "rmsNorm")
    w?.expect("rmsNorm w", "F32", dim)
    this.#k.rmsNorm(out, x, w, nRows, dim, eps)
  }

  /** `out[r,g] = W_g · x[r,g]` for each of the groups (one unless given).
   *  out [nRows, nGroups · nOut]; x [nRows, nGroups · nIn]; w [nGroups · nOut, nIn], any type.
   *  Quantized weights: the backend may round activations to 8 bits (stated in the conformance table). */
  matmul(out: Tensor, x: Tensor, w: Tensor, nGroups = 1): void {
    const [allOut, nIn] = dims2(w, "matmul w")
    const nRows = out.dims[0]!
    if (x.dims[0] !== nRows || x.size !== nRows * nGroups * nIn || out.size !== nRows * allOut)
      throw new ShapeError(
        `matmul: out [${out.dims}] = w [${w.dims}] · x [${x.dims}] in ${nGroups} groups does not fit`,
      )
    this.#k.matmul(out, x, w, nRows, nGroups, nIn, allOut / nGroups, typeId(w.type))
  }

  /** Rotation table of a step: `(cos φ, sin φ)`, `φ = f32(f32(p) · freqs[i])`, where p is the row's
   *  position (ratio 1) or the start of the block it completes, max(pos + 1 - ratio, 0).
   *  out [nRows, nPairs, 2]; freqs [nPairs] f32. Spec §7. */
  ropeTable(out: Tensor, freqs: Tensor, rows: Tensor, ratio: number): void {
    const [nRows, nPairs] = dims3(out, "ropeTable out")
    freqs.expect("ropeTable freqs", "F32", nPairs)
    expectRows(rows, nRows)
    this.#k.ropeTable(out, freqs, rows, nRows, nPairs, ratio)
  }

  /** Rotates the interleaved pairs of the last ropeDim dims of every head, in place:
   *  `(a, b) → (a cos φ - b sin φ, a sin φ + b cos φ)`; inverse: with -φ.
   *  x [nRows, nHeads, dim]; table [nRows, ropeDim / 2, 2]. Spec §7. */
  ropeTail(x: Tensor, table: Tensor, inverse = false): void {
    const [nRows, nHeads, dim] = dims3(x, "ropeTail x")
    const [tableRows, nPairs] = dims3(table, "ropeTail table")
    if (tableRows !== nRows || 2 * nPairs > dim)
      throw new ShapeError(`ropeTail: table [${table.dims}] does not fit x [${x.dims}]`)
    this.#k.ropeTail(x, table, nRows, nHeads, dim, 2 * nPairs, inverse ? 1 : 0)
  }

  /** Weights of a hyper-connection from its mix m [nRows, 2hc + hc²]:
   *  `pre_i = σ(m_i a_0 + b_i) + eps`, `post_i = 2σ(m_{hc+i} a_1 + b_{hc+i})`,
   *  `comb = Sinkhorn(m_{2hc+hc·j+k} a_2 + b_{2hc+hc·j+k})`: row softmax, + eps, column pass, then
   *  nIters - 1 times rows and columns, each divided by its sum + eps.
   *  comb [nRows, source, destination]; scale a [3]; base b [2hc + hc²]. Spec §5. */
  hcSplit(
    pre: Tensor,
    post: Tensor,
    comb: Tensor,
    mix: Tensor,
    scale: Tensor,
    base: Tensor,
    nIters: number,
    eps: number,
  ): void {
    const [nRows, hc] = dims2(pre, "hcSplit pre")
    const width = 2 * hc + hc * hc
    post.expect("hcSplit post", "F32", nRows, hc)
    comb.expect("hcSplit comb", "F32", nRows, hc, hc)
    mix.expect("hcSplit mix", "F32", nRows, width)
    scale.expect("hcSplit scale", "F32", 3)
    base.expect("hcSplit base", "F32", width)
    this.#k.hcSplit(pre, post, comb, mix, scale, base, nRows, hc, nIters, eps)
  }

  /** `out[r] = Σ_h pre[r,h] · streams[r,h]`. out [nRows, dim]; streams [nRows, hc, dim]. Spec §5. */
  hcCollapse(out: Tensor, streams: Tensor, pre: Tensor): void {
    const [nRows, hc, dim] = dims3(streams, "hcCollapse streams")
    out.expect("hcCollapse out", "F32", nRows, dim)
    pre.expect("hcCollapse pre", "F32", nRows, hc)
    this.#k.hcCollapse(out, streams, pre, nRows, hc, dim)
  }

  /** `streams'[r,k] = post[r,k] · y[r] + Σ_j comb[r,j,k] · streams[r,j]`, in place; j is the source.
   *  streams [nRows, hc, dim]; y [nRows, dim]. Spec §5. */
  hcExpand(streams: Tensor, y: Tensor, post: Tensor, comb: Tensor): void {
    const [nRows, hc, dim] = dims3(streams, "hcExpand streams")
    y.expect("hcExpand y", "F32", nRows, dim)
    post.expect("hcExpand post", "F32", nRows, hc)
    comb.expect("hcExpand comb", "F32", nRows, hc, hc)
    this.#k.hcExpand(streams, y, post, comb, nRows, hc, dim)
  }

  /** `out[r,h] = σ(mix[r,h] · scale + base[h]) + eps`. out, mix [nRows, hc]. Spec §5, HC head. */
  hcHeadWeights(out: Tensor, mix: Tensor, scale: Tensor, base: Tensor, eps: number): void {
    const [nRows, hc] = dims2(out, "hcHeadWeights out")
    same(mix, out, "hcHeadWeights")
    scale.expect("hcHeadWeights scale", "F32", 1)
    base.expect("hcHeadWeights base", "F32", hc)
    this.#k.hcHeadWeights(out, mix, scale, base, nRows, hc, eps)
  }

  /** Precision of a stored attention row, in place: the first dim - ropeDim elements through FP8
   *  E4M3 in blocks of 64, `sc = 2^⌈log2(max(|v|, 1e-4) / 448)⌉, v = E4M3(v / sc) · sc`; the rotated
   *  tail to f16. x [nRows, dim]. Spec §8. */
  roundKv(x: Tensor, ropeDim: number): void {
    const [nRows, dim] = dims2(x, "roundKv x")
    if (ropeDim % 2 !== 0 || (dim - ropeDim) % 64 !== 0)
      throw new ShapeError(`roundKv: ${dim} - ${ropeDim} is no multiple of 64`)
    this.#k.roundKv(x, nRows, dim, ropeDim)
  }

  /** Precision of an index query or row, in place: Hadamard in natural order, times dim^-½, then FP4
   *  E2M1 in blocks of 32 with `sc = 2^⌈log2(max|v| / 6)⌉`. x [nRows…, dim], dim a power of two. Spec §8. */
  roundIndex(x: Tensor): void {
    const dim = x.dims.at(-1)!
    if (dim % 32 !== 0 || Math.log2(dim) % 1 !== 0)
      throw new ShapeError(`roundIndex: ${dim} is not a power of two of at least 32`)
    this.#k.roundIndex(x, x.size / dim, dim)
  }

  /** Packs rounded rows losslessly (ffi/types.h: ds4_row_format). out bytes [nRows, rowBytes];
   *  x [nRows, dim] that went through roundKv or roundIndex. Design D6. */
  packRows(out: Tensor, x: Tensor, format: number, ropeDim = 0): void {
    const [nRows, dim] = dims2(x, "packRows x")
    const [, rowBytes] = dims2(out, "packRows out", nRows)
    this.#k.packRows(out, x, nRows, dim, ropeDim, rowBytes, format)
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
    this.#k.storeRing(ring, src, rows, nRows, nSeqs, nSlots, src.bytes / nRows)
  }

  /** Stores the packed row of every block that a row of the step completes, `(pos + 1) % ratio = 0`,
   *  as row `c = pos div ratio` of its sequence. src bytes [nRows, rowBytes]. Spec §9. */
  storePages(pages: Pages, src: Tensor, rows: Tensor): void {
    const [nPages, , width] = dims3(pages.rows, "storePages pages")
    const [nSeqs, tableLen] = dims2(pages.table, "storePages table")
    const [nRows] = dims2(src, "storePages src", undefined, width)
    expectRows(rows, nRows)
    this.#k.storePages(
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
    this.#k.compress(
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
    this.#k.indexTopK(
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
    this.#k.attend(
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

  /** Scored routing: `p_e = √softplus(logit_e)`; sel = the k largest of p + bias in descending order,
   *  equal: lower e; `weights_k = scale · p_sel / max(Σ p_sel, 2^-14)`.
   *  sel i32 [nRows, k]; logits [nRows, nExperts]; bias [nExperts] or null. Spec §11. */
  routerTopK(
    sel: Tensor,
    weights: Tensor,
    logits: Tensor,
    bias: Tensor | null,
    scale: number,
  ): void {
    const [nRows, nExperts] = dims2(logits, "routerTopK logits")
    const [, k] = dims2(sel, "routerTopK sel", nRows)
    weights.expect("routerTopK weights", "F32", nRows, k)
    bias?.expect("routerTopK bias", "F32", nExperts)
    this.#k.routerTopK(sel, weights, logits, bias, nRows, nExperts, k, scale)
  }

  /** Routing by token: `sel = table[token]`, weights as in routerTopK. table i32 [vocab, k]. Spec §11.
   *  @throws NativeError if the table names an expert that does not exist. */
  routerHash(
    sel: Tensor,
    weights: Tensor,
    logits: Tensor,
    table: Tensor,
    rows: Tensor,
    scale: number,
  ): void {
    const [nRows, nExperts] = dims2(logits, "routerHash logits")
    const [vocab, k] = dims2(table, "routerHash table")
    sel.expect("routerHash sel", "I32", nRows, k)
    weights.expect("routerHash weights", "F32", nRows, k)
    expectRows(rows, nRows)
    this.#k.routerHash(sel, weights, logits, table, rows, nRows, nExperts, k, vocab, scale)
  }

  /** Hidden state of the chosen experts: `a = min(gate_e x, clamp)`, `u = clamp(up_e x, ±clamp)`,
   *  `out[r,k] = a σ(a) · u · weights[r,k]` with e = sel[r,k].
   *  out [nRows, k, ff]; x [nRows, dim]; gate, up [nExperts, ff, dim] of one type. Spec §11. */
  expertsGateUp(
    out: Tensor,
    x: Tensor,
    gate: Tensor,
    up: Tensor,
    sel: Tensor,
    weights: Tensor,
    clamp: number,
  ): void {
    const [nRows, k, ff] = dims3(out, "expertsGateUp out")
    const [nExperts, , dim] = dims3(gate, "expertsGateUp gate", undefined, ff)
    same(up, gate, "expertsGateUp up")
    x.expect("expertsGateUp x", "F32", nRows, dim)
    sel.expect("expertsGateUp sel", "I32", nRows, k)
    weights.expect("expertsGateUp weights", "F32", nRows, k)
    this.#k.expertsGateUp(
      out,
      x,
      gate,
      up,
      sel,
      weights,
      nRows,
      k,
      nExperts,
      dim,
      ff,
      typeId(gate.type),
      clamp,
    )
  }

  /** `out[r] = Σ_k down_{sel[r,k]} · h[r,k]`, added in slot order.
   *  out [nRows, dim]; h [nRows, k, ff]; down [nExperts, dim, ff]. Spec §11. */
  expertsDown(out: Tensor, h: Tensor, down: Tensor, sel: Tensor): void {
    const [nRows, k, ff] = dims3(h, "expertsDown h")
    const [nExperts, dim] = dims3(down, "expertsDown down", undefined, undefined, ff)
    out.expect("expertsDown out", "F32", nRows, dim)
    sel.expect("expertsDown sel", "I32", nRows, k)
    this.#k.expertsDown(out, h, down, sel, nRows, k, nExperts, dim, ff, typeId(down.type))
  }

  /** `out = a σ(a) · u`, a = min(gate, clamp), u = up within ±clamp. Shared expert, spec §11. */
  swiglu(out: Tensor, gate: Tensor, up: Tensor, clamp: number): void {
    same(gate, out, "swiglu gate")
    same(up, out, "swiglu up")
    this.#k.swiglu(out, gate, up, out.size, clamp)
  }

  /** `out = a + b`; out may be either. */
  add(out: Tensor, a: Tensor, b: Tensor): void {
    same(a, out, "add a")
    same(b, out, "add b")
    this.#k.add(out, a, b, out.size)
  }

  /** `out[i] = x[index[i]]`: the rows whose logits are wanted. index i32 [nOut]; f32 rows of any dims. */
  gatherRows(out: Tensor, x: Tensor, index: Tensor): void {
    const nOut = out.dims[0]!
    const nRows = x.dims[0]!
    if (x.size / nRows !== out.size / nOut || index.dims[0] !== nOut)
      throw new ShapeError(`gatherRows: [${out.dims}] of [${x.dims}] by [${index.dims}]`)
    this.#k.gatherRows(out, x, index, nOut, nRows, x.size / nRows)
  }

  /** What sampling needs of each row of logits: applies the bias (in place) and the mask, then
   *  argmax, max, log-sum-exp, a NaN flag, and every id within `delta` of the maximum if there are at
   *  most limit of them. info i32 [nRows, 5] (ds4_candidate_row); ids i32, values f32 [nRows, limit];
   *  mask i32 [nRows, ⌈vocab/32⌉] or null; delta [nRows]; bias: ds4_logit_bias records. Design D4. */
  candidates(
    info: Tensor,
    ids: Tensor,
    values: Tensor,
    logits: Tensor,
    mask: Tensor | null,
    delta: Tensor,
    bias: Tensor | null,
    nBias: number,
  ): void {
    const [nRows, vocab] = dims2(logits, "candidates logits")
    const [, limit] = dims2(ids, "candidates ids", nRows)
    info.expect("candidates info", "I32", nRows, CANDIDATE_WORDS)
    values.expect("candidates values", "F32", nRows, limit)
    mask?.expect("candidates mask", "I32", nRows, Math.ceil(vocab / 32))
    delta.expect("candidates delta", "F32", nRows)
    assert(bias !== null || nBias === 0, "candidates: a bias count without a bias")
    this.#k.candidates(info, ids, values, logits, mask, delta, bias, nRows, vocab, limit, nBias)
  }
}

/** What the model may ask of a machine. Each method checks shapes, derives sizes from them and hands
 *  over to the backend's kernel of the same name. Dims are outermost first, [nRows, dim]; activations
 *  are f32; a step has nRows rows, each a token of some sequence (ffi/types.h: ds4_row). A row's
 *  result never depends on the other rows, and no op branches on a position outside its kernel. Ops on
 *  what a sequence keeps, from rounding its rows to attending to them, stand in kv-ops.ts.
 *  Numbers of sections refer to the model specification summarised in docs/model.md. */
import { assert, ShapeError } from "../errors.ts"
import { KvOps } from "./kv-ops.ts"
import { dims2, dims3, expectRows, same } from "./shapes.ts"
import { type Tensor, typeId } from "./tensor.ts"

/** At most so many candidates of a row come back from `candidates`. */
export const CANDIDATE_LIMIT = 1024
/** u32 words of a ds4_candidate_row. */
export const CANDIDATE_WORDS = 5

export class Ops extends KvOps {
  /** Token embedding, copied to every residual stream: `out[r,h] = table[token_r]`, h < hc.
   *  out [nRows, hc, dim]; table [vocab, dim] of any type; rows [nRows]. Spec §5. */
  embed(out: Tensor, table: Tensor, rows: Tensor): void {
    const [nRows, hc, dim] = dims3(out, "embed out")
    const [vocab] = dims2(table, "embed table", undefined, dim)
    expectRows(rows, nRows)
    this.kernels.embed(out, table, rows, nRows, hc, dim, vocab, typeId(table.type))
  }

  /** Root-mean-square norm: `out[r,i] = w[i] · x[r,i] / √(mean_i x[r,i]² + eps)`, w = 1 where null.
   *  out, x [nRows, dim]; w [dim]; out may be x. Heads are normed as rows. arXiv:1910.07467, spec §5. */
  rmsNorm(out: Tensor, x: Tensor, w: Tensor | null, eps: number): void {
    const dim = x.dims.at(-1)!
    const nRows = x.size / dim
    same(out, x, "rmsNorm")
    w?.expect("rmsNorm w", "F32", dim)
    this.kernels.rmsNorm(out, x, w, nRows, dim, eps)
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
    this.kernels.matmul(out, x, w, nRows, nGroups, nIn, allOut / nGroups, typeId(w.type))
  }

  /** Rotation table of a step: `(cos φ, sin φ)`, `φ = f32(f32(p) · freqs[i])`, where p is the row's
   *  position (ratio 1) or the start of the block it completes, max(pos + 1 - ratio, 0).
   *  out [nRows, nPairs, 2]; freqs [nPairs] f32. Spec §7. */
  ropeTable(out: Tensor, freqs: Tensor, rows: Tensor, ratio: number): void {
    const [nRows, nPairs] = dims3(out, "ropeTable out")
    freqs.expect("ropeTable freqs", "F32", nPairs)
    expectRows(rows, nRows)
    this.kernels.ropeTable(out, freqs, rows, nRows, nPairs, ratio)
  }

  /** Rotates the interleaved pairs of the last ropeDim dims of every head, in place:
   *  `(a, b) → (a cos φ - b sin φ, a sin φ + b cos φ)`; inverse: with -φ.
   *  x [nRows, nHeads, dim]; table [nRows, ropeDim / 2, 2]. Spec §7. */
  ropeTail(x: Tensor, table: Tensor, inverse = false): void {
    const [nRows, nHeads, dim] = dims3(x, "ropeTail x")
    const [tableRows, nPairs] = dims3(table, "ropeTail table")
    if (tableRows !== nRows || 2 * nPairs > dim)
      throw new ShapeError(`ropeTail: table [${table.dims}] does not fit x [${x.dims}]`)
    this.kernels.ropeTail(x, table, nRows, nHeads, dim, 2 * nPairs, inverse ? 1 : 0)
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
    this.kernels.hcSplit(pre, post, comb, mix, scale, base, nRows, hc, nIters, eps)
  }

  /** `out[r] = Σ_h pre[r,h] · streams[r,h]`. out [nRows, dim]; streams [nRows, hc, dim]. Spec §5. */
  hcCollapse(out: Tensor, streams: Tensor, pre: Tensor): void {
    const [nRows, hc, dim] = dims3(streams, "hcCollapse streams")
    out.expect("hcCollapse out", "F32", nRows, dim)
    pre.expect("hcCollapse pre", "F32", nRows, hc)
    this.kernels.hcCollapse(out, streams, pre, nRows, hc, dim)
  }

  /** `streams'[r,k] = post[r,k] · y[r] + Σ_j comb[r,j,k] · streams[r,j]`, in place; j is the source.
   *  streams [nRows, hc, dim]; y [nRows, dim]. Spec §5. */
  hcExpand(streams: Tensor, y: Tensor, post: Tensor, comb: Tensor): void {
    const [nRows, hc, dim] = dims3(streams, "hcExpand streams")
    y.expect("hcExpand y", "F32", nRows, dim)
    post.expect("hcExpand post", "F32", nRows, hc)
    comb.expect("hcExpand comb", "F32", nRows, hc, hc)
    this.kernels.hcExpand(streams, y, post, comb, nRows, hc, dim)
  }

  /** `out[r,h] = σ(mix[r,h] · scale + base[h]) + eps`. out, mix [nRows, hc]. Spec §5, HC head. */
  hcHeadWeights(out: Tensor, mix: Tensor, scale: Tensor, base: Tensor, eps: number): void {
    const [nRows, hc] = dims2(out, "hcHeadWeights out")
    same(mix, out, "hcHeadWeights")
    scale.expect("hcHeadWeights scale", "F32", 1)
    base.expect("hcHeadWeights base", "F32", hc)
    this.kernels.hcHeadWeights(out, mix, scale, base, nRows, hc, eps)
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
    this.kernels.routerTopK(sel, weights, logits, bias, nRows, nExperts, k, scale)
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
    this.kernels.routerHash(sel, weights, logits, table, rows, nRows, nExperts, k, vocab, scale)
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
    this.kernels.expertsGateUp(
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
    this.kernels.expertsDown(out, h, down, sel, nRows, k, nExperts, dim, ff, typeId(down.type))
  }

  /** `out = a σ(a) · u`, a = min(gate, clamp), u = up within ±clamp. Shared expert, spec §11. */
  swiglu(out: Tensor, gate: Tensor, up: Tensor, clamp: number): void {
    same(gate, out, "swiglu gate")
    same(up, out, "swiglu up")
    this.kernels.swiglu(out, gate, up, out.size, clamp)
  }

  /** `out = a + b`; out may be either. */
  add(out: Tensor, a: Tensor, b: Tensor): void {
    same(a, out, "add a")
    same(b, out, "add b")
    this.kernels.add(out, a, b, out.size)
  }

  /** `out[i] = x[index[i]]`: the rows whose logits are wanted. index i32 [nOut]; f32 rows of any dims. */
  gatherRows(out: Tensor, x: Tensor, index: Tensor): void {
    const nOut = out.dims[0]!
    const nRows = x.dims[0]!
    if (x.size / nRows !== out.size / nOut || index.dims[0] !== nOut)
      throw new ShapeError(`gatherRows: [${out.dims}] of [${x.dims}] by [${index.dims}]`)
    this.kernels.gatherRows(out, x, index, nOut, nRows, x.size / nRows)
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
    this.kernels.candidates(
      info,
      ids,
      values,
      logits,
      mask,
      delta,
      bias,
      nRows,
      vocab,
      limit,
      nBias,
    )
  }
}

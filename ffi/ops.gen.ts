// Made by scripts/gen-ffi.ts from ffi/types.h and ffi/ds4.h. Change those, then run it.

export const ABI_VERSION = 1

/** Bytes of each struct of types.h, as TypeScript lays it out. */
export const STRUCT_BYTES: Record<string, number> = {
  ds4_row: 20,
  ds4_embed_args: 48,
  ds4_rms_norm_args: 40,
  ds4_matmul_args: 48,
  ds4_rope_table_args: 40,
  ds4_rope_tail_args: 40,
  ds4_hc_split_args: 64,
  ds4_hc_collapse_args: 40,
  ds4_hc_expand_args: 48,
  ds4_hc_head_weights_args: 48,
  ds4_round_kv_args: 24,
  ds4_round_index_args: 16,
  ds4_pack_rows_args: 40,
  ds4_store_ring_args: 40,
  ds4_store_pages_args: 56,
  ds4_compress_args: 88,
  ds4_index_top_k_args: 104,
  ds4_attend_args: 128,
  ds4_router_top_k_args: 48,
  ds4_router_hash_args: 64,
  ds4_experts_gate_up_args: 80,
  ds4_experts_down_args: 56,
  ds4_swiglu_args: 32,
  ds4_add_args: 32,
  ds4_gather_rows_args: 40,
  ds4_candidate_row: 20,
  ds4_candidates_args: 72,
  ds4_logit_bias: 12,
}

/** Anything that has an address on the backend's device. */
export interface Operand {
  readonly address: number
}

/** What a backend computes: one function per op, operands first, sizes after. Shapes have been
 *  checked by the caller (src/ops/ops.ts, where the formulas stand). */
export interface OpKernels<T extends Operand = Operand> {
  embed(out: T, table: T, rows: T, nRows: number, hc: number, dim: number, vocab: number, type: number): void
  rmsNorm(out: T, x: T, w: T | null, nRows: number, dim: number, eps: number): void
  matmul(out: T, x: T, w: T, nRows: number, nGroups: number, nIn: number, nOut: number, type: number): void
  ropeTable(out: T, freqs: T, rows: T, nRows: number, nPairs: number, ratio: number): void
  ropeTail(x: T, table: T, nRows: number, nHeads: number, dim: number, ropeDim: number, inverse: number): void
  hcSplit(pre: T, post: T, comb: T, mix: T, scale: T, base: T, nRows: number, hc: number, nIters: number, eps: number): void
  hcCollapse(out: T, streams: T, pre: T, nRows: number, hc: number, dim: number): void
  hcExpand(streams: T, y: T, post: T, comb: T, nRows: number, hc: number, dim: number): void
  hcHeadWeights(out: T, mix: T, scale: T, base: T, nRows: number, hc: number, eps: number): void
  roundKv(x: T, nRows: number, dim: number, ropeDim: number): void
  roundIndex(x: T, nRows: number, dim: number): void
  packRows(out: T, x: T, nRows: number, dim: number, ropeDim: number, rowBytes: number, format: number): void
  storeRing(ring: T, src: T, rows: T, nRows: number, nSeqs: number, nSlots: number, rowBytes: number): void
  storePages(pages: T, src: T, pageTable: T, rows: T, nRows: number, nPages: number, nSeqs: number, tableLen: number, ratio: number, rowBytes: number): void
  compress(out: T, k: T, s: T, ringK: T, ringS: T, ape: T, rows: T, nRows: number, nSeqs: number, nSlots: number, dim: number, ratio: number, overlap: number, apeType: number): void
  indexTopK(sel: T, q: T, weights: T, pages: T, pageTable: T, rows: T, scores: T | null, nRows: number, nHeads: number, dim: number, topK: number, ratio: number, rowBytes: number, nPages: number, nSeqs: number, tableLen: number, scoreLen: number, scale: number): void
  attend(out: T, q: T, step: T, ring: T, pages: T | null, pageTable: T | null, sel: T | null, sinks: T, rows: T, nRows: number, nHeads: number, dim: number, ropeDim: number, rowBytes: number, window: number, nSlots: number, ratio: number, topK: number, nPages: number, nSeqs: number, tableLen: number, scale: number): void
  routerTopK(sel: T, weights: T, logits: T, bias: T | null, nRows: number, nExperts: number, k: number, scale: number): void
  routerHash(sel: T, weights: T, logits: T, table: T, rows: T, nRows: number, nExperts: number, k: number, vocab: number, scale: number): void
  expertsGateUp(out: T, x: T, gate: T, up: T, sel: T, weights: T, nRows: number, k: number, nExperts: number, dim: number, ff: number, type: number, clamp: number): void
  expertsDown(out: T, h: T, down: T, sel: T, nRows: number, k: number, nExperts: number, dim: number, ff: number, type: number): void
  swiglu(out: T, gate: T, up: T, n: number, clamp: number): void
  add(out: T, a: T, b: T, n: number): void
  gatherRows(out: T, x: T, index: T, nOut: number, nRows: number, width: number): void
  candidates(info: T, ids: T, values: T, logits: T, mask: T | null, delta: T, bias: T | null, nRows: number, vocab: number, limit: number, nBias: number): void
}

export const OP_NAMES = [
  "embed",
  "rmsNorm",
  "matmul",
  "ropeTable",
  "ropeTail",
  "hcSplit",
  "hcCollapse",
  "hcExpand",
  "hcHeadWeights",
  "roundKv",
  "roundIndex",
  "packRows",
  "storeRing",
  "storePages",
  "compress",
  "indexTopK",
  "attend",
  "routerTopK",
  "routerHash",
  "expertsGateUp",
  "expertsDown",
  "swiglu",
  "add",
  "gatherRows",
  "candidates",
] as const satisfies readonly (keyof OpKernels)[]

/** Native symbols of the ops, for dlopen: each takes (context, argument struct). */
export const OP_SYMBOLS = {
  ds4_embed: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_rms_norm: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_matmul: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_rope_table: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_rope_tail: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_hc_split: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_hc_collapse: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_hc_expand: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_hc_head_weights: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_round_kv: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_round_index: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_pack_rows: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_store_ring: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_store_pages: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_compress: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_index_top_k: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_attend: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_router_top_k: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_router_hash: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_experts_gate_up: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_experts_down: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_swiglu: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_add: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_gather_rows: { args: ["ptr", "ptr"], returns: "i32" },
  ds4_candidates: { args: ["ptr", "ptr"], returns: "i32" },
} as const

type OpSymbols = Record<keyof typeof OP_SYMBOLS, (ctx: never, args: never) => number>

/** Binds a loaded library: every call packs its arguments into `memory` (at address `args`, large
 *  enough for any struct) and hands the status to `check`. */
export function bindOps<T extends Operand>(
  symbols: OpSymbols,
  ctx: never,
  args: never,
  memory: ArrayBuffer,
  check: (status: number, op: string) => void,
): OpKernels<T> {
  const u32 = new Uint32Array(memory)
  const f32 = new Float32Array(memory)
  const {
    ds4_embed,
    ds4_rms_norm,
    ds4_matmul,
    ds4_rope_table,
    ds4_rope_tail,
    ds4_hc_split,
    ds4_hc_collapse,
    ds4_hc_expand,
    ds4_hc_head_weights,
    ds4_round_kv,
    ds4_round_index,
    ds4_pack_rows,
    ds4_store_ring,
    ds4_store_pages,
    ds4_compress,
    ds4_index_top_k,
    ds4_attend,
    ds4_router_top_k,
    ds4_router_hash,
    ds4_experts_gate_up,
    ds4_experts_down,
    ds4_swiglu,
    ds4_add,
    ds4_gather_rows,
    ds4_candidates,
  } = symbols
  return {
    embed(out, table, rows, nRows, hc, dim, vocab, type) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = table.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = rows.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = nRows
      u32[7] = hc
      u32[8] = dim
      u32[9] = vocab
      u32[10] = type
      check(ds4_embed(ctx, args), "embed")
    },
    rmsNorm(out, x, w, nRows, dim, eps) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = x.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = w === null ? 0 : w.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = nRows
      u32[7] = dim
      f32[8] = eps
      check(ds4_rms_norm(ctx, args), "rmsNorm")
    },
    matmul(out, x, w, nRows, nGroups, nIn, nOut, type) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = x.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = w.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = nRows
      u32[7] = nGroups
      u32[8] = nIn
      u32[9] = nOut
      u32[10] = type
      check(ds4_matmul(ctx, args), "matmul")
    },
    ropeTable(out, freqs, rows, nRows, nPairs, ratio) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = freqs.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = rows.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = nRows
      u32[7] = nPairs
      u32[8] = ratio
      check(ds4_rope_table(ctx, args), "ropeTable")
    },
    ropeTail(x, table, nRows, nHeads, dim, ropeDim, inverse) {
      let at = 0
      at = x.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = table.address
      u32[2] = at
      u32[3] = at / 4294967296
      u32[4] = nRows
      u32[5] = nHeads
      u32[6] = dim
      u32[7] = ropeDim
      u32[8] = inverse
      check(ds4_rope_tail(ctx, args), "ropeTail")
    },
    hcSplit(pre, post, comb, mix, scale, base, nRows, hc, nIters, eps) {
      let at = 0
      at = pre.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = post.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = comb.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = mix.address
      u32[6] = at
      u32[7] = at / 4294967296
      at = scale.address
      u32[8] = at
      u32[9] = at / 4294967296
      at = base.address
      u32[10] = at
      u32[11] = at / 4294967296
      u32[12] = nRows
      u32[13] = hc
      u32[14] = nIters
      f32[15] = eps
      check(ds4_hc_split(ctx, args), "hcSplit")
    },
    hcCollapse(out, streams, pre, nRows, hc, dim) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = streams.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = pre.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = nRows
      u32[7] = hc
      u32[8] = dim
      check(ds4_hc_collapse(ctx, args), "hcCollapse")
    },
    hcExpand(streams, y, post, comb, nRows, hc, dim) {
      let at = 0
      at = streams.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = y.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = post.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = comb.address
      u32[6] = at
      u32[7] = at / 4294967296
      u32[8] = nRows
      u32[9] = hc
      u32[10] = dim
      check(ds4_hc_expand(ctx, args), "hcExpand")
    },
    hcHeadWeights(out, mix, scale, base, nRows, hc, eps) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = mix.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = scale.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = base.address
      u32[6] = at
      u32[7] = at / 4294967296
      u32[8] = nRows
      u32[9] = hc
      f32[10] = eps
      check(ds4_hc_head_weights(ctx, args), "hcHeadWeights")
    },
    roundKv(x, nRows, dim, ropeDim) {
      let at = 0
      at = x.address
      u32[0] = at
      u32[1] = at / 4294967296
      u32[2] = nRows
      u32[3] = dim
      u32[4] = ropeDim
      check(ds4_round_kv(ctx, args), "roundKv")
    },
    roundIndex(x, nRows, dim) {
      let at = 0
      at = x.address
      u32[0] = at
      u32[1] = at / 4294967296
      u32[2] = nRows
      u32[3] = dim
      check(ds4_round_index(ctx, args), "roundIndex")
    },
    packRows(out, x, nRows, dim, ropeDim, rowBytes, format) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = x.address
      u32[2] = at
      u32[3] = at / 4294967296
      u32[4] = nRows
      u32[5] = dim
      u32[6] = ropeDim
      u32[7] = rowBytes
      u32[8] = format
      check(ds4_pack_rows(ctx, args), "packRows")
    },
    storeRing(ring, src, rows, nRows, nSeqs, nSlots, rowBytes) {
      let at = 0
      at = ring.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = src.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = rows.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = nRows
      u32[7] = nSeqs
      u32[8] = nSlots
      u32[9] = rowBytes
      check(ds4_store_ring(ctx, args), "storeRing")
    },
    storePages(pages, src, pageTable, rows, nRows, nPages, nSeqs, tableLen, ratio, rowBytes) {
      let at = 0
      at = pages.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = src.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = pageTable.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = rows.address
      u32[6] = at
      u32[7] = at / 4294967296
      u32[8] = nRows
      u32[9] = nPages
      u32[10] = nSeqs
      u32[11] = tableLen
      u32[12] = ratio
      u32[13] = rowBytes
      check(ds4_store_pages(ctx, args), "storePages")
    },
    compress(out, k, s, ringK, ringS, ape, rows, nRows, nSeqs, nSlots, dim, ratio, overlap, apeType) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = k.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = s.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = ringK.address
      u32[6] = at
      u32[7] = at / 4294967296
      at = ringS.address
      u32[8] = at
      u32[9] = at / 4294967296
      at = ape.address
      u32[10] = at
      u32[11] = at / 4294967296
      at = rows.address
      u32[12] = at
      u32[13] = at / 4294967296
      u32[14] = nRows
      u32[15] = nSeqs
      u32[16] = nSlots
      u32[17] = dim
      u32[18] = ratio
      u32[19] = overlap
      u32[20] = apeType
      check(ds4_compress(ctx, args), "compress")
    },
    indexTopK(sel, q, weights, pages, pageTable, rows, scores, nRows, nHeads, dim, topK, ratio, rowBytes, nPages, nSeqs, tableLen, scoreLen, scale) {
      let at = 0
      at = sel.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = q.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = weights.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = pages.address
      u32[6] = at
      u32[7] = at / 4294967296
      at = pageTable.address
      u32[8] = at
      u32[9] = at / 4294967296
      at = rows.address
      u32[10] = at
      u32[11] = at / 4294967296
      at = scores === null ? 0 : scores.address
      u32[12] = at
      u32[13] = at / 4294967296
      u32[14] = nRows
      u32[15] = nHeads
      u32[16] = dim
      u32[17] = topK
      u32[18] = ratio
      u32[19] = rowBytes
      u32[20] = nPages
      u32[21] = nSeqs
      u32[22] = tableLen
      u32[23] = scoreLen
      f32[24] = scale
      check(ds4_index_top_k(ctx, args), "indexTopK")
    },
    attend(out, q, step, ring, pages, pageTable, sel, sinks, rows, nRows, nHeads, dim, ropeDim, rowBytes, window, nSlots, ratio, topK, nPages, nSeqs, tableLen, scale) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = q.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = step.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = ring.address
      u32[6] = at
      u32[7] = at / 4294967296
      at = pages === null ? 0 : pages.address
      u32[8] = at
      u32[9] = at / 4294967296
      at = pageTable === null ? 0 : pageTable.address
      u32[10] = at
      u32[11] = at / 4294967296
      at = sel === null ? 0 : sel.address
      u32[12] = at
      u32[13] = at / 4294967296
      at = sinks.address
      u32[14] = at
      u32[15] = at / 4294967296
      at = rows.address
      u32[16] = at
      u32[17] = at / 4294967296
      u32[18] = nRows
      u32[19] = nHeads
      u32[20] = dim
      u32[21] = ropeDim
      u32[22] = rowBytes
      u32[23] = window
      u32[24] = nSlots
      u32[25] = ratio
      u32[26] = topK
      u32[27] = nPages
      u32[28] = nSeqs
      u32[29] = tableLen
      f32[30] = scale
      check(ds4_attend(ctx, args), "attend")
    },
    routerTopK(sel, weights, logits, bias, nRows, nExperts, k, scale) {
      let at = 0
      at = sel.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = weights.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = logits.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = bias === null ? 0 : bias.address
      u32[6] = at
      u32[7] = at / 4294967296
      u32[8] = nRows
      u32[9] = nExperts
      u32[10] = k
      f32[11] = scale
      check(ds4_router_top_k(ctx, args), "routerTopK")
    },
    routerHash(sel, weights, logits, table, rows, nRows, nExperts, k, vocab, scale) {
      let at = 0
      at = sel.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = weights.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = logits.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = table.address
      u32[6] = at
      u32[7] = at / 4294967296
      at = rows.address
      u32[8] = at
      u32[9] = at / 4294967296
      u32[10] = nRows
      u32[11] = nExperts
      u32[12] = k
      u32[13] = vocab
      f32[14] = scale
      check(ds4_router_hash(ctx, args), "routerHash")
    },
    expertsGateUp(out, x, gate, up, sel, weights, nRows, k, nExperts, dim, ff, type, clamp) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = x.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = gate.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = up.address
      u32[6] = at
      u32[7] = at / 4294967296
      at = sel.address
      u32[8] = at
      u32[9] = at / 4294967296
      at = weights.address
      u32[10] = at
      u32[11] = at / 4294967296
      u32[12] = nRows
      u32[13] = k
      u32[14] = nExperts
      u32[15] = dim
      u32[16] = ff
      u32[17] = type
      f32[18] = clamp
      check(ds4_experts_gate_up(ctx, args), "expertsGateUp")
    },
    expertsDown(out, h, down, sel, nRows, k, nExperts, dim, ff, type) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = h.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = down.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = sel.address
      u32[6] = at
      u32[7] = at / 4294967296
      u32[8] = nRows
      u32[9] = k
      u32[10] = nExperts
      u32[11] = dim
      u32[12] = ff
      u32[13] = type
      check(ds4_experts_down(ctx, args), "expertsDown")
    },
    swiglu(out, gate, up, n, clamp) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = gate.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = up.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = n
      f32[7] = clamp
      check(ds4_swiglu(ctx, args), "swiglu")
    },
    add(out, a, b, n) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = a.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = b.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = n
      check(ds4_add(ctx, args), "add")
    },
    gatherRows(out, x, index, nOut, nRows, width) {
      let at = 0
      at = out.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = x.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = index.address
      u32[4] = at
      u32[5] = at / 4294967296
      u32[6] = nOut
      u32[7] = nRows
      u32[8] = width
      check(ds4_gather_rows(ctx, args), "gatherRows")
    },
    candidates(info, ids, values, logits, mask, delta, bias, nRows, vocab, limit, nBias) {
      let at = 0
      at = info.address
      u32[0] = at
      u32[1] = at / 4294967296
      at = ids.address
      u32[2] = at
      u32[3] = at / 4294967296
      at = values.address
      u32[4] = at
      u32[5] = at / 4294967296
      at = logits.address
      u32[6] = at
      u32[7] = at / 4294967296
      at = mask === null ? 0 : mask.address
      u32[8] = at
      u32[9] = at / 4294967296
      at = delta.address
      u32[10] = at
      u32[11] = at / 4294967296
      at = bias === null ? 0 : bias.address
      u32[12] = at
      u32[13] = at / 4294967296
      u32[14] = nRows
      u32[15] = vocab
      u32[16] = limit
      u32[17] = nBias
      check(ds4_candidates(ctx, args), "candidates")
    },
  }
}

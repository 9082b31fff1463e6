/** Attention of one layer: a low-rank query, one latent row that is key and value of all heads, a
 *  window of raw rows, and compressed rows of everything older. Spec §6. */
import { ROW_KV } from "../ops/kv-ops.ts"
import { compressIndexRows, compressKvRows } from "./compressor.ts"
import { selectRows } from "./indexer.ts"
import type { LayerCache } from "./kv-cache.ts"
import type { Activations } from "./scratch.ts"
import type { Model, StepRows } from "./transformer.ts"
import type { LayerWeights } from "./weights.ts"

/** s.out [nRows, dim] = attention of s.xNorm [nRows, dim]; the rows enter the cache. */
export function attention(
  m: Model,
  w: LayerWeights,
  kv: LayerCache,
  s: Activations,
  rows: StepRows,
): void {
  const { ops, config: c } = m
  const rope = w.ratio === 0 ? s.ropeRaw : s.rope
  query(m, w, s, rope)
  latentRow(m, w, s, rope)
  compressKvRows(m, w, kv, s)
  compressIndexRows(m, w, kv, s)
  const selected = rows.indexed ? selectRows(m, w, kv, s) : null
  const scale = 1 / Math.sqrt(c.headDim)
  ops.attend(
    s.heads,
    s.q,
    s.kvPacked,
    kv.ring,
    kv.pages,
    selected,
    w.attn_sinks,
    s.rows,
    c.window,
    c.ropeDim,
    scale,
  )
  ops.storeRing(kv.ring, s.kvPacked, s.rows)
  ops.ropeTail(s.heads, rope, true) // values were rotated with their keys; this undoes it
  ops.matmul(s.low, s.heads, w.attn_output_a, c.oGroups)
  ops.matmul(s.out, s.low, w.attn_output_b)
}

/** s.q [nRows, nHeads, headDim]: low-rank projection, every head normed without weight, rotated. */
function query(
  { ops, config: c }: Model,
  w: LayerWeights,
  s: Activations,
  rope: Activations["rope"],
) {
  ops.matmul(s.qa, s.xNorm, w.attn_q_a)
  ops.rmsNorm(s.qr, s.qa, w.attn_q_a_norm, c.rmsEps)
  ops.matmul(s.q, s.qr, w.attn_q_b)
  ops.rmsNorm(s.q, s.q, null, c.rmsEps)
  ops.ropeTail(s.q, rope)
}

/** s.kv [nRows, headDim]: the token's latent row in the precision it is stored in, and packed. */
function latentRow(
  { ops, config: c }: Model,
  w: LayerWeights,
  s: Activations,
  rope: Activations["rope"],
) {
  ops.matmul(s.kv, s.xNorm, w.attn_kv)
  ops.rmsNorm(s.kv, s.kv, w.attn_kv_a_norm, c.rmsEps)
  ops.ropeTail(s.kvHead, rope)
  ops.roundKv(s.kv, c.ropeDim)
  ops.packRows(s.kvPacked, s.kv, ROW_KV, c.ropeDim)
}

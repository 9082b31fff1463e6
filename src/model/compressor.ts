/** Compressors: every 4 or 128 tokens become one row. Each pools the projections of a block by a
 *  softmax per dim, and the result is normed, rotated to the block's start and rounded. Spec §9. */
import { ROW_INDEX, ROW_KV } from "../ops/kv-ops.ts"
import type { LayerCache } from "./kv-cache.ts"
import type { Activations } from "./scratch.ts"
import type { Model } from "./transformer.ts"
import type { LayerWeights } from "./weights.ts"

/** Stores the compressed attention rows that this step's tokens complete. Nothing at ratio 0. */
export function compressKvRows(m: Model, w: LayerWeights, kv: LayerCache, s: Activations): void {
  if (!w.attn_compressor || !kv.frontier || !kv.pages) return
  const { ops, config: c } = m
  const { kv: wkv, gate, ape, norm } = w.attn_compressor
  const [k, score] = w.ratio === 4 ? [s.k4, s.s4] : [s.k128, s.s128]
  ops.matmul(k, s.xNorm, wkv)
  ops.matmul(score, s.xNorm, gate)
  ops.compress(s.pooled, k, score, kv.frontier, ape, s.rows)
  ops.storeRing(kv.frontier.k, k, s.rows)
  ops.storeRing(kv.frontier.s, score, s.rows)
  ops.rmsNorm(s.pooled, s.pooled, norm, c.rmsEps)
  ops.ropeTail(s.pooledHead, w.ratio === 4 ? s.ropeBlock4 : s.ropeBlock128)
  ops.roundKv(s.pooled, c.ropeDim)
  ops.packRows(s.pooledPacked, s.pooled, ROW_KV, c.ropeDim)
  ops.storePages(kv.pages, s.pooledPacked, s.rows)
}

/** Stores the index rows that this step's tokens complete: the same at width 2 · indexHeadDim, with
 *  Hadamard and FP4 in place of FP8. Only at ratio 4. */
export function compressIndexRows(m: Model, w: LayerWeights, kv: LayerCache, s: Activations): void {
  if (!w.indexer_compressor || !kv.indexFrontier || !kv.indexPages) return
  const { ops, config: c } = m
  const { kv: wkv, gate, ape, norm } = w.indexer_compressor
  ops.matmul(s.kIndex, s.xNorm, wkv)
  ops.matmul(s.sIndex, s.xNorm, gate)
  ops.compress(s.pooledIndex, s.kIndex, s.sIndex, kv.indexFrontier, ape, s.rows)
  ops.storeRing(kv.indexFrontier.k, s.kIndex, s.rows)
  ops.storeRing(kv.indexFrontier.s, s.sIndex, s.rows)
  ops.rmsNorm(s.pooledIndex, s.pooledIndex, norm, c.rmsEps)
  ops.ropeTail(s.pooledIndexHead, s.ropeBlock4)
  ops.roundIndex(s.pooledIndex)
  ops.packRows(s.pooledIndexPacked, s.pooledIndex, ROW_INDEX)
  ops.storePages(kv.indexPages, s.pooledIndexPacked, s.rows)
}

/** The indexer of ratio-4 layers: chooses the compressed rows a token attends to. Spec §10. */
import type { Tensor } from "../ops/tensor.ts"
import type { LayerCache } from "./kv-cache.ts"
import type { Activations } from "./scratch.ts"
import type { Model } from "./transformer.ts"
import type { LayerWeights } from "./weights.ts"

/** s.indexSel i32 [nRows, indexTopK], ascending; null where the layer has no indexer. Rows that see
 *  at most indexTopK compressed rows get all of them, as a step without selection gives them. */
export function selectRows(
  m: Model,
  w: LayerWeights,
  kv: LayerCache,
  s: Activations,
): Tensor | null {
  if (!w.indexer || !kv.indexPages) return null
  const { ops, config: c } = m
  ops.matmul(s.indexQ, s.qr, w.indexer.attn_q_b)
  ops.ropeTail(s.indexQ, s.rope)
  ops.roundIndex(s.indexQ)
  ops.matmul(s.indexW, s.xNorm, w.indexer.proj)
  const scale = 1 / Math.sqrt(c.indexHeadDim * c.indexHeads)
  ops.indexTopK(s.indexSel, s.indexQ, s.indexW, kv.indexPages, s.rows, scale)
  return s.indexSel
}

import type { OpKernels } from "../../../ffi/ops.gen.ts"
import type { Tensor } from "../tensor.ts"
import { pagedRow } from "./kv-rows.ts"
import { dot } from "./matmul.ts"
import { readRows } from "./memory.ts"
import { unpackIndexRow } from "./rounding.ts"

/** The min(n, topK) visible index rows with the largest `Σ_h scale·w_h · max(0, q_h · k_c)`, equal: the
 *  lower c; written in ascending order, -1 after them. Spec §10. */
export const indexerOps: Pick<OpKernels<Tensor>, "indexTopK"> = {
  indexTopK(
    sel,
    q,
    weights,
    pages,
    table,
    rows,
    scores,
    _nRows,
    nHeads,
    dim,
    topK,
    ratio,
    rowBytes,
    nPages,
    nSeqs,
    tableLen,
    scoreLen,
    scale,
  ) {
    const [chosen, query, w] = [sel.i32(), q.f32(), weights.f32()]
    const [bytes, ids, kept] = [pages.raw(), table.i32(), scores?.f32()]
    const key = new Float32Array(dim)
    readRows("indexTopK", rows, { nSeqs }).forEach(({ seq, pos }, r) => {
      const n = Math.floor((pos + 1) / ratio)
      const score = new Float64Array(n)
      for (let c = 0; c < n; c++) {
        const at = pagedRow("indexTopK", ids, { seq, c, ratio, tableLen, nPages }, rowBytes)
        unpackIndexRow(bytes.subarray(at, at + rowBytes), dim, key)
        for (let h = 0; h < nHeads; h++) {
          const s = dot(query, (r * nHeads + h) * dim, key, 0, dim)
          score[c]! += scale * w[r * nHeads + h]! * Math.max(0, s)
        }
      }
      kept?.set(score.subarray(0, scoreLen), r * scoreLen)
      const order = Array.from(score, (_, c) => c).sort((a, b) => score[b]! - score[a]! || a - b)
      const best = order.slice(0, topK).sort((a, b) => a - b)
      chosen.fill(-1, r * topK, (r + 1) * topK)
      chosen.set(best, r * topK)
    })
  },
}

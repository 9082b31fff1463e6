import type { OpKernels } from "../../../ffi/ops.gen.ts"
import { NativeError } from "../../errors.ts"
import type { Tensor } from "../tensor.ts"
import { type KvFormat, pagedRow, readKvRow } from "./kv-rows.ts"
import { dot } from "./matmul.ts"
import { readRows } from "./memory.ts"

/** Attention over the raw window and the compressed rows, with a sink per head. Spec §6. */
export const attentionOps = (format: KvFormat): Pick<OpKernels<Tensor>, "attend"> => ({
  attend(
    out,
    q,
    step,
    ring,
    pages,
    table,
    sel,
    sinks,
    rows,
    _nRows,
    nHeads,
    dim,
    ropeDim,
    rowBytes,
    window,
    nSlots,
    ratio,
    topK,
    nPages,
    nSeqs,
    tableLen,
    scale,
  ) {
    const [y, query, sink] = [out.f32(), q.f32(), sinks.f32()]
    const [stepBytes, ringBytes] = [step.raw(), ring.raw()]
    const [pageBytes, ids, chosen] = [pages?.raw(), table?.i32(), sel?.i32()]
    readRows("attend", rows, { nSeqs }).forEach(({ seq, pos, before }, r) => {
      const keys: Float32Array[] = []
      const add = (bytes: Uint8Array, at: number) => {
        const key = new Float32Array(dim)
        readKvRow(format, bytes.subarray(at, at + rowBytes), dim, ropeDim, key)
        keys.push(key)
      }
      for (let j = Math.max(0, pos - window + 1); j <= pos; j++)
        if (pos - j <= before) add(stepBytes, (r - (pos - j)) * rowBytes)
        else add(ringBytes, (seq * nSlots + (j % nSlots)) * rowBytes)
      const n = ratio === 0 ? 0 : Math.floor((pos + 1) / ratio)
      for (let i = 0; i < (chosen ? Math.min(n, topK) : n); i++) {
        const c = chosen ? chosen[r * topK + i]! : i
        if (c < 0 || c >= n) throw new NativeError(`attend: row ${r} selects ${c} of ${n}`)
        add(pageBytes!, pagedRow("attend", ids!, { seq, c, ratio, tableLen, nPages }, rowBytes))
      }
      for (let h = 0; h < nHeads; h++)
        attendHead(y, query, (r * nHeads + h) * dim, keys, dim, sink[h]!, scale)
    })
  },
})

/** One head of one row: `Σ_j e^{s_j - M} row_j / (e^{sink - M} + Σ_j e^{s_j - M})`. */
function attendHead(
  out: Float32Array,
  query: Float32Array,
  at: number,
  keys: readonly Float32Array[],
  dim: number,
  sink: number,
  scale: number,
): void {
  const score = keys.map((key) => dot(query, at, key, 0, dim) * scale)
  const max = score.reduce((a, b) => (b > a || Number.isNaN(b) ? b : a), sink)
  const sum = new Float64Array(dim)
  let total = Math.exp(sink - max)
  keys.forEach((key, j) => {
    const e = Math.exp(score[j]! - max)
    total += e
    for (let i = 0; i < dim; i++) sum[i]! += e * key[i]!
  })
  for (let i = 0; i < dim; i++) out[at + i] = sum[i]! / total
}

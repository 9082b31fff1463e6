import type { OpKernels } from "../../../ffi/ops.gen.ts"
import type { Tensor } from "../tensor.ts"
import { readRows, type Row, type WeightReader } from "./memory.ts"

/** `out_i = Σ_t softmax_t(s_t,i + ape[t mod ratio]_i) · k_t,i` over the tokens of a block that the row
 *  completes; overlapping blocks add the first halves of the block before. Spec §9. */
export const compressorOps = (weights: WeightReader): Pick<OpKernels<Tensor>, "compress"> => ({
  compress(out, k, s, ringK, ringS, ape, rows, _nRows, nSeqs, nSlots, dim, ratio, overlap) {
    const width = overlap ? 2 * dim : dim
    const pooled = out.f32()
    const step = { k: k.f32(), s: s.f32() }
    const ring = { k: ringK.f32(), s: ringS.f32() }
    const bias = Array.from({ length: ratio }, (_, t) => weights.row(ape, t, width))
    /** Where token `t` of the row's sequence lies: in this step or in the ring. */
    const find = (row: Row, r: number, t: number) => {
      const back = row.pos - t
      return back <= row.before
        ? { from: step, at: (r - back) * width }
        : { from: ring, at: (row.seq * nSlots + (t % nSlots)) * width }
    }
    readRows("compress", rows, { nSeqs }).forEach((row, r) => {
      pooled.fill(0, r * dim, (r + 1) * dim)
      if ((row.pos + 1) % ratio !== 0) return
      const start = row.pos + 1 - ratio
      const tokens = []
      if (overlap && start > 0)
        for (let t = start - ratio; t < start; t++) tokens.push({ ...find(row, r, t), t, half: 0 })
      for (let t = start; t <= row.pos; t++)
        tokens.push({ ...find(row, r, t), t, half: overlap ? dim : 0 })
      for (let i = 0; i < dim; i++) {
        const score = tokens.map(
          ({ from, at, t, half }) => from.s[at + half + i]! + bias[t % ratio]![half + i]!,
        )
        const max = Math.max(...score)
        let total = 0
        let sum = 0
        tokens.forEach(({ from, at, half }, j) => {
          const e = Math.exp(score[j]! - max)
          total += e
          sum += e * from.k[at + half + i]!
        })
        pooled[r * dim + i] = sum / total
      }
    })
  },
})

import type { OpKernels } from "../../../ffi/ops.gen.ts"
import { CANDIDATE_WORDS } from "../ops.ts"
import type { Tensor } from "../tensor.ts"

/** What sampling needs of each row of logits (ffi/types.h: ds4_candidate_row). Design D4. */
export const candidateOps: Pick<OpKernels<Tensor>, "candidates"> = {
  candidates(info, ids, values, logits, mask, delta, bias, nRows, vocab, limit, nBias) {
    const [head, list, kept, l] = [info.i32(), ids.i32(), values.f32(), logits.f32()]
    const floats = new Float32Array(head.buffer, head.byteOffset, head.length)
    const bits = mask?.i32()
    const words = Math.ceil(vocab / 32)
    addBias(l, bias, nBias, vocab)
    for (let r = 0; r < nRows; r++) {
      const row = l.subarray(r * vocab, (r + 1) * vocab)
      const allowed = (id: number) => !bits || (bits[r * words + (id >> 5)]! >>> (id & 31)) & 1
      const at = r * CANDIDATE_WORDS
      let best = -1
      for (let id = 0; id < vocab; id++)
        if (allowed(id) && (best < 0 || row[id]! > row[best]!)) best = id
      const bad = best < 0 || !row.every(Number.isFinite)
      const max = best < 0 ? Number.NaN : row[best]!
      let sum = 0
      let passed = 0
      for (let id = 0; id < vocab && !bad; id++) {
        if (!allowed(id)) continue
        sum += Math.exp(row[id]! - max)
        if (max - row[id]! > delta.f32()[r]!) continue
        if (passed < limit) {
          list[r * limit + passed] = id
          kept[r * limit + passed] = row[id]!
        }
        passed++
      }
      head[at] = best
      floats[at + 1] = max
      floats[at + 2] = bad ? Number.NaN : max + Math.log(sum)
      head[at + 3] = bad ? 1 : 0
      head[at + 4] = passed
    }
  },
}

/** Adds ds4_logit_bias records (row, id, value) to the logits, in place. */
function addBias(logits: Float32Array, bias: Tensor | null, n: number, vocab: number): void {
  if (!bias) return
  const bytes = bias.raw()
  const records = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let i = 0; i < n; i++) {
    const at = records.getUint32(12 * i, true) * vocab + records.getUint32(12 * i + 4, true)
    logits[at]! += records.getFloat32(12 * i + 8, true)
  }
}

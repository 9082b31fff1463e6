import type { OpKernels } from "../../../ffi/ops.gen.ts"
import type { Tensor } from "../tensor.ts"
import { readRows, type WeightReader } from "./memory.ts"

/** Σ_i a[aBase + i] · b[bBase + i], i < n, in f64. */
export function dot(
  a: Float32Array,
  aBase: number,
  b: Float32Array,
  bBase: number,
  n: number,
): number {
  let sum = 0
  for (let i = 0; i < n; i++) sum += a[aBase + i]! * b[bBase + i]!
  return sum
}

/** `out[r,g] = W_g · x[r,g]`, and the embedding rows. No activation is rounded. */
export const matmulOps = (
  weights: WeightReader,
): Pick<OpKernels<Tensor>, "matmul" | "embed" | "gatherRows"> => ({
  matmul(out, x, w, nRows, nGroups, nIn, nOut) {
    const y = out.f32()
    const input = x.f32()
    for (let g = 0; g < nGroups; g++)
      weights.eachRow(w, g * nOut, nOut, nIn, (o, data, base) => {
        for (let r = 0; r < nRows; r++)
          y[(r * nGroups + g) * nOut + o] = dot(input, (r * nGroups + g) * nIn, data, base, nIn)
      })
  },

  embed(out, table, rows, _nRows, hc, dim, vocab) {
    const y = out.f32()
    readRows("embed", rows, { vocab }).forEach(({ token }, r) => {
      const row = weights.row(table, token, dim)
      for (let h = 0; h < hc; h++) y.set(row, (r * hc + h) * dim)
    })
  },

  gatherRows(out, x, index, nOut, nRows, width) {
    const [y, from, at] = [out.f32(), x.f32(), index.i32()]
    for (let i = 0; i < nOut; i++) {
      if (at[i]! < 0 || at[i]! >= nRows)
        throw new RangeError(`gatherRows: row ${at[i]} of ${nRows}`)
      y.set(from.subarray(at[i]! * width, (at[i]! + 1) * width), i * width)
    }
  },
})

import type { OpKernels } from "../../../ffi/ops.gen.ts"
import type { Tensor } from "../tensor.ts"

type HcOps = "hcSplit" | "hcCollapse" | "hcExpand" | "hcHeadWeights"

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

/** Row softmax + eps and a column pass, then rows and columns in turn: doubly stochastic in the limit.
 *  c [hc source, hc destination], in place. Spec §5. */
function sinkhorn(c: Float64Array, hc: number, nIters: number, eps: number): void {
  const rows = (eps: number) => {
    for (let j = 0; j < hc; j++) {
      let sum = eps
      for (let k = 0; k < hc; k++) sum += c[j * hc + k]!
      for (let k = 0; k < hc; k++) c[j * hc + k]! /= sum
    }
  }
  const columns = () => {
    for (let k = 0; k < hc; k++) {
      let sum = eps
      for (let j = 0; j < hc; j++) sum += c[j * hc + k]!
      for (let j = 0; j < hc; j++) c[j * hc + k]! /= sum
    }
  }
  for (let j = 0; j < hc; j++) {
    const max = Math.max(...c.subarray(j * hc, (j + 1) * hc))
    for (let k = 0; k < hc; k++) c[j * hc + k] = Math.exp(c[j * hc + k]! - max)
  }
  rows(0)
  for (let i = 0; i < hc * hc; i++) c[i]! += eps
  columns()
  for (let i = 1; i < nIters; i++) {
    rows(eps)
    columns()
  }
}

export const hyperConnectionOps: Pick<OpKernels<Tensor>, HcOps> = {
  hcSplit(pre, post, comb, mix, scale, base, nRows, hc, nIters, eps) {
    const [p, q, c] = [pre.f32(), post.f32(), comb.f32()]
    const [m, a, b] = [mix.f32(), scale.f32(), base.f32()]
    const width = 2 * hc + hc * hc
    for (let r = 0; r < nRows; r++) {
      for (let i = 0; i < hc; i++) {
        p[r * hc + i] = sigmoid(m[r * width + i]! * a[0]! + b[i]!) + eps
        q[r * hc + i] = 2 * sigmoid(m[r * width + hc + i]! * a[1]! + b[hc + i]!)
      }
      const z = new Float64Array(hc * hc)
      for (let i = 0; i < hc * hc; i++) z[i] = m[r * width + 2 * hc + i]! * a[2]! + b[2 * hc + i]!
      sinkhorn(z, hc, nIters, eps)
      c.set(z, r * hc * hc)
    }
  },

  hcCollapse(out, streams, pre, nRows, hc, dim) {
    const [y, s, p] = [out.f32(), streams.f32(), pre.f32()]
    for (let r = 0; r < nRows; r++)
      for (let i = 0; i < dim; i++) {
        let sum = 0
        for (let h = 0; h < hc; h++) sum += p[r * hc + h]! * s[(r * hc + h) * dim + i]!
        y[r * dim + i] = sum
      }
  },

  hcExpand(streams, y, post, comb, nRows, hc, dim) {
    const [s, out, q, c] = [streams.f32(), y.f32(), post.f32(), comb.f32()]
    const mixed = new Float64Array(hc)
    for (let r = 0; r < nRows; r++)
      for (let i = 0; i < dim; i++) {
        for (let k = 0; k < hc; k++) {
          let sum = q[r * hc + k]! * out[r * dim + i]!
          for (let j = 0; j < hc; j++) sum += c[(r * hc + j) * hc + k]! * s[(r * hc + j) * dim + i]!
          mixed[k] = sum
        }
        for (let k = 0; k < hc; k++) s[(r * hc + k) * dim + i] = mixed[k]!
      }
  },

  hcHeadWeights(out, mix, scale, base, nRows, hc, eps) {
    const [y, m, a, b] = [out.f32(), mix.f32(), scale.f32(), base.f32()]
    for (let i = 0; i < nRows * hc; i++) y[i] = sigmoid(m[i]! * a[0]! + b[i % hc]!) + eps
  },
}

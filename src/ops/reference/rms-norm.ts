import type { OpKernels } from "../../../ffi/ops.gen.ts"
import type { Tensor } from "../tensor.ts"

/** `out[r,i] = w[i] · x[r,i] / √(mean_i x[r,i]² + eps)`. Spec §5. */
export const normOps: Pick<OpKernels<Tensor>, "rmsNorm"> = {
  rmsNorm(out, x, w, nRows, dim, eps) {
    const [y, input, weight] = [out.f32(), x.f32(), w?.f32()]
    for (let r = 0; r < nRows; r++) {
      let squares = 0
      for (let i = 0; i < dim; i++) squares += input[r * dim + i]! ** 2
      const scale = 1 / Math.sqrt(squares / dim + eps)
      for (let i = 0; i < dim; i++)
        y[r * dim + i] = (weight ? weight[i]! : 1) * input[r * dim + i]! * scale
    }
  },
}

import type { OpKernels } from "../../../ffi/ops.gen.ts"
import { NativeError } from "../../errors.ts"
import type { Tensor } from "../tensor.ts"
import { readRows } from "./memory.ts"

/** √softplus(x): `softplus = x` above 20, `e^x` below -20, else `log1p(e^x)`. Spec §11. */
export function sqrtSoftplus(x: number): number {
  return Math.sqrt(x > 20 ? x : x < -20 ? Math.exp(x) : Math.log1p(Math.exp(x)))
}

const MIN_WEIGHT_SUM = 2 ** -14

/** weights[r] = scale · p_sel / max(Σ p_sel, 2^-14). */
function weigh(w: Float32Array, at: number, chosen: readonly number[], p: number[], scale: number) {
  const sum = chosen.reduce((total, e) => total + p[e]!, 0)
  chosen.forEach((e, i) => {
    w[at + i] = (scale * p[e]!) / Math.max(sum, MIN_WEIGHT_SUM)
  })
}

const probabilities = (logits: Float32Array, r: number, n: number): number[] =>
  Array.from(logits.subarray(r * n, (r + 1) * n), sqrtSoftplus)

export const routerOps: Pick<OpKernels<Tensor>, "routerTopK" | "routerHash"> = {
  routerTopK(sel, weights, logits, bias, nRows, nExperts, k, scale) {
    const [chosen, w, g, b] = [sel.i32(), weights.f32(), logits.f32(), bias?.f32()]
    for (let r = 0; r < nRows; r++) {
      const p = probabilities(g, r, nExperts)
      const score = p.map((x, e) => Math.fround(Math.fround(x) + (b ? b[e]! : 0)))
      const order = score.map((_, e) => e).sort((x, y) => score[y]! - score[x]! || x - y)
      const best = order.slice(0, k)
      chosen.set(best, r * k)
      weigh(w, r * k, best, p, scale)
    }
  },

  routerHash(sel, weights, logits, table, rows, _nRows, nExperts, k, vocab, scale) {
    const [chosen, w, g, ids] = [sel.i32(), weights.f32(), logits.f32(), table.i32()]
    readRows("routerHash", rows, { vocab }).forEach(({ token }, r) => {
      const named = [...ids.subarray(token * k, (token + 1) * k)]
      const wrong = named.find((e) => e < 0 || e >= nExperts)
      if (wrong !== undefined)
        throw new NativeError(`routerHash: token ${token} names expert ${wrong} of ${nExperts}`)
      chosen.set(named, r * k)
      weigh(w, r * k, named, probabilities(g, r, nExperts), scale)
    })
  },
}

import type { OpKernels } from "../../../ffi/ops.gen.ts"
import { NativeError } from "../../errors.ts"
import type { Tensor } from "../tensor.ts"
import { dot } from "./matmul.ts"
import type { WeightReader } from "./memory.ts"

type ExpertOps = "expertsGateUp" | "expertsDown" | "swiglu" | "add"

/** `a σ(a) · u` with a = min(gate, clamp) and u = up within ±clamp. NaN stays NaN. Spec §11. */
export function gated(gate: number, up: number, clamp: number): number {
  const a = Math.min(gate, clamp)
  const u = Math.min(Math.max(up, -clamp), clamp)
  return (a / (1 + Math.exp(-a))) * u
}

/** Slots (row · k + slot) of each expert in use. */
function slotsByExpert(sel: Int32Array, nExperts: number): Map<number, number[]> {
  const slots = new Map<number, number[]>()
  sel.forEach((e, slot) => {
    if (e < 0 || e >= nExperts)
      throw new NativeError(`experts: slot ${slot} has ${e} of ${nExperts}`)
    const list = slots.get(e)
    if (list) list.push(slot)
    else slots.set(e, [slot])
  })
  return slots
}

export const expertOps = (weights: WeightReader): Pick<OpKernels<Tensor>, ExpertOps> => ({
  expertsGateUp(out, x, gate, up, sel, routerWeights, _nRows, k, nExperts, dim, ff, _type, clamp) {
    const [h, input, w] = [out.f32(), x.f32(), routerWeights.f32()]
    const gates = new Float64Array(sel.size * ff)
    for (const [e, slots] of slotsByExpert(sel.i32(), nExperts)) {
      weights.eachRow(gate, e * ff, ff, dim, (o, data, base) => {
        for (const slot of slots)
          gates[slot * ff + o] = dot(input, Math.floor(slot / k) * dim, data, base, dim)
      })
      weights.eachRow(up, e * ff, ff, dim, (o, data, base) => {
        for (const slot of slots) {
          const u = dot(input, Math.floor(slot / k) * dim, data, base, dim)
          h[slot * ff + o] = gated(gates[slot * ff + o]!, u, clamp) * w[slot]!
        }
      })
    }
  },

  expertsDown(out, h, down, sel, nRows, k, nExperts, dim, ff) {
    const [y, hidden] = [out.f32(), h.f32()]
    const parts = new Float64Array(sel.size * dim)
    for (const [e, slots] of slotsByExpert(sel.i32(), nExperts))
      weights.eachRow(down, e * dim, dim, ff, (o, data, base) => {
        for (const slot of slots) parts[slot * dim + o] = dot(hidden, slot * ff, data, base, ff)
      })
    for (let r = 0; r < nRows; r++)
      for (let o = 0; o < dim; o++) {
        let sum = 0
        for (let i = 0; i < k; i++) sum += parts[(r * k + i) * dim + o]!
        y[r * dim + o] = sum
      }
  },

  swiglu(out, gate, up, n, clamp) {
    const [y, a, u] = [out.f32(), gate.f32(), up.f32()]
    for (let i = 0; i < n; i++) y[i] = gated(a[i]!, u[i]!, clamp)
  },

  add(out, a, b, n) {
    const [y, p, q] = [out.f32(), a.f32(), b.f32()]
    for (let i = 0; i < n; i++) y[i] = p[i]! + q[i]!
  },
})

import type { OpKernels } from "../../../ffi/ops.gen.ts"
import type { Tensor } from "../tensor.ts"
import { readRows } from "./memory.ts"

const f32 = Math.fround

/** Rotation of the last dims of a head by the row's position. Products are
 *  rounded to f32 before they are added, as in the engines the goldens come from. Spec §7. */
export const ropeOps: Pick<OpKernels<Tensor>, "ropeTable" | "ropeTail"> = {
  ropeTable(out, freqs, rows, _nRows, nPairs, ratio) {
    const [table, omega] = [out.f32(), freqs.f32()]
    readRows("ropeTable", rows).forEach(({ pos }, r) => {
      const p = Math.max(pos + 1 - ratio, 0)
      for (let i = 0; i < nPairs; i++) {
        const angle = f32(f32(p) * omega[i]!)
        table[2 * (r * nPairs + i)] = Math.cos(angle)
        table[2 * (r * nPairs + i) + 1] = Math.sin(angle)
      }
    })
  },

  ropeTail(x, table, nRows, nHeads, dim, ropeDim, inverse) {
    const [v, turns] = [x.f32(), table.f32()]
    const sign = inverse ? -1 : 1
    for (let r = 0; r < nRows; r++)
      for (let h = 0; h < nHeads; h++)
        for (let i = 0; i < ropeDim; i += 2) {
          const at = (r * nHeads + h + 1) * dim - ropeDim + i
          const cos = turns[r * ropeDim + i]!
          const sin = sign * turns[r * ropeDim + i + 1]!
          const [a, b] = [v[at]!, v[at + 1]!]
          v[at] = f32(a * cos) - f32(b * sin)
          v[at + 1] = f32(a * sin) + f32(b * cos)
        }
  },
}

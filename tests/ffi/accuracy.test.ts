/** Dots of every weight type against f64 arithmetic on the decoded weights. Float types differ by
 *  rounding alone, quantized ones by 8-bit activations: below 0.2 % of the product of the norms. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { Ops } from "../../src/ops/ops.ts"
import { dequantize } from "../../src/quant/decode.ts"
import { Machine, Numbers } from "./machine.ts"

let m: Machine
let ops: Ops
beforeAll(() => {
  m = new Machine()
  ops = new Ops(m.backend)
})
afterAll(() => m[Symbol.dispose]())

const norm = (v: Float32Array) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0))
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0)
const swish = (x: number) => x / (1 + Math.exp(-x))

const types = [
  ["F32", 1e-6],
  ["F16", 1e-6],
  ["BF16", 1e-6],
  ["Q8_0", 2e-3],
  ["MXFP4", 2e-3],
  ["Q2_K", 2e-3],
  ["Q4_K", 2e-3],
  ["IQ2_XXS", 2e-3],
] as const

describe.each(types)("%s", (type, tolerance) => {
  const rand = new Numbers(77)
  /** Weights as their bytes and as numbers, row by row. */
  function matrix(rows: number, cols: number) {
    const bytes = rand.weights(type, rows * cols, 0.1)
    const values = new Float32Array(rows * cols)
    dequantize(type, bytes, values)
    return { bytes, row: (r: number) => values.subarray(r * cols, (r + 1) * cols) }
  }

  test("matmul()", () => {
    const [nRows, nOut, nIn] = [9, 21, 768]
    const w = matrix(nOut, nIn)
    const x = rand.normals(nRows * nIn)
    const out = m.tensor("F32", nRows, nOut)
    ops.matmul(out, m.floats([nRows, nIn], x), m.bytes(type, [nOut, nIn], w.bytes))
    for (let r = 0; r < nRows; r++)
      for (let o = 0; o < nOut; o++) {
        const row = x.subarray(r * nIn, (r + 1) * nIn)
        const error = out.f32()[r * nOut + o]! - dot(row, w.row(o))
        expect(Math.abs(error)).toBeLessThan(tolerance * norm(row) * norm(w.row(o)))
      }
  })

  test("expertsGateUp() and expertsDown()", () => {
    const [nRows, k, n, dim, ff, clamp] = [5, 2, 3, 256, 256, 3]
    const [gate, up, down] = [matrix(n * ff, dim), matrix(n * ff, dim), matrix(n * dim, ff)]
    const x = rand.normals(nRows * dim)
    const sel = Array.from({ length: nRows * k }, () => rand.below(n))
    const weights = rand.normals(nRows * k)
    const tensors = [gate, up, down].map((w) => m.bytes(type, [n, 256, 256], w.bytes))
    const ids = m.ints([nRows, k], sel)
    const [h, out] = [m.tensor("F32", nRows, k, ff), m.tensor("F32", nRows, dim)]
    const w = m.floats([nRows, k], weights)
    ops.expertsGateUp(h, m.floats([nRows, dim], x), tensors[0]!, tensors[1]!, ids, w, clamp)
    ops.expertsDown(out, h, tensors[2]!, ids)
    for (let r = 0; r < nRows; r++) {
      const row = x.subarray(r * dim, (r + 1) * dim)
      const pairs = Array.from({ length: k }, (_, i) => r * k + i)
      for (const p of pairs)
        for (let f = 0; f < ff; f += 37) {
          const at = sel[p]! * ff + f
          const g = Math.min(dot(row, gate.row(at)), clamp)
          const u = Math.max(-clamp, Math.min(dot(row, up.row(at)), clamp))
          const expected = swish(g) * u * weights[p]!
          const scale = norm(row) * (norm(gate.row(at)) + norm(up.row(at))) * clamp
          expect(Math.abs(h.f32()[p * ff + f]! - expected)).toBeLessThan(2 * tolerance * scale)
        }
      for (let d = 0; d < dim; d += 37) {
        // From the h that the op got: only its own error counts.
        const parts = pairs.map((p) => h.f32().subarray(p * ff, (p + 1) * ff))
        const rows = pairs.map((p) => down.row(sel[p]! * dim + d))
        const expected = parts.reduce((sum, v, i) => sum + dot(v, rows[i]!), 0)
        const scale = parts.reduce((sum, v, i) => sum + norm(v) * norm(rows[i]!), 0)
        expect(Math.abs(out.f32()[r * dim + d]! - expected)).toBeLessThan(tolerance * scale)
      }
    }
  })
})

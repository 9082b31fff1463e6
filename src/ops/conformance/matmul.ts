/** matmul, embed and gatherRows. */
import type { GgmlType } from "../../gguf/types.ts"
import { activationForm } from "./activations.ts"
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import { type Fixture, run } from "./fixture.ts"

export const WEIGHT_TYPES = [
  "F32",
  "F16",
  "BF16",
  "Q8_0",
  "MXFP4",
  "Q2_K",
  "Q4_K",
  "IQ2_XXS",
] as const satisfies readonly GgmlType[]

/** Of a dot with weights of a type, against exact activations. */
export const dotBound = (type: GgmlType): Bound =>
  activationForm(type)
    ? { rms: 0.015, why: "activations rounded to 8 bits" }
    : { rms: 2e-6, why: "sums in f32, in lanes" }

export const ROUNDED: Bound = { rms: 2e-5, why: "exact integers in a block, f32 over blocks" }

interface Shape {
  readonly nRows: number
  readonly nIn: number
  readonly nOut: number
  readonly nGroups?: number
}

const SHAPES: readonly Shape[] = [
  { nRows: 1, nIn: 256, nOut: 512 },
  { nRows: 2, nIn: 512, nOut: 37 },
  { nRows: 3, nIn: 256, nOut: 1 },
  { nRows: 17, nIn: 768, nOut: 19, nGroups: 2 },
  { nRows: 33, nIn: 256, nOut: 45 },
  { nRows: 3, nIn: 1024, nOut: 24, nGroups: 4 },
]

/** Slices of the real matrices: q_a, a part of q_b, the hyper-connection's function, output_a. */
const FULL: readonly (Shape & { type: GgmlType })[] = [
  { type: "Q8_0", nRows: 2, nIn: 4096, nOut: 1024 },
  { type: "Q8_0", nRows: 3, nIn: 1024, nOut: 2048 },
  { type: "F16", nRows: 3, nIn: 16384, nOut: 24 },
  { type: "F16", nRows: 1, nIn: 4096, nOut: 256 },
  { type: "Q8_0", nRows: 2, nIn: 4096, nOut: 64, nGroups: 8 },
]

export function matmulCases(): Case[] {
  const types = WEIGHT_TYPES.flatMap((type) => SHAPES.map((s) => matmul({ ...s, type })))
  return [
    ...types,
    ...FULL.map(matmul),
    ...WEIGHT_TYPES.map((type) => hostile(type)),
    ...WEIGHT_TYPES.map((type) => notFinite(type)),
    ...(["F32", "F16", "BF16"] as const).map(ragged),
    ...WEIGHT_TYPES.flatMap((type) => [embed(type, 1, 256), embed(type, 4, 512)]),
    embed("F16", 4, 4096),
    gatherRows(),
  ]
}

function matmul({ type, nRows, nIn, nOut, nGroups = 1 }: Shape & { type: GgmlType }): Case {
  const groups = nGroups === 1 ? "" : `, ${nGroups} groups`
  return product(`${type}, ${nRows} rows of ${nIn} to ${nOut}${groups}`, type, nRows, (f) => {
    const w = f.weights(type, [nGroups * nOut, nIn])
    return { w, x: f.rand.normals(nRows * nGroups * nIn), nGroups }
  })
}

/** Rows of zeros, of -0, of tiny and of huge numbers, and one that has all of them. */
export function hostileRows(f: Fixture, n: number): Float32Array {
  const x = f.rand.normals(7 * n)
  const fill = (row: number, value: (v: number, i: number) => number) =>
    x.set(x.subarray(row * n, (row + 1) * n).map(value), row * n)
  fill(0, () => 0)
  fill(1, () => -0)
  fill(2, (v) => v * 1e-41)
  fill(3, (v) => v * 1e30)
  fill(4, (v, i) => [v, 0, v * 1e30, v * -1e29, 1e-41, -0][i % 6]!)
  fill(5, (v, i) => (i % 32 === 0 ? 1e4 : v))
  fill(6, () => 1)
  return x
}
export const HOSTILE_ROWS = 7

const hostile = (type: GgmlType): Case =>
  product(`${type}, zeros, tiny and huge activations`, type, HOSTILE_ROWS, (f) => ({
    w: f.weights(type, [21, 512]),
    x: hostileRows(f, 512),
    nGroups: 1,
  }))

function notFinite(type: GgmlType): Case {
  return {
    op: "matmul",
    name: `${type}, NaN and infinity`,
    run(f) {
      const x = f.rand.normals(2 * 256)
      x[5] = Number.NaN
      x[256 + 5] = Number.POSITIVE_INFINITY
      const out = f.tensor("F32", 2, 9)
      f.ops.matmul(out, f.floats([2, 256], x), f.weights(type, [9, 256]))
      const bad = Int32Array.from(f.read(out), (v) => (Number.isFinite(v) ? 0 : 1))
      return [{ name: "not finite", values: bad, bound: "exact" }]
    },
  }
}

/** Rows of any length, where types have no blocks. */
const ragged = (type: "F32" | "F16" | "BF16"): Case =>
  product(`${type}, 5 rows of 83 to 7`, type, 5, (f) => ({
    w: f.weights(type, [7, 83]),
    x: f.rand.normals(5 * 83),
    nGroups: 1,
  }))

type Inputs = (f: Fixture) => {
  w: ReturnType<Fixture["weights"]>
  x: Float32Array
  nGroups: number
}

function product(name: string, type: GgmlType, nRows: number, inputs: Inputs): Case {
  const c: Case = {
    op: "matmul",
    name,
    run(f) {
      const { w, x, nGroups } = inputs(f)
      const out = f.tensor("F32", nRows, w.dims[0]!)
      f.ops.matmul(out, f.activations(type, [nRows, x.length / nRows], x), w, nGroups)
      return [output(f, "out", out, dotBound(type), rowLength(nRows, w.dims[0]!))]
    },
  }
  return activationForm(type) ? { ...c, rounded: ROUNDED } : c
}

/** Rows of few numbers are measured together: one dot may cancel to nearly nothing. */
const rowLength = (nRows: number, nOut: number) => (nOut < 16 ? nRows * nOut : nOut)

function embed(type: GgmlType, hc: number, dim: number): Case {
  return {
    op: "embed",
    name: `${type}, ${hc} streams of ${dim}`,
    run(f) {
      const table = f.weights(type, [20, dim])
      const rows = f.rows(run(0, 3, 17).map((r, i) => ({ ...r, token: i === 0 ? 19 : i })))
      const out = f.tensor("F32", 17, hc, dim)
      f.ops.embed(out, table, rows)
      const bound: Bound = { atol: 0, rtol: 5e-7, why: "a product of three f32 rounds twice" }
      return [output(f, "out", out, bound)]
    },
  }
}

function gatherRows(): Case {
  return {
    op: "gatherRows",
    name: "17 of 9 rows, repeated and out of order",
    run(f) {
      const out = f.tensor("F32", 17, 3, 50)
      f.ops.gatherRows(out, f.normals([9, 3, 50]), f.ints([17], f.rand.ints(17, 9)))
      return [output(f, "out", out, "exact")]
    },
  }
}

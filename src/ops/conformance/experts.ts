/** expertsGateUp and expertsDown. */
import type { GgmlType } from "../../gguf/types.ts"
import { activationForm } from "./activations.ts"
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import type { Fixture } from "./fixture.ts"
import { dotBound, HOSTILE_ROWS, hostileRows, ROUNDED, WEIGHT_TYPES } from "./matmul.ts"

interface Shape {
  readonly nRows: number
  readonly nExperts: number
  readonly k: number
  readonly dim: number
  readonly ff: number
}

const MINI: Shape = { nRows: 3, nExperts: 8, k: 2, dim: 256, ff: 256 }

export function expertCases(): Case[] {
  const shapes: readonly Shape[] = [
    { ...MINI, nRows: 1 },
    { ...MINI, nRows: 17, ff: 512 },
    { nRows: 33, nExperts: 24, k: 6, dim: 256, ff: 256 },
  ]
  const full: Shape = { nRows: 2, nExperts: 2, k: 2, dim: 4096, ff: 2048 }
  const fullDown: Shape = { ...full, nRows: 3, nExperts: 3 }
  return [
    ...WEIGHT_TYPES.flatMap((type) => shapes.flatMap((s) => [gateUp(type, s, 2), down(type, s)])),
    gateUp("IQ2_XXS", full, 10),
    down("Q2_K", fullDown),
    gateUp("F32", { ...MINI, ff: 37, dim: 83 }, 0.5),
    down("F16", { ...MINI, ff: 83, dim: 37 }),
    ...WEIGHT_TYPES.map(hostileGateUp),
    ...WEIGHT_TYPES.map(notFinite),
  ]
}

const nameOf = (type: GgmlType, s: Shape) =>
  `${type}, ${s.nRows} rows, ${s.k} of ${s.nExperts} experts, ${s.dim} to ${s.ff}`

/** k different experts of each row. */
const selection = (f: Fixture, { nRows, nExperts, k }: Shape) =>
  f.ints([nRows, k], Array.from({ length: nRows }, () => f.rand.pick(k, nExperts)).flat())

/** The gated product is worse than either of its factors, so the bound is twice a dot's. */
function gateUpBound(type: GgmlType): Bound {
  return activationForm(type)
    ? { rms: 0.03, why: "activations rounded to 8 bits, then a product of two dots" }
    : { rms: 5e-6, why: "a product of two f32 sums" }
}

function gateUp(type: GgmlType, s: Shape, clamp: number): Case {
  const x = (f: Fixture) => f.rand.normals(s.nRows * s.dim)
  return gateUpCase(nameOf(type, s), type, s, clamp, x)
}

function hostileGateUp(type: GgmlType): Case {
  const s = { ...MINI, nRows: HOSTILE_ROWS }
  const x = (f: Fixture) => hostileRows(f, s.dim)
  const bound: Bound = activationForm(type)
    ? { rms: 0.25, why: "a huge gate is open or shut by the sign of its dot alone" }
    : gateUpBound(type)
  return gateUpCase(`${type}, zeros, tiny and huge activations`, type, s, 10, x, bound)
}

function gateUpCase(
  name: string,
  type: GgmlType,
  s: Shape,
  clamp: number,
  x: (f: Fixture) => Float32Array,
  bound = gateUpBound(type),
): Case {
  const c: Case = {
    op: "expertsGateUp",
    name,
    run(f) {
      const [gate, up] = [0, 1].map(() => f.weights(type, [s.nExperts, s.ff, s.dim], 0.1))
      const out = f.tensor("F32", s.nRows, s.k, s.ff)
      const input = f.activations(type, [s.nRows, s.dim], x(f))
      const sel = selection(f, s)
      f.ops.expertsGateUp(out, input, gate!, up!, sel, f.normals([s.nRows, s.k]), clamp)
      return [output(f, "out", out, bound, s.k * s.ff)]
    },
  }
  return activationForm(type) ? { ...c, rounded: ROUNDED } : c
}

function down(type: GgmlType, s: Shape): Case {
  const c: Case = {
    op: "expertsDown",
    name: nameOf(type, { ...s, dim: s.ff, ff: s.dim }),
    run(f) {
      const w = f.weights(type, [s.nExperts, s.dim, s.ff])
      const out = f.tensor("F32", s.nRows, s.dim)
      const h = f.activations(type, [s.nRows, s.k, s.ff], f.rand.normals(s.nRows * s.k * s.ff))
      f.ops.expertsDown(out, h, w, selection(f, s))
      return [output(f, "out", out, dotBound(type), s.dim)]
    },
  }
  return activationForm(type) ? { ...c, rounded: ROUNDED } : c
}

function notFinite(type: GgmlType): Case {
  return {
    op: "expertsGateUp",
    name: `${type}, NaN and infinity`,
    run(f) {
      const s = MINI
      const x = f.rand.normals(s.nRows * s.dim)
      x[7] = Number.NaN
      x[s.dim + 7] = Number.NEGATIVE_INFINITY
      const w = f.weights(type, [s.nExperts, s.ff, s.dim])
      const [h, y] = [f.tensor("F32", s.nRows, s.k, s.ff), f.tensor("F32", s.nRows, s.dim)]
      const sel = selection(f, s)
      f.ops.expertsGateUp(h, f.floats([s.nRows, s.dim], x), w, w, sel, f.normals([s.nRows, s.k]), 2)
      f.ops.expertsDown(y, h, w, sel)
      return [output(f, "h", h, "any"), output(f, "out", y, "any")]
    },
  }
}

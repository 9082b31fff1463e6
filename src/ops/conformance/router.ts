/** routerTopK and routerHash. */
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import { type Fixture, run } from "./fixture.ts"

const WEIGHT: Bound = { atol: 1e-9, rtol: 3e-6, why: "our own exp and log in f32" }

export function routerCases(): Case[] {
  return [
    topK("mini, 2 of 8", 17, 8, 2, plain),
    topK("6 of 24", 33, 24, 6, plain),
    topK("6 of 256", 3, 256, 6, plain),
    topK("6 of 37, no bias", 2, 37, 6, plain, false),
    topK("all of 6", 1, 6, 6, plain),
    topK("ties: the lower expert", 17, 37, 6, tied, false),
    topK("all logits equal", 2, 24, 6, () => 0, false),
    topK("logits of ±1e30, tiny ones and zeros", 5, 24, 6, extreme, false),
    topK("weights that vanish", 3, 24, 6, (f) => -60 + f.rand.normal(), false),
    hash("mini, 2 of 8", 8, 2),
    hash("6 of 37, a table that repeats experts", 37, 6),
    notFinite(),
  ]
}

type Logit = (f: Fixture, i: number) => number

const plain: Logit = (f) => 8 * f.rand.normal()
const tied: Logit = (f) => f.rand.below(4) - 2
const extreme: Logit = (f, i) => [1e30, -1e30, 1e-41, 0, -0, 25, -25, f.rand.normal()][i % 8]!

function topK(
  name: string,
  nRows: number,
  nExperts: number,
  k: number,
  logit: Logit,
  biased = true,
): Case {
  return {
    op: "routerTopK",
    name,
    run(f) {
      const logits = Array.from({ length: nRows * nExperts }, (_, i) => logit(f, i))
      const bias = biased ? f.normals([nExperts], 0.1) : null
      const [sel, weights] = [f.tensor("I32", nRows, k), f.tensor("F32", nRows, k)]
      f.ops.routerTopK(sel, weights, f.floats([nRows, nExperts], logits), bias, 1.5)
      return [output(f, "sel", sel, "exact"), output(f, "weights", weights, WEIGHT)]
    },
  }
}

function hash(name: string, nExperts: number, k: number): Case {
  return {
    op: "routerHash",
    name,
    run(f) {
      const table = f.ints([32, k], f.rand.ints(32 * k, nExperts))
      const rows = f.rows(run(0, 5, 17).map((r, i) => ({ ...r, token: (i * 7) % 32 })))
      const [sel, weights] = [f.tensor("I32", 17, k), f.tensor("F32", 17, k)]
      f.ops.routerHash(sel, weights, f.normals([17, nExperts], 8), table, rows, 1.5)
      return [output(f, "sel", sel, "exact"), output(f, "weights", weights, WEIGHT)]
    },
  }
}

function notFinite(): Case {
  return {
    op: "routerTopK",
    name: "NaN and infinity: experts stay valid and differ",
    run(f) {
      const logits = f.rand.normals(4 * 24)
      logits.fill(Number.NaN, 3, 5)
      logits[24 + 3] = Number.POSITIVE_INFINITY
      logits[48 + 3] = Number.NEGATIVE_INFINITY
      logits.fill(Number.NaN, 72)
      const [sel, weights] = [f.tensor("I32", 4, 6), f.tensor("F32", 4, 6)]
      f.ops.routerTopK(sel, weights, f.floats([4, 24], logits), f.normals([24]), 1.5)
      const ids = f.read(sel)
      const valid = [0, 1, 2, 3].map((r) => {
        const row = [...ids.subarray(6 * r, 6 * r + 6)]
        return new Set(row).size === 6 && row.every((e) => e >= 0 && e < 24) ? 1 : 0
      })
      return [{ name: "valid", values: Int32Array.from(valid), bound: "exact" }]
    },
  }
}

/** candidates: ids and logits exact, the sum of exponentials within a bound. */
import { CANDIDATE_WORDS } from "../ops.ts"
import type { TypedView } from "../tensor.ts"
import type { Case } from "./case.ts"
import type { Output } from "./compare.ts"
import type { Fixture } from "./fixture.ts"

interface Setting {
  readonly nRows: number
  readonly vocab: number
  readonly limit: number
  readonly logit: (f: Fixture, i: number) => number
  readonly delta: number
  /** Mask of one row's words: allowed where a bit is set. */
  readonly mask?: (f: Fixture, word: number) => number
  /** (row, id, value). */
  readonly bias?: readonly (readonly [number, number, number])[]
}

const PLAIN: Setting = {
  nRows: 3,
  vocab: 320,
  limit: 64,
  logit: (f) => 3 * f.rand.normal(),
  delta: 3,
}

export function candidateCases(): Case[] {
  const bias: Setting["bias"] = [
    [0, 7, 20],
    [0, 7, 2.5],
    [1, 319, -1e30],
    [2, 0, 0.125],
  ]
  const half = (f: Fixture) => f.rand.u32()
  return [
    candidates("320 ids", PLAIN),
    candidates("33 rows of 1003", { ...PLAIN, nRows: 33, vocab: 1003 }),
    candidates("129280 ids, limit 1024", {
      ...PLAIN,
      nRows: 1,
      vocab: 129280,
      limit: 1024,
      delta: 2,
    }),
    candidates("more than the limit pass", { ...PLAIN, delta: 30 }),
    candidates("delta 0: the maximum alone", { ...PLAIN, delta: 0 }),
    candidates("ties: all equal", { ...PLAIN, logit: () => 1.5, limit: 320, delta: 0 }),
    candidates("ties at the top", { ...PLAIN, logit: (f) => f.rand.below(9), delta: 1 }),
    candidates("half of the ids are masked", { ...PLAIN, mask: half }),
    candidates("one id is allowed", { ...PLAIN, mask: (_, w) => (w === 9 ? 1 << 31 : 0) }),
    candidates("no id is allowed: bad", { ...PLAIN, mask: () => 0 }),
    candidates("biased, an id twice", { ...PLAIN, bias }),
    candidates("biased and masked", { ...PLAIN, bias, mask: half }),
    candidates("logits of ±1e30, tiny ones and zeros", { ...PLAIN, logit: extreme, delta: 1 }),
    ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((value) =>
      candidates(`a logit of ${value}: bad`, {
        ...PLAIN,
        logit: (f, i) => (i === 400 ? value : f.rand.normal()),
      }),
    ),
  ]
}

const extreme: Setting["logit"] = (f, i) => [1e30, -1e30, 1e-41, 0, -0, f.rand.normal()][i % 6]!

function candidates(name: string, s: Setting): Case {
  return {
    op: "candidates",
    name,
    run(f) {
      const words = Math.ceil(s.vocab / 32)
      const values = Float32Array.from({ length: s.nRows * s.vocab }, (_, i) => s.logit(f, i))
      const logits = f.floats([s.nRows, s.vocab], values)
      const mask = s.mask
        ? f.ints(
            [s.nRows, words],
            Array.from({ length: s.nRows * words }, (_, i) => s.mask!(f, i % words)),
          )
        : null
      const delta = f.floats([s.nRows], new Float32Array(s.nRows).fill(s.delta))
      const info = f.tensor("I32", s.nRows, CANDIDATE_WORDS)
      const [ids, kept] = [f.tensor("I32", s.nRows, s.limit), f.tensor("F32", s.nRows, s.limit)]
      const bias = s.bias ? f.bytes("U8", [12 * s.bias.length], biasRecords(s.bias)) : null
      f.ops.candidates(info, ids, kept, logits, mask, delta, bias, s.bias?.length ?? 0)
      return rowsOf(f.read(info) as Int32Array, f.read(ids), f.read(kept), s).concat({
        name: "logits",
        values: f.read(logits),
        bound: "exact",
      })
    },
  }
}

function biasRecords(bias: readonly (readonly [number, number, number])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(12 * bias.length))
  bias.forEach(([row, id, value], i) => {
    view.setUint32(12 * i, row, true)
    view.setUint32(12 * i + 4, id, true)
    view.setFloat32(12 * i + 8, value, true)
  })
  return new Uint8Array(view.buffer)
}

/** What counts of each row: of a bad one the flag alone, of one with too many ids the number of them. */
function rowsOf(info: Int32Array, ids: TypedView, kept: TypedView, s: Setting): Output[] {
  const floats = new Float32Array(info.buffer)
  return Array.from({ length: s.nRows }, (_, r): Output[] => {
    const at = r * CANDIDATE_WORDS
    const [argmax, , , bad, passed] = info.subarray(at, at + CANDIDATE_WORDS)
    const one = (what: string, values: TypedView): Output => ({
      name: `${what} of row ${r}`,
      values,
      bound: "exact",
    })
    if (bad) return [one("info", Int32Array.of(bad))]
    const n = passed! <= s.limit ? passed! : 0
    return [
      one("info", Int32Array.of(bad!, argmax!, passed!)),
      one("max", floats.slice(at + 1, at + 2)),
      {
        name: `log-sum-exp of row ${r}`,
        values: floats.slice(at + 2, at + 3),
        bound: { atol: 2e-6, rtol: 1e-6, why: "our own exp in f32" },
      },
      one("ids", ids.slice(r * s.limit, r * s.limit + n)),
      one("values", kept.slice(r * s.limit, r * s.limit + n)),
    ]
  }).flat()
}

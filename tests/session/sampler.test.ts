/** Choosing tokens: equal to the definition, written out plainly, whatever short ways are taken. */
import { expect, test } from "bun:test"
import type { CandidateRow } from "../../src/session/candidates.ts"
import { DEFAULT_SAMPLING, Rng, Sampler, type SamplingParams } from "../../src/session/sampler.ts"
import { Random } from "../../src/tools/synthetic-data.ts"

const ROWS = 1500

const random = new Random(5)
const below = (n: number) => random.u32() % n
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!

function rowOf(logits: Float32Array): CandidateRow {
  const max = logits.reduce((a, b) => Math.max(a, b))
  return {
    argmax: logits.indexOf(max),
    max,
    lse: 0,
    bad: false,
    logits: () => logits,
    candidates(delta) {
      const ids = [...logits.keys()].filter((id) => logits[id]! >= max - delta)
      return { ids, values: Float32Array.from(ids, (id) => logits[id]!) }
    },
  }
}

/** The kept ids in the order in which they share [0, 1): by falling probability where top-p or top-k cut. */
function chosen(logits: Float32Array, params: SamplingParams, uniform: number): number {
  const { temperature, topP, minP, topK } = params
  const max = logits.reduce((a, b) => Math.max(a, b))
  const all = Array.from(logits, (v, id) => ({ id, p: Math.exp((v - max) / temperature) }))
  const sum = all.reduce((total, { p }) => total + p, 0)
  let kept = all.filter(({ p }) => p >= minP)
  if (topP < 1 || topK > 0) kept.sort((a, b) => b.p - a.p || a.id - b.id)
  let cumulative = 0
  const enough = kept.findIndex(({ p }) => (cumulative += p / sum) >= topP)
  if (topP < 1 && enough >= 0) kept = kept.slice(0, enough + 1)
  if (topK > 0) kept = kept.slice(0, topK)
  const total = kept.reduce((t, { p }) => t + p, 0)
  let left = uniform * total
  return (kept.find(({ p }) => (left -= p) < 0) ?? kept.at(-1)!).id
}

test("a token is chosen as the definition says, ties and flat rows too", () => {
  for (let seed = 1; seed <= ROWS; seed++) {
    const [scale, isCoarse] = [pick([0, 0.5, 3]), below(2) === 0]
    const normal = () => Array.from({ length: 12 }, () => random.u32() / 2 ** 32 - 0.5)
    const logits = Float32Array.from({ length: 1 + below(200) }, () => {
      const value = scale * normal().reduce((a, b) => a + b)
      return isCoarse ? Math.round(value) : value
    })
    const params = {
      ...DEFAULT_SAMPLING,
      temperature: pick([0.2, 1, 3]),
      topP: pick([0, 0.1, 0.9, 0.999, 1]),
      minP: pick([0, 0.05, 1]),
      topK: pick([0, 0, 1, 40, 500]),
    }
    const id = new Sampler({ ...params, seed }).pick(rowOf(logits))
    const expected = chosen(logits, params, new Rng(seed).next())
    expect({ seed, params, id }).toEqual({ seed, params, id: expected })
  }
})

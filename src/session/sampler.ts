/** Choosing the next token from a row of logits. Spec §12; design D4, D12. */
import type { CandidateRow } from "./candidates.ts"

export interface SamplingParams {
  /** 0: the most likely token. */
  temperature: number
  /** Keep the most likely tokens until their probabilities sum to this; 1: all. */
  topP: number
  /** Drop tokens less likely than this times the most likely one. */
  minP: number
  /** Keep so many tokens at most; 0: all. */
  topK: number
  /** Same seed, same text (on the same backend); random if undefined. */
  seed?: number | bigint | undefined
}

export const DEFAULT_SAMPLING: SamplingParams = { temperature: 1, topP: 1, minP: 0.05, topK: 0 }

const MASK_64 = (1n << 64n) - 1n

/** xorshift64* (shifts 12, 25, 27): uniform numbers in [0, 1), 24 bits each. */
export class Rng {
  #state: bigint

  constructor(seed: number | bigint) {
    const state = BigInt.asUintN(64, BigInt(seed))
    this.#state = state === 0n ? 0x9e3779b97f4a7c15n : state
  }

  next(): number {
    let x = this.#state
    x ^= x >> 12n
    x ^= (x << 25n) & MASK_64
    x ^= x >> 27n
    this.#state = x
    return Number(((x * 0x2545f4914f6cdd1dn) & MASK_64) >> 40n) / 2 ** 24
  }
}

/** A seed nobody chose. */
export function randomSeed(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0]!
}

export class Sampler {
  readonly params: SamplingParams
  /** Tokens further below the best logit than this cannot be chosen. Infinity: the whole row is needed. */
  readonly delta: number
  readonly #rng: Rng

  constructor(params: Partial<SamplingParams> = {}) {
    this.params = { ...DEFAULT_SAMPLING, ...params }
    this.#rng = new Rng(this.params.seed ?? randomSeed())
    this.delta = candidateDelta(this.params)
  }

  /** The chosen id. `row` must not be bad (no NaN, something allowed). */
  pick(row: CandidateRow): number {
    const { temperature, topP, minP, topK } = this.params
    if (temperature <= 0) return row.argmax
    const { ids, values } = row.candidates(this.delta)
    const p = new Float64Array(values.length) // often the whole vocabulary: no callbacks
    for (let i = 0; i < p.length; i++) p[i] = Math.exp((values[i]! - row.max) / temperature)
    const order = topP < 1 || topK > 0 ? cut(p, topP, minP, topK) : above(p, minP)
    let total = 0
    for (const i of order) total += p[i]!
    let left = this.#rng.next() * total
    for (const i of order) {
      left -= p[i]!
      if (left < 0) return ids[i]!
    }
    return ids[order.at(-1)!]!
  }
}

/** Where min-p cuts, `exp(-delta / T) = minP`; without it, and for top-p, the whole row is needed. */
function candidateDelta({ temperature, topP, minP }: SamplingParams): number {
  if (temperature <= 0) return 0
  if (topP < 1 || minP <= 0) return Infinity
  return -temperature * Math.log(minP) * (1 + 1e-6)
}

/** Indices with p ≥ minP, in order; p of the best is 1. */
function above(p: Float64Array, minP: number): number[] {
  const kept: number[] = []
  for (let i = 0; i < p.length; i++) if (p[i]! >= minP) kept.push(i)
  return kept
}

/** Indices by falling p (equal: lower first): at most topK, none below minP but the first, and no more
 *  than it takes to reach topP of the sum over all. */
function cut(p: Float64Array, topP: number, minP: number, topK: number): number[] {
  let sum = 0
  for (let i = 0; i < p.length; i++) sum += p[i]!
  const floor = Math.min(Math.max(minP, 0), 1)
  // All below this together are less than what top-p leaves out: most need not be sorted.
  const few = ((1 - topP) * sum) / p.length
  const kth = topK > 0 && topK < p.length && minP <= 0 ? p.toSorted()[p.length - topK]! : 0
  const found = firstOf(above(p, Math.max(floor, few, kth)), p, sum, topP, topK)
  if (found) return found
  const order = above(p, floor)
  return firstOf(order, p, sum, topP, topK) ?? order
}

/** Sorts `order` by falling p. Returns its first until they reach topP or are topK; null if they do not. */
function firstOf(
  order: number[],
  p: Float64Array,
  sum: number,
  topP: number,
  topK: number,
): number[] | null {
  order.sort((a, b) => p[b]! - p[a]! || a - b)
  let cumulative = 0
  for (let i = 0; i < order.length; i++) {
    cumulative += p[order[i]!]! / sum
    if ((topP < 1 && cumulative >= topP) || i + 1 === topK) return order.slice(0, i + 1)
  }
  return null
}

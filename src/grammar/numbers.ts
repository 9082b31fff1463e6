/** JSON numbers, of at most 32 digits, within bounds. */
import {
  choice,
  EMPTY,
  literal,
  type Node,
  optional,
  repeat,
  sequence,
  symbolSet,
} from "./nodes.ts"

const digits = (from: string, to: string): Node =>
  symbolSet([[from.charCodeAt(0), to.charCodeAt(0)]], true)
const DIGIT = digits("0", "9")
const whole = (most: number): Node =>
  choice(digits("0", "0"), sequence(digits("1", "9"), repeat(DIGIT, 0, most - 1)))
const MINUS = optional(literal("-"))
const PLUS_MINUS = optional(
  symbolSet([
    [0x2b, 0x2b],
    [0x2d, 0x2d],
  ]),
)
const E = symbolSet([
  [0x45, 0x45],
  [0x65, 0x65],
])

const MOST_DIGITS = 32
export const INTEGER: Node = sequence(MINUS, whole(MOST_DIGITS))
export const NUMBER: Node = sequence(
  MINUS,
  whole(16),
  optional(sequence(literal("."), repeat(DIGIT, 1, 14))),
  optional(sequence(E, PLUS_MINUS, repeat(DIGIT, 1, 2))),
)

/** A decimal number: units of 10^-scale. */
export interface Decimal {
  units: bigint
  scale: number
}

const MOST_SCALE = 12
const MOST_UNITS = 10n ** BigInt(MOST_DIGITS - 1) - 1n

/** A JSON number's text as a decimal; undefined beyond 12 places or 18 digits before the point. */
export function decimalOf(text: string): Decimal | undefined {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d{1,3}))?$/.exec(text)
  if (!parts) return undefined
  const [, sign, int = "", fraction = "", exponent = "0"] = parts
  let scale = fraction.length - Number(exponent)
  let units = BigInt(int + fraction)
  for (; scale > 0 && units % 10n === 0n; scale--) units /= 10n
  if (scale > MOST_SCALE || scale < -18) return undefined
  if (scale < 0) [units, scale] = [units * 10n ** BigInt(-scale), 0]
  return units > MOST_UNITS ? undefined : { units: sign ? -units : units, scale }
}

const unitsAt = ({ units, scale }: Decimal, wanted: number): bigint =>
  units * 10n ** BigInt(wanted - scale)

export interface Bounds {
  min?: Decimal | undefined
  max?: Decimal | undefined
  /** Whether the bound itself is out. */
  minIsOut?: boolean
  maxIsOut?: boolean
}

/** Whole numbers within bounds; undefined if there is none. */
export function integerWithin(b: Bounds): Node | undefined {
  const [low, high] = unitRange(b, 0)
  return rangeOf(low, high, 0)
}

/** Numbers within bounds: whole ones, and those with as many places as the bounds have, at least two. */
export function numberWithin(b: Bounds): Node | undefined {
  const scale = Math.max(2, b.min?.scale ?? 0, b.max?.scale ?? 0)
  const all = [integerWithin(b), rangeOf(...unitRange(b, scale), scale)].filter(
    (n) => n !== undefined,
  )
  return all.length === 0 ? undefined : choice(...all)
}

/** The least and greatest units at a scale. */
function unitRange({ min, max, minIsOut, maxIsOut }: Bounds, scale: number): [bigint, bigint] {
  let [low, high] = [-MOST_UNITS, MOST_UNITS]
  if (min) {
    const fine = Math.max(min.scale, scale)
    const step = 10n ** BigInt(fine - scale)
    const units = unitsAt(min, fine)
    low = ceilDiv(units, step)
    if (minIsOut && low * step === units) low++
  }
  if (max) {
    const fine = Math.max(max.scale, scale)
    const step = 10n ** BigInt(fine - scale)
    const units = unitsAt(max, fine)
    high = -ceilDiv(-units, step)
    if (maxIsOut && high * step === units) high--
  }
  return [low, high]
}

function ceilDiv(a: bigint, b: bigint): bigint {
  const quotient = a / b
  return a % b > 0n ? quotient + 1n : quotient
}

const MOST_RANGES = 256
/** Ranges that were made: schemas have the same ones again and again. */
const ranges = new Map<string, Node | undefined>()

function rangeOf(low: bigint, high: bigint, scale: number): Node | undefined {
  const key = `${low} ${high} ${scale}`
  if (ranges.has(key)) return ranges.get(key)
  if (ranges.size >= MOST_RANGES) ranges.clear()
  const range = newRange(low, high, scale)
  ranges.set(key, range)
  return range
}

function newRange(low: bigint, high: bigint, scale: number): Node | undefined {
  if (low > high) return undefined
  const parts: Node[] = []
  if (low < 0n) {
    const most = high < 0n ? -high : 1n
    if (-low >= most) parts.push(sequence(literal("-"), ...positive(most, -low, scale)))
  }
  if (high >= 0n) parts.push(...positive(low > 0n ? low : 0n, high, scale))
  return parts.length === 0 ? undefined : choice(...parts)
}

/** Numbers from low to high units as one node. */
function positive(low: bigint, high: bigint, scale: number): Node[] {
  const parts: Node[] = []
  const shortest = scale + 1
  for (let n = shortest; n <= String(high).length || n === shortest; n++) {
    const least = n === shortest ? 0n : 10n ** BigInt(n - 1)
    const most = 10n ** BigInt(n) - 1n
    const [from, to] = [low > least ? low : least, high < most ? high : most]
    if (from > to) continue
    parts.push(sameLength(String(from).padStart(n, "0"), String(to).padStart(n, "0"), scale))
  }
  return parts.length === 0 ? [] : [choice(...parts)]
}

/** Digit strings of one length from `low` to `high`, with the point before the last `scale`. */
function sameLength(low: string, high: string, scale: number): Node {
  if (low === "") return EMPTY
  const point = low.length === scale && scale > 0 ? [literal(".")] : []
  const [a, b, restA, restB] = [low[0]!, high[0]!, low.slice(1), high.slice(1)]
  if (/^0*$/.test(low) && /^9*$/.test(high) && (scale === 0 || low.length <= scale))
    return sequence(...point, repeat(DIGIT, low.length, low.length))
  if (a === b) return sequence(...point, digits(a, a), sameLength(restA, restB, scale))
  const [zeros, nines] = [restA.replace(/./g, "0"), restA.replace(/./g, "9")]
  const parts = [sequence(digits(a, a), sameLength(restA, nines, scale))]
  const [from, to] = [String(Number(a) + 1), String(Number(b) - 1)]
  if (from <= to) parts.push(sequence(digits(from, to), sameLength(zeros, nines, scale)))
  parts.push(sequence(digits(b, b), sameLength(zeros, restB, scale)))
  return sequence(...point, choice(...parts))
}

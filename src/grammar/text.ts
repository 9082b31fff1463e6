/** Characters: of JSON strings, and sets of code points in UTF-8. */
import { choice, literal, type Node, sequence, symbolSet } from "./nodes.ts"

/** A character of a JSON string that stands for itself and is one byte. */
export const isPlain = (symbol: number): boolean =>
  symbol >= 0x20 && symbol < 0x80 && symbol !== 0x22 && symbol !== 0x5c

const bytes = (...ranges: [number, number][]): Node => symbolSet(ranges, true)
const REST = bytes([0x80, 0xbf])

/** What follows a backslash. Halves of surrogate pairs are left out: such characters come as UTF-8. */
export const ESCAPE: Node = (() => {
  const hex = bytes([0x30, 0x39], [0x41, 0x46], [0x61, 0x66])
  const notD = bytes([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66])
  const low = bytes([0x30, 0x37])
  const short = bytes(
    ...[...'"\\/bfnrt'].map((c): [number, number] => [c.charCodeAt(0), c.charCodeAt(0)]),
  )
  const u = bytes([0x75, 0x75])
  const d = bytes([0x44, 0x44], [0x64, 0x64])
  return choice(short, sequence(u, choice(sequence(notD, hex), sequence(d, low)), hex, hex))
})()

const TAILS: readonly (readonly [from: number, to: number, tail: Node])[] = [
  [0xc2, 0xdf, REST],
  [0xe0, 0xe0, sequence(bytes([0xa0, 0xbf]), REST)],
  [0xe1, 0xec, sequence(REST, REST)],
  [0xed, 0xed, sequence(bytes([0x80, 0x9f]), REST)],
  [0xee, 0xef, sequence(REST, REST)],
  [0xf0, 0xf0, sequence(bytes([0x90, 0xbf]), REST, REST)],
  [0xf1, 0xf3, sequence(REST, REST, REST)],
  [0xf4, 0xf4, sequence(bytes([0x80, 0x8f]), REST, REST)],
]

/** What may follow the first byte of a character of several. */
export const tailOf = (lead: number): Node | undefined =>
  TAILS.find(([from, to]) => lead >= from && lead <= to)?.[2]

/** Ranges of code points, in order and apart. */
export type Ranges = readonly (readonly [from: number, to: number])[]

export const ALL: Ranges = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
]

export function union(...all: Ranges[]): Ranges {
  const sorted = all.flat().toSorted((a, b) => a[0] - b[0])
  const out: [number, number][] = []
  for (const [from, to] of sorted) {
    const last = out.at(-1)
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else out.push([from, to])
  }
  return out
}

/** All code points but those; surrogates are none. */
export function complement(ranges: Ranges): Ranges {
  const out: [number, number][] = []
  let from = 0
  for (const [a, b] of union(ranges, [[0xd800, 0xdfff]])) {
    if (a > from) out.push([from, a - 1])
    from = b + 1
  }
  if (from <= 0x10ffff) out.push([from, 0x10ffff])
  return out
}

/** `a` without `b`. */
export const without = (a: Ranges, b: Ranges): Ranges => complement(union(complement(a), b))

const ESCAPED: readonly (readonly [code: number, text: string])[] = [
  [0x22, '\\"'],
  [0x5c, "\\\\"],
  [0x08, "\\b"],
  [0x0c, "\\f"],
  [0x0a, "\\n"],
  [0x0d, "\\r"],
  [0x09, "\\t"],
]
const MUST_ESCAPE: Ranges = union([[0, 0x1f]], [[0x22, 0x22]], [[0x5c, 0x5c]])

/** One character of the ranges as it stands in a JSON string; undefined if there is none. */
export function jsonCharacter(ranges: Ranges): Node | undefined {
  const raw = utf8Ranges(without(ranges, MUST_ESCAPE))
  const escapes = ESCAPED.filter(([code]) => ranges.some(([a, b]) => code >= a && code <= b))
  const all = [...raw, ...escapes.map(([, text]) => literal(text))]
  return all.length === 0 ? undefined : choice(...all)
}

/** One character of the ranges in UTF-8; undefined if there is none. */
export function character(ranges: Ranges): Node | undefined {
  const all = utf8Ranges(ranges)
  return all.length === 0 ? undefined : choice(...all)
}

const LENGTH_ENDS = [0x7f, 0x7ff, 0xffff, 0x10ffff]

/** Ranges of code points as sequences of byte ranges. */
function utf8Ranges(ranges: Ranges): Node[] {
  const out: Node[] = []
  const ascii: [number, number][] = []
  for (const [from, to] of without(ranges, []))
    for (let a = from; a <= to;) {
      const end = Math.min(
        to,
        LENGTH_ENDS.find((e) => a <= e)!,
      )
      if (end <= 0x7f) ascii.push([a, end])
      else for (const [x, y] of aligned(a, end)) out.push(byteRanges(x, y))
      a = end + 1
    }
  return ascii.length > 0 ? [symbolSet(ascii, true), ...out] : out
}

/** Cuts a range of code points of equal length so that in each part every byte has a range of its own. */
function* aligned(from: number, to: number): Generator<[number, number]> {
  for (const shift of [6, 12, 18]) {
    const mask = (1 << shift) - 1
    if (from >> shift === to >> shift) continue
    if ((from & mask) !== 0) {
      yield* aligned(from, from | mask)
      yield* aligned((from | mask) + 1, to)
      return
    }
    if ((to & mask) !== mask) {
      yield* aligned(from, (to & ~mask) - 1)
      yield* aligned(to & ~mask, to)
      return
    }
  }
  yield [from, to]
}

function byteRanges(from: number, to: number): Node {
  const a = Buffer.from(String.fromCodePoint(from))
  const b = Buffer.from(String.fromCodePoint(to))
  return sequence(...Array.from(a, (byte, i) => symbolSet([[byte, b[i]!]], true)))
}

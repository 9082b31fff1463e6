/** Cuts a text into the pieces that byte-pair merging never crosses.
 *
 *  The definition (spec §15.1) is three successive splits by regular expressions. This is the same
 *  cut as one hand-written scan: linear also for one piece of a million letters or blanks, where a
 *  backtracking engine would be quadratic or give up, and several times faster. A test holds it
 *  equal to the three expressions, which read, with `u` flag and White_Space for blanks:
 *
 *    1. \p{N}{1,3}
 *    2. [一-龥぀-ゟ゠-ヿ]+
 *    3. [ASCII punctuation][A-Za-z]+ | [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
 *       |  ?[\p{P}\p{S}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 *
 *  The third looks at the pieces the first two left, so its look-ahead ends at their borders. */

const LETTER = 1
const MARK = 2
const NUMBER = 3
const PUNCTUATION = 4 // \p{P} and \p{S}
const BLANK = 5 // White_Space without the two below
const NEWLINE = 6 // \r \n
const OTHER = 7

/** Classes of all code points, filled when first met: asking the engine keeps the tables of
 *  Unicode out of this file, and untouched pages of this array cost nothing. */
const classes = new Uint8Array(0x110000)

const BY_CLASS: readonly (readonly [RegExp, number])[] = [
  [/\p{L}/u, LETTER],
  [/\p{M}/u, MARK],
  [/\p{N}/u, NUMBER],
  [/[\p{P}\p{S}]/u, PUNCTUATION],
  [/[\r\n]/u, NEWLINE],
  [/\p{White_Space}/u, BLANK],
]

function learn(codePoint: number): number {
  const char = String.fromCodePoint(codePoint)
  const found = BY_CLASS.find(([pattern]) => pattern.test(char))
  return (classes[codePoint] = found ? found[1] : OTHER)
}

const classOf = (codePoint: number): number => classes[codePoint] || learn(codePoint)

const isCjk = (c: number): boolean => (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff)

const isAsciiLetter = (c: number): boolean => (c >= 65 && c <= 90) || (c >= 97 && c <= 122)

/** The end of the run of letters and marks that starts at `from`. */
function wordEnd(text: string, from: number, end: number): number {
  let i = from
  while (i < end) {
    const c = text.codePointAt(i)!
    if (classOf(c) > MARK) return i
    i += c > 0xffff ? 2 : 1
  }
  return i
}

/** The end of `[\p{P}\p{S}]+[\r\n]*` at `from`, or `from` if there is none. */
function punctuationEnd(text: string, from: number, end: number): number {
  let i = from
  while (i < end) {
    const c = text.codePointAt(i)!
    if (classOf(c) !== PUNCTUATION) break
    i += c > 0xffff ? 2 : 1
  }
  if (i === from) return from
  while (i < end && classOf(text.charCodeAt(i)) === NEWLINE) i++
  return i
}

/** The end of a piece that starts with a blank or newline and has no word or punctuation in it. */
function blankEnd(text: string, from: number, end: number): number {
  let i = from
  let afterNewline = 0
  for (; i < end; i++) {
    const kind = classOf(text.charCodeAt(i))
    if (kind === NEWLINE) afterNewline = i + 1
    else if (kind !== BLANK) break
  }
  if (afterNewline > 0) return afterNewline // \s*[\r\n]+
  // \s+(?!\S): all of them at the end, else all but the last, which the next word may take.
  return i === end || i === from + 1 ? i : i - 1
}

/** The end of the match of the third expression at `from`, or `from` if nothing matches there. */
function matchEnd(text: string, from: number, end: number): number {
  const c = text.codePointAt(from)!
  const kind = classOf(c)
  if (kind <= MARK) return wordEnd(text, from, end)
  const next = from + (c > 0xffff ? 2 : 1)
  if (kind === PUNCTUATION) {
    if (c < 0x80 && next < end && isAsciiLetter(text.charCodeAt(next))) {
      let i = next + 1
      while (i < end && isAsciiLetter(text.charCodeAt(i))) i++
      return i
    }
    return punctuationEnd(text, from, end)
  }
  if (kind !== NEWLINE) {
    const word = wordEnd(text, next, end)
    if (word > next) return word
    if (c === 0x20) {
      const punctuation = punctuationEnd(text, next, end)
      if (punctuation > next) return punctuation
    }
  }
  return kind === BLANK || kind === NEWLINE ? blankEnd(text, from, end) : from
}

/** Applies the third expression to `text[from, end)`; what matches nowhere becomes a piece too. */
function splitSegment(text: string, from: number, end: number, cuts: number[]): void {
  let gap = from
  for (let i = from; i < end;) {
    const stop = matchEnd(text, i, end)
    if (stop === i) {
      i += text.codePointAt(i)! > 0xffff ? 2 : 1
      continue
    }
    if (gap < i) cuts.push(i)
    cuts.push(stop)
    gap = i = stop
  }
  if (gap < end) cuts.push(end)
}

/** Cuts a well-formed text; returns the end offset of every piece, ascending. */
export function pretokenize(text: string): number[] {
  const cuts: number[] = []
  let start = 0 // of the segment that has neither numbers nor a change of CJK
  let cjk = false
  for (let i = 0; i < text.length;) {
    const c = text.codePointAt(i)!
    const size = c > 0xffff ? 2 : 1
    if (classOf(c) === NUMBER) {
      if (start < i) splitSegment(text, start, i, cuts)
      i = start = numberEnd(text, i)
      cuts.push(i)
      continue
    }
    if (isCjk(c) !== cjk) {
      if (start < i) splitSegment(text, start, i, cuts)
      start = i
      cjk = !cjk
    }
    i += size
  }
  if (start < text.length) splitSegment(text, start, text.length, cuts)
  return cuts
}

/** The end of at most three numeric code points at `from`. */
function numberEnd(text: string, from: number): number {
  let i = from
  for (let n = 0; n < 3 && i < text.length; n++) {
    const c = text.codePointAt(i)!
    if (classOf(c) !== NUMBER) break
    i += c > 0xffff ? 2 : 1
  }
  return i
}

/** The tokens of a vocabulary as a tree of their symbols, and shortcuts through it: tokens that go on
 *  with a text whatever comes after it are known beforehand. */
import type { Tokenizer } from "../tokenizer/index.ts"
import { DSML_SYMBOL } from "./nodes.ts"
import { isPlain, tailOf } from "./text.ts"

/** A tree in arrays: children of a node follow each other from `first`. */
export interface TokenTree {
  /** Symbol that leads to a node. */
  readonly symbol: Uint16Array
  /** First child, and one past the last. */
  readonly first: Int32Array
  readonly last: Int32Array
  /** A token that ends at a node, or -1; others of the same symbols by `sameAs`. */
  readonly token: Int32Array
}

export interface GrammarVocabulary {
  readonly size: number
  /** Words of a mask. */
  readonly words: number
  readonly eosId: number | undefined
  readonly all: TokenTree
  /** Tokens that a JSON string cannot simply go on with. */
  readonly notInText: TokenTree
  /** Tokens with a `<`, and control tokens. */
  readonly notInUntil: TokenTree
  /** Bits of the other tokens by their number of characters: [n] has those of up to n. */
  readonly textOfLength: readonly Int32Array[]
  readonly untilMask: Int32Array
  /** Tokens of the same symbols as another: its id. */
  readonly sameAs: ReadonlyMap<number, number>
  /** Whether ｜DSML｜ is a token. */
  readonly hasDsml: boolean
  /** A character for each symbol. */
  symbols(id: number): string
}

const LONGEST_TEXT = 128

export function grammarVocabulary(tokenizer: Tokenizer): GrammarVocabulary {
  const size = tokenizer.vocabSize
  const words = Math.ceil(size / 32)
  const dsmlId = tokenizer.id("｜DSML｜")
  const hasDsml = dsmlId !== undefined && tokenizer.isControl(dsmlId)
  const symbols = (id: number): string => {
    if (hasDsml && id === dsmlId) return String.fromCharCode(DSML_SYMBOL)
    return tokenizer.isControl(id) ? "" : Buffer.from(tokenizer.decodeBytes(id)).toString("latin1")
  }
  const all = Array.from({ length: size }, (_, id) => symbols(id))
  const lengths = all.map(textLength)
  const untilMask = new Int32Array(words)
  const exact = Array.from({ length: LONGEST_TEXT + 1 }, () => new Int32Array(words))
  const [notInText, notInUntil]: [number[], number[]] = [[], []]
  for (let id = 0; id < size; id++) {
    const length = lengths[id]!
    if (length > 0 && length <= LONGEST_TEXT) setBit(exact[length]!, id)
    else notInText.push(id)
    if (/^[^<\u0100]+$/.test(all[id]!)) setBit(untilMask, id)
    else notInUntil.push(id)
  }
  for (let n = 1; n <= LONGEST_TEXT; n++)
    for (let w = 0; w < words; w++) exact[n]![w]! |= exact[n - 1]![w]!
  const sameAs = new Map<number, number>()
  const every = Array.from({ length: size }, (_, id) => id)
  return {
    size,
    words,
    eosId: tokenizer.eosId,
    all: tokenTree(every, all, sameAs),
    notInText: tokenTree(notInText, all),
    notInUntil: tokenTree(notInUntil, all),
    textOfLength: exact,
    untilMask,
    sameAs,
    hasDsml,
    symbols: (id) => all[id] ?? "",
  }
}

export function setBit(mask: Int32Array, id: number): void {
  mask[id >> 5]! |= 1 << (id & 31)
}

/** Characters of a token that are whole and need no escape in a JSON string; 0 if it is no such token. */
function textLength(symbols: string): number {
  let n = 0
  for (let i = 0; i < symbols.length; n++) {
    const lead = symbols.charCodeAt(i++)
    if (isPlain(lead)) continue
    if (!tailOf(lead)) return 0
    const more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1
    if (!isSecond(lead, symbols.charCodeAt(i))) return 0
    for (let k = 1; k < more; k++) if (!isSecond(0, symbols.charCodeAt(i + k))) return 0
    i += more
  }
  return n
}

/** Whether a byte may come second: neither too long a form nor half a surrogate pair nor too large. NaN,
 *  where there is none, may not. */
function isSecond(lead: number, byte: number): boolean {
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  return byte >= least && byte <= most
}

/** The tree of some tokens; tokens of the same symbols as an earlier one go into `sameAs`. */
function tokenTree(
  ids: readonly number[],
  symbols: readonly string[],
  sameAs?: Map<number, number>,
): TokenTree {
  const sorted = ids.filter((id) => symbols[id] !== "")
  sorted.sort((a, b) => (symbols[a]! < symbols[b]! ? -1 : symbols[a]! > symbols[b]! ? 1 : a - b))
  const [symbol, first, last, token]: [number[], number[], number[], number[]] = [[], [], [], []]
  const node = (s: number): number => {
    first.push(0)
    last.push(0)
    token.push(-1)
    return symbol.push(s) - 1
  }
  /** Gives the children of a node their places, then those of each child theirs. */
  const build = (at: number, from: number, to: number, depth: number): void => {
    while (from < to && symbols[sorted[from]!]!.length === depth) {
      const id = sorted[from++]!
      if (token[at]! < 0) token[at] = id
      else sameAs?.set(id, token[at]!)
    }
    const groups: [node: number, from: number, to: number][] = []
    first[at] = symbol.length
    while (from < to) {
      const s = symbols[sorted[from]!]!.charCodeAt(depth)
      let end = from
      while (end < to && symbols[sorted[end]!]!.charCodeAt(depth) === s) end++
      groups.push([node(s), from, end])
      from = end
    }
    last[at] = symbol.length
    for (const group of groups) build(...group, depth + 1)
  }
  node(0)
  build(0, 0, sorted.length, 0)
  return {
    symbol: Uint16Array.from(symbol),
    first: Int32Array.from(first),
    last: Int32Array.from(last),
    token: Int32Array.from(token),
  }
}

/** The vocabulary of a GGUF file in the form that encoding needs: every token as bytes in one array,
 *  and a hash table from a pair of token ids to the merge of the two.
 *
 *  It has to be ready before the first prompt, so 129,280 strings never become keys of a `Map`
 *  (0.3 s with the merges): they are hashed as bytes, and equal hashes are compared byte by byte. */

import { GgufError } from "../errors.ts"
import { ALPHABET_END, BYTE_OF_CHAR } from "./bytes.ts"

const NORMAL = 1
const CONTROL = 3
const USER_DEFINED = 4

const TOKENS = "tokenizer.ggml.tokens"
const TYPES = "tokenizer.ggml.token_type"
const MERGES = "tokenizer.ggml.merges"

const HASH_BASE = 0x01000193

/** The arrays of a GGUF file, as they stand there. */
export interface VocabularyArrays {
  tokens: readonly string[]
  /** `tokenizer.ggml.token_type`. Left out: tokens with a character outside the byte alphabet are
   *  control tokens and all others are text. */
  types?: ArrayLike<number> | undefined
  merges: readonly string[]
}

/** Which pairs merge, and to what: a hash table of ranks, the line of a merge in the file. */
export class MergeTable {
  readonly #ranks: Int32Array
  readonly #mask: number
  readonly #lefts: Int32Array
  readonly #rights: Int32Array
  readonly #merged: Int32Array

  constructor(nMerges: number) {
    const size = tableSize(nMerges)
    this.#ranks = new Int32Array(size).fill(-1)
    this.#mask = size - 1
    this.#lefts = new Int32Array(nMerges)
    this.#rights = new Int32Array(nMerges)
    this.#merged = new Int32Array(nMerges)
  }

  /** The place of a pair in the table, taken or free. */
  #place(left: number, right: number): number {
    let h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)
    h ^= h >>> 15
    for (let at = h & this.#mask; ; at = (at + 1) & this.#mask) {
      const rank = this.#ranks[at]!
      if (rank < 0 || (this.#lefts[rank] === left && this.#rights[rank] === right)) return at
    }
  }

  /** Adds a pair unless it is there: of a merge that is repeated the lowest rank counts. */
  add(left: number, right: number, rank: number, merged: number): void {
    const at = this.#place(left, right)
    if (this.#ranks[at]! >= 0) return
    this.#ranks[at] = rank
    this.#lefts[rank] = left
    this.#rights[rank] = right
    this.#merged[rank] = merged
  }

  /** The rank of a pair, -1 if the two do not merge. */
  rank(left: number, right: number): number {
    return this.#ranks[this.#place(left, right)]!
  }

  /** The token that the merge of this rank makes. */
  merged(rank: number): number {
    return this.#merged[rank]!
  }
}

/** A power of two that leaves a table of `n` entries at least half empty. */
const tableSize = (n: number): number => 2 ** Math.ceil(Math.log2(n * 2 + 2))

/** Text tokens by their bytes; only needed while the merges are read. A slot of the table is a hash
 *  and an id, so that a look-up seldom touches more memory than the slot and the token. */
class TokenIndex {
  readonly #slots: Int32Array
  readonly #mask: number
  readonly #isText: Uint8Array
  readonly #hashes: Int32Array
  readonly #bytes: Uint8Array
  readonly #starts: Int32Array

  constructor(hashes: Int32Array, bytes: Uint8Array, starts: Int32Array) {
    const size = tableSize(hashes.length)
    this.#slots = new Int32Array(2 * size).fill(-1)
    this.#mask = size - 1
    this.#isText = new Uint8Array(hashes.length)
    this.#hashes = hashes
    this.#bytes = bytes
    this.#starts = starts
  }

  /** Adds a token unless one that reads the same is there: the first of equals counts. */
  add(id: number): void {
    const hash = this.#hashes[id]!
    let at = this.#first(hash)
    for (; this.#slots[2 * at + 1]! >= 0; at = (at + 1) & this.#mask) {
      const from = this.#starts[id]!
      const same = this.#slots[2 * at] === hash
      const other = this.#slots[2 * at + 1]!
      if (same && this.#equals(other, this.#bytes, from, this.#starts[id + 1]!)) return
    }
    this.#slots[2 * at] = hash
    this.#slots[2 * at + 1] = id
    this.#isText[id] = 1
  }

  #first(hash: number): number {
    const mixed = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)
    return (mixed ^ (mixed >>> 13)) & this.#mask
  }

  /** The token that reads `bytes[from, to)`, or -1. */
  find(bytes: Uint8Array, from: number, to: number, hash: number): number {
    const slots = this.#slots
    for (let at = this.#first(hash); ; at = (at + 1) & this.#mask) {
      const id = slots[2 * at + 1]!
      if (id < 0 || (slots[2 * at] === hash && this.#equals(id, bytes, from, to))) return id
    }
  }

  /** Whether `id` is a text token that reads `bytes[from, to)`. */
  reads(id: number, bytes: Uint8Array, from: number, to: number, hash: number): boolean {
    return this.#hashes[id] === hash && this.#isText[id] === 1 && this.#equals(id, bytes, from, to)
  }

  #equals(id: number, bytes: Uint8Array, from: number, to: number): boolean {
    let at = this.#starts[id]!
    if (this.#starts[id + 1]! - at !== to - from) return false
    for (let i = from; i < to; i++) if (bytes[i] !== this.#bytes[at++]) return false
    return true
  }
}

/** See the head of the file. Ids are indices into the GGUF arrays. */
export class Vocabulary {
  readonly size: number
  readonly merges: MergeTable
  /** `byteIds[b]` is the text token of the single byte `b`, or -1. */
  readonly byteIds = new Int32Array(256).fill(-1)
  /** Added tokens (types 3 and 4) by their text. */
  readonly added = new Map<string, number>()
  readonly #tokens: readonly string[]
  readonly #bytes: Uint8Array
  readonly #starts: Int32Array
  readonly #addedIds = new Set<number>()

  /** @throws GgufError naming the key whose contents cannot be used. */
  constructor({ tokens, types, merges }: VocabularyArrays) {
    if (types !== undefined && types.length !== tokens.length) {
      throw new GgufError(
        `Cannot use "${TYPES}": it has ${types.length} entries, expected ${tokens.length}`,
      )
    }
    this.size = tokens.length
    this.#tokens = tokens
    const { bytes, starts, hashes, literal } = packTokens(tokens)
    this.#bytes = bytes
    this.#starts = starts
    const index = new TokenIndex(hashes, bytes, starts)
    for (let id = 0; id < this.size; id++) {
      const type = types === undefined ? (literal[id] ? CONTROL : NORMAL) : types[id]
      if (type === CONTROL || type === USER_DEFINED) {
        if (!this.added.has(tokens[id]!)) this.added.set(tokens[id]!, id)
        this.#addedIds.add(id)
      } else if (type === NORMAL && !literal[id]) {
        index.add(id)
        const start = starts[id]!
        const first = bytes[start]!
        if (starts[id + 1] === start + 1 && this.byteIds[first]! < 0) this.byteIds[first] = id
      }
    }
    this.added.delete("")
    this.merges = readMerges(merges, index)
  }

  isAdded(id: number): boolean {
    return this.#addedIds.has(id)
  }

  /** The token as the file writes it. */
  token(id: number): string | undefined {
    return this.#tokens[id]
  }

  /** The bytes a token stands for; a view, not to be written to. */
  bytesOf(id: number): Uint8Array {
    return this.#bytes.subarray(this.#starts[id], this.#starts[id + 1])
  }
}

/** All tokens as bytes, with a polynomial hash each. A token with a character outside the byte
 *  alphabet is `literal`: it stands for its own UTF-8. */
function packTokens(tokens: readonly string[]): {
  bytes: Uint8Array
  starts: Int32Array
  hashes: Int32Array
  literal: Uint8Array
} {
  const starts = new Int32Array(tokens.length + 1)
  const hashes = new Int32Array(tokens.length)
  const literal = new Uint8Array(tokens.length)
  const encoder = new TextEncoder()
  let bytes: Uint8Array = new Uint8Array(tokens.length * 8 + 64)
  let at = 0
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id]
    if (typeof token !== "string") {
      throw new GgufError(`Cannot use "${TOKENS}": entry ${id} is not a string`)
    }
    if (at + token.length * 3 > bytes.length) bytes = grown(bytes, at + token.length * 3)
    const hash = putAlphabet(bytes, at, token)
    if (hash === undefined) {
      literal[id] = 1
      at += encoder.encodeInto(token, bytes.subarray(at)).written
    } else {
      hashes[id] = hash
      at += token.length
    }
    starts[id + 1] = at
  }
  return { bytes: bytes.slice(0, at), starts, hashes, literal }
}

function grown(bytes: Uint8Array, need: number): Uint8Array {
  const larger = new Uint8Array(Math.max(need, bytes.length * 2))
  larger.set(bytes)
  return larger
}

/** Writes a token of the byte alphabet as bytes; returns its hash, or undefined if it is none. */
function putAlphabet(bytes: Uint8Array, at: number, token: string): number | undefined {
  let hash = 0
  for (let i = 0; i < token.length; i++) {
    const char = token.charCodeAt(i)
    const byte = char < ALPHABET_END ? BYTE_OF_CHAR[char]! : -1
    if (byte < 0) return undefined
    bytes[at + i] = byte
    hash = (Math.imul(hash, HASH_BASE) + byte + 1) | 0
  }
  return hash
}

function readMerges(merges: readonly string[], index: TokenIndex): MergeTable {
  const table = new MergeTable(merges.length)
  let bytes = new Uint8Array(256)
  let merged = -1
  for (let rank = 0; rank < merges.length; rank++) {
    const merge = merges[rank]
    if (typeof merge !== "string") throw badMerge(rank, "is not a string")
    if (merge.length > bytes.length) bytes = new Uint8Array(merge.length * 2)
    let n = 0
    let cut = 0
    let leftHash = 0
    let rightHash = 0
    let hash = 0
    for (let i = 0; i < merge.length; i++) {
      const char = merge.charCodeAt(i)
      if (char === 0x20) {
        if (cut > 0 || n === 0) throw badMerge(rank, `${quote(merge)} is not two tokens`)
        cut = n
        leftHash = hash
        rightHash = 0
        continue
      }
      const byte = char < ALPHABET_END ? BYTE_OF_CHAR[char]! : -1
      if (byte < 0) throw badMerge(rank, `${quote(merge)} is not in the byte alphabet`)
      bytes[n++] = byte
      hash = (Math.imul(hash, HASH_BASE) + byte + 1) | 0
      rightHash = (Math.imul(rightHash, HASH_BASE) + byte + 1) | 0
    }
    if (cut === 0 || cut === n) throw badMerge(rank, `${quote(merge)} has no space between tokens`)
    const left = index.find(bytes, 0, cut, leftHash)
    const right = index.find(bytes, cut, n, rightHash)
    // Vocabularies list what the merges make in the order of the merges.
    const guess = merged + 1
    merged = index.reads(guess, bytes, 0, n, hash) ? guess : index.find(bytes, 0, n, hash)
    if (left < 0 || right < 0 || merged < 0) {
      throw badMerge(rank, `${quote(merge)} joins or makes a token that "${TOKENS}" does not have`)
    }
    table.add(left, right, rank, merged)
  }
  return table
}

const quote = (merge: string): string => JSON.stringify(merge.slice(0, 80))

const badMerge = (rank: number, what: string): GgufError =>
  new GgufError(`Cannot use "${MERGES}": entry ${rank}, ${what}`)

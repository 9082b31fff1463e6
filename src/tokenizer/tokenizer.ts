import { Ds4Error, GgufError } from "../errors.ts"
import { putUtf8 } from "./bytes.ts"
import { mergePairs } from "./merge.ts"
import { pretokenize } from "./pretokenize.ts"
import { Vocabulary } from "./vocabulary.ts"
import type { VocabularyArrays } from "./vocabulary.ts"

export interface TokenizerOptions extends VocabularyArrays {
  /** `tokenizer.ggml.bos_token_id`; by default the token of DeepSeek's name for it. */
  bosId?: number | undefined
  /** `tokenizer.ggml.eos_token_id`; by default the token of DeepSeek's name for it. */
  eosId?: number | undefined
}

const BOS = "<｜begin▁of▁sentence｜>"
const EOS = "<｜end▁of▁sentence｜>"

/** Pieces longer than this are rare and not worth remembering. */
const CACHED_PIECE = 48
const CACHED_PIECES = 32_768

/** Text to token ids and back: byte-level BPE over the arrays of a GGUF file. Spec §15. */
export class Tokenizer {
  readonly bosId: number | undefined
  readonly eosId: number | undefined
  readonly #vocabulary: Vocabulary
  /** Ids of pieces met before. Two generations: when the young one is full, it replaces the old. */
  #young = new Map<string, readonly number[]>()
  #old = new Map<string, readonly number[]>()
  #longest = 0
  /** Lengths of the added tokens by their first code unit, longest first. */
  #addedLengths: Map<number, number[]> | undefined

  /** @throws GgufError naming the metadata key that cannot be used. */
  constructor({ bosId, eosId, ...arrays }: TokenizerOptions) {
    this.#vocabulary = new Vocabulary(arrays)
    this.bosId = this.#special("bos", bosId, BOS)
    this.eosId = this.#special("eos", eosId, EOS)
  }

  #special(name: string, id: number | undefined, text: string): number | undefined {
    if (id === undefined) return this.id(text)
    if (Number.isInteger(id) && id >= 0 && id < this.vocabSize) return id
    throw new GgufError(
      `Cannot use "tokenizer.ggml.${name}_token_id": it is ${id}, expected an id below ` +
        `${this.vocabSize}`,
    )
  }

  /** How many ids there are. */
  get vocabSize(): number {
    return this.#vocabulary.size
  }

  /** Most bytes of a text that one token can be. */
  get longestBytes(): number {
    if (this.#longest === 0)
      for (let id = 0; id < this.vocabSize; id++)
        this.#longest = Math.max(this.#longest, this.#vocabulary.bytesOf(id).length)
    return this.#longest
  }

  /** The id of an added token (control or user-defined) by its text. */
  id(text: string): number | undefined {
    return this.#vocabulary.added.get(text)
  }

  /** True for added tokens: control tokens and user-defined ones such as `<think>`. */
  isControl(id: number): boolean {
    return this.#vocabulary.isAdded(id)
  }

  /** A token as the file writes it: text tokens in the byte alphabet, added ones literally. */
  token(id: number): string {
    return this.#vocabulary.token(this.#known(id))!
  }

  /** Encodes text as text: whatever looks like a control token stays text. For everything that
   *  users, tools and files wrote. Lone surrogates become U+FFFD. Stops some time after `most` tokens: a
   *  caller that has room for no more need not wait for them. */
  encode(text: string, most = Infinity): number[] {
    const ids: number[] = []
    this.#encodeInto(ids, text, most)
    return ids
  }

  /** Encodes text in which added tokens are meant: they are found first, leftmost and longest.
   *  Only for text whose every character is trusted. */
  encodeSpecial(text: string): number[] {
    const lengths = (this.#addedLengths ??= addedLengths(this.#vocabulary.added))
    const ids: number[] = []
    let start = 0
    for (let i = 0; i < text.length;) {
      const id = this.#addedAt(text, i, lengths)
      if (id === undefined) {
        i++
        continue
      }
      this.#encodeInto(ids, text.slice(start, i))
      ids.push(id)
      start = i += this.#vocabulary.token(id)!.length
    }
    this.#encodeInto(ids, text.slice(start))
    return ids
  }

  #addedAt(text: string, at: number, lengths: Map<number, number[]>): number | undefined {
    for (const length of lengths.get(text.charCodeAt(at)) ?? []) {
      const id = this.#vocabulary.added.get(text.slice(at, at + length))
      if (id !== undefined) return id
    }
    return undefined
  }

  /** Encodes a rendered prompt: numbers are ids and stay, strings are plain text. Adjacent strings
   *  are joined first, because a piece may reach over their border. `most` as in encode(). */
  encodeSpans(spans: Iterable<number | string>, most = Infinity): number[] {
    const ids: number[] = []
    let text = ""
    for (const span of spans) {
      if (typeof span === "string") {
        text += span
        continue
      }
      this.#encodeInto(ids, text, most)
      text = ""
      ids.push(this.#known(span))
    }
    this.#encodeInto(ids, text, most)
    return ids
  }

  #encodeInto(ids: number[], text: string, most = Infinity): void {
    if (text === "" || ids.length > most) return
    // Of a text that cannot fit, only a part that cannot fit either is looked at.
    const length = most === Infinity ? Infinity : (most + 2) * this.longestBytes
    const part = text.length > length ? text.slice(0, length) : text
    const whole = part.isWellFormed() ? part : part.toWellFormed()
    let start = 0
    for (const end of pretokenize(whole)) {
      if (ids.length > most) return
      const piece = whole.slice(start, end)
      start = end
      if (piece.length > CACHED_PIECE) {
        for (const id of this.#mergePiece(piece)) ids.push(id)
        continue
      }
      let found = this.#young.get(piece)
      if (found === undefined) {
        found = this.#old.get(piece) ?? this.#mergePiece(piece)
        this.#remember(piece, found)
      }
      for (let i = 0; i < found.length; i++) ids.push(found[i]!)
    }
  }

  #remember(piece: string, ids: readonly number[]): void {
    if (this.#young.size >= CACHED_PIECES) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(piece, ids)
  }

  /** A token that equals the whole piece is no short cut: whether its own merges lead to it depends
   *  on the vocabulary, and the cache makes the difference in time small. */
  #mergePiece(piece: string): number[] {
    const ids: number[] = []
    let n = 0
    for (let i = 0; i < piece.length; i++) {
      const c = piece.codePointAt(i)!
      n = putUtf8(ids, n, c)
      if (c > 0xffff) i++
    }
    const { byteIds, merges } = this.#vocabulary
    for (let i = 0; i < n; i++) {
      const id = byteIds[ids[i]!]!
      if (id < 0) {
        throw new GgufError(
          `Cannot encode ${JSON.stringify(piece.slice(0, 40))}: "tokenizer.ggml.tokens" has no ` +
            `token for byte ${ids[i]}`,
        )
      }
      ids[i] = id
    }
    mergePairs(ids, merges)
    return ids
  }

  #known(id: number): number {
    if (Number.isInteger(id) && id >= 0 && id < this.vocabSize) return id
    throw new Ds4Error(`Cannot use token id ${id}: ids run from 0 to ${this.vocabSize - 1}`)
  }

  /** The bytes one token stands for (a view), those of its literal text for an added token. */
  decodeBytes(id: number): Uint8Array {
    return this.#vocabulary.bytesOf(this.#known(id))
  }

  /** The text of all tokens, with the literal text of added ones. Bytes that are no UTF-8 become
   *  U+FFFD. */
  decode(ids: Iterable<number>): string {
    const parts = Array.from(ids, (id) => this.decodeBytes(id))
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      bytes.set(part, at)
      at += part.length
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
  }
}

function addedLengths(added: Map<string, number>): Map<number, number[]> {
  const byFirst = new Map<number, Set<number>>()
  for (const text of added.keys()) {
    const first = text.charCodeAt(0)
    byFirst.set(first, (byFirst.get(first) ?? new Set()).add(text.length))
  }
  return new Map(Array.from(byFirst, ([first, set]) => [first, [...set].sort((a, b) => b - a)]))
}

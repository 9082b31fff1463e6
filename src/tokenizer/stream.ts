import type { Tokenizer } from "./tokenizer.ts"

const NOTHING = new Uint8Array(0)

/** Turns tokens into text one by one. A character whose bytes are spread over several tokens comes
 *  out with the last of them; at most three bytes are ever held back. The parts join to what
 *  `Tokenizer.decode` makes of all ids. */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer
  readonly #skipControl: boolean
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true })
  #held: Uint8Array = NOTHING

  /** @param options.skipControl added tokens give no text, as in what clients see. */
  constructor(tokenizer: Tokenizer, options: { skipControl?: boolean } = {}) {
    this.#tokenizer = tokenizer
    this.#skipControl = options.skipControl ?? false
  }

  /** The text that one more token completes, often empty for part of a character. */
  push(id: number): string {
    if (this.#skipControl && this.#tokenizer.isControl(id)) return ""
    const bytes = join(this.#held, this.#tokenizer.decodeBytes(id))
    const end = bytes.length - unfinished(bytes)
    this.#held = bytes.slice(end)
    return this.#utf8.decode(bytes.subarray(0, end))
  }

  /** What is still held back, as U+FFFD; the decoder is as new afterwards. */
  flush(): string {
    const held = this.#held
    this.#held = NOTHING
    return this.#utf8.decode(held)
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

/** How many bytes at the end may be the beginning of a character: 0 to 3. */
function unfinished(bytes: Uint8Array): number {
  for (let n = 1; n <= 3 && n <= bytes.length; n++) {
    const byte = bytes[bytes.length - n]!
    if (byte < 0x80) return 0
    if (byte < 0xc0) continue // a continuation byte: its first byte lies further back
    if (byte < 0xc2 || byte > 0xf4) return 0 // never the first of a character
    const size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    return size > n ? n : 0
  }
  return 0
}

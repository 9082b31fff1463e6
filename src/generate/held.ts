/** What an answer is held to as it goes: reasoning of a certain length, and after it a form. */
import type { Matcher } from "../grammar/index.ts"
import type { TokenMask } from "../session/candidates.ts"
import type { Tokenizer } from "../tokenizer/index.ts"

export interface Holds {
  /** Whether the output begins inside the reasoning. */
  thinking: boolean
  /** Tokens of reasoning at most. */
  maxThinking: number
  /** The form of what follows, at its beginning. */
  matcher: Matcher | null
  /** Whether there may be no answer after the reasoning. */
  mayEnd: boolean
}

export class Held {
  readonly #matcher: Matcher | null
  readonly #endThink: number | undefined
  readonly #goOn: TokenMask
  readonly #close: TokenMask
  #thinkingLeft: number
  #isThinking: boolean

  constructor(tokenizer: Tokenizer, { thinking, maxThinking, matcher, mayEnd }: Holds) {
    this.#matcher = matcher
    this.#endThink = tokenizer.id("</think>")
    this.#isThinking = thinking && this.#endThink !== undefined
    this.#thinkingLeft = maxThinking
    const isEnd = (id: number) => id === this.#endThink
    const isFree = (id: number) => isEnd(id) || !tokenizer.isControl(id)
    const isBounded = this.#isThinking && maxThinking < Infinity
    this.#close = isBounded ? maskOf(tokenizer, isEnd) : null
    this.#goOn = this.#isThinking && !mayEnd ? maskOf(tokenizer, isFree) : null
  }

  /** What the next token may be. A form that must come is not missed by an end within the reasoning. */
  get mask(): TokenMask {
    if (!this.#isThinking) return this.#matcher?.mask() ?? null
    return this.#thinkingLeft <= 0 ? this.#close : this.#goOn
  }

  get isSyntax(): boolean {
    return !this.#isThinking && this.#matcher !== null && this.#matcher.isSyntax
  }

  push(id: number): void {
    if (!this.#isThinking) this.#matcher?.push(id)
    else if (id === this.#endThink) this.#isThinking = false
    else this.#thinkingLeft--
  }
}

function maskOf(tokenizer: Tokenizer, allows: (id: number) => boolean): Int32Array {
  const mask = new Int32Array(Math.ceil(tokenizer.vocabSize / 32))
  for (let id = 0; id < tokenizer.vocabSize; id++) if (allows(id)) mask[id >> 5]! |= 1 << (id & 31)
  return mask
}

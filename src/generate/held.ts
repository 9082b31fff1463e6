/** A constraint in the course of an answer: reasoning is free, what follows it is held to the form. */
import type { Constraint, Grammars, Matcher } from "../grammar/index.ts"
import type { TokenMask } from "../session/candidates.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import type { GenerateRequest } from "./types.ts"

export class Held {
  readonly #matcher: Matcher
  readonly #endThink: number | undefined
  readonly #thinkingMask: TokenMask
  #isThinking: boolean

  /** @throws SchemaError */
  constructor(
    tokenizer: Tokenizer,
    grammars: Grammars,
    constraint: Constraint,
    format: GenerateRequest["format"],
  ) {
    this.#matcher = grammars.matcher(constraint)
    this.#endThink = tokenizer.id("</think>")
    this.#isThinking = format === "thinking" && this.#endThink !== undefined
    const mayEnd = constraint.kind === "calls" && !constraint.forced
    this.#thinkingMask = mayEnd ? null : goOn(tokenizer)
  }

  get mask(): TokenMask {
    return this.#isThinking ? this.#thinkingMask : this.#matcher.mask()
  }

  get isSyntax(): boolean {
    return !this.#isThinking && this.#matcher.isSyntax
  }

  push(id: number): void {
    if (!this.#isThinking) this.#matcher.push(id)
    else if (id === this.#endThink) this.#isThinking = false
  }
}

/** Everything but control tokens, and </think>: reasoning before a form that must come does not end the
 *  answer. */
function goOn(tokenizer: Tokenizer): Int32Array {
  const mask = new Int32Array(Math.ceil(tokenizer.vocabSize / 32))
  for (let id = 0; id < tokenizer.vocabSize; id++)
    if (!tokenizer.isControl(id) || id === tokenizer.id("</think>"))
      mask[id >> 5]! |= 1 << (id & 31)
  return mask
}

/** A conversation with the model: messages, how to think, and the request that asks for an answer. */
import { encodePrompt, type Message, render } from "../chat/index.ts"
import type { EngineClient, Running } from "../engine/client.ts"
import { ContextError } from "../errors.ts"
import type { GenerateRequest } from "../generate/types.ts"
import type { Tokenizer } from "../tokenizer/index.ts"

export type ThinkMode = "none" | "think" | "max"

export interface ConversationOptions {
  mode: ThinkMode
  system: string | undefined
  encoder: "v4" | "v4-0731"
  maxTokens: number | undefined
  sampling: NonNullable<GenerateRequest["sampling"]>
  stop: string | undefined
}

export class Conversation {
  mode: ThinkMode
  messages: Message[] = []
  readonly #client: EngineClient
  readonly #tokenizer: Tokenizer
  readonly #options: ConversationOptions

  constructor(client: EngineClient, tokenizer: Tokenizer, options: ConversationOptions) {
    this.#client = client
    this.#tokenizer = tokenizer
    this.#options = options
    this.mode = options.mode
    if (options.system) this.messages.push({ role: "system", content: options.system })
  }

  /** Adds a user's message and asks for the answer. @throws ContextError when the whole does not fit;
   *  the message is not added then. */
  ask(text: string): Running {
    this.messages.push({ role: "user", content: text })
    try {
      return this.answer()
    } catch (error) {
      this.messages.pop()
      throw error
    }
  }

  /** Asks for an answer to the messages as they are. */
  answer(): Running {
    const ids = this.promptIds()
    const { context } = this.#client.info
    if (ids.length >= context)
      throw new ContextError(
        `The conversation has ${ids.length} tokens, the context ${context}: start anew or use --ctx`,
      )
    const { maxTokens, sampling, stop } = this.#options
    return this.#client.generate({
      ids,
      format: this.mode === "none" ? "answer" : "thinking",
      maxTokens: Math.min(maxTokens ?? context, context - ids.length),
      sampling,
      ...(stop !== undefined && { stop: [stop] }),
      marks: this.#turnStarts(ids),
    })
  }

  /** Takes up an answer of the model. */
  add(text: string, thinking: string): void {
    this.messages.push({ role: "assistant", content: text, reasoning_content: thinking })
  }

  /** Takes the last answer back, and the question with it if `question`; returns the question. */
  takeBack(): string | undefined {
    while (this.messages.at(-1)?.role === "assistant") this.messages.pop()
    const last = this.messages.at(-1)
    if (last?.role !== "user") return undefined
    this.messages.pop()
    return String(last.content)
  }

  promptIds(): number[] {
    const spans = render(
      { messages: this.messages },
      {
        thinking: this.mode !== "none",
        effort: this.mode === "max" ? "max" : null,
        encoder: this.#options.encoder,
        openAssistant: true,
      },
    )
    return encodePrompt(this.#tokenizer, spans)
  }

  #turnStarts(ids: readonly number[]): number[] {
    const user = this.#tokenizer.id("<｜User｜>")
    return ids.flatMap((id, i) => (id === user ? [i] : []))
  }
}

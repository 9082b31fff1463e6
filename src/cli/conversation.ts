/** A conversation with the model: messages, how to think, and the requests that ask for answers. Every
 *  request is the whole conversation; the engine reuses what it holds of it. */
import { encodePrompt, type Encoder, type Message, render } from "../chat/index.ts"
import { ContextError } from "../errors.ts"
import type { GenerateRequest } from "../generate/types.ts"
import type { ChatEngine } from "./engine.ts"

export type ThinkMode = "off" | "on" | "max"

export interface ConversationOptions {
  think: ThinkMode
  system?: string | undefined
  encoder: Encoder
  maxTokens?: number | undefined
  sampling: NonNullable<GenerateRequest["sampling"]>
  stop: string[]
}

export class Conversation {
  think: ThinkMode
  messages: Message[] = []
  readonly engine: ChatEngine
  readonly #options: ConversationOptions

  constructor(engine: ChatEngine, options: ConversationOptions) {
    this.engine = engine
    this.#options = options
    this.think = options.think
    this.clear()
  }

  /** Begins anew: only the system text stays. */
  clear(): void {
    const { system } = this.#options
    this.messages = system ? [{ role: "system", content: system }] : []
  }

  /** The request that asks for an answer to the messages and one more of the user.
   *  @throws ContextError with both lengths when it does not fit. */
  request(question: string): GenerateRequest {
    const ids = this.promptIds([...this.messages, { role: "user", content: question }])
    const { context } = this.engine.info
    if (ids.length >= context)
      throw new ContextError(
        `Cannot ask: the conversation has ${ids.length} tokens, the context holds ${context} ` +
          "(--ctx N; in a conversation /ctx N, or /new)",
      )
    const { maxTokens = Infinity, sampling, stop } = this.#options
    return {
      ids,
      format: this.think === "off" ? "answer" : "thinking",
      maxTokens: Math.min(maxTokens, context - ids.length),
      sampling,
      stop,
    }
  }

  /** Takes up a question and its answer. */
  add(question: string, answer: Message): void {
    this.messages.push({ role: "user", content: question }, answer)
  }

  /** Takes the last question and its answer back; returns the question. */
  takeBack(): string | undefined {
    const at = this.messages.findLastIndex(({ role }) => role === "user")
    if (at < 0) return undefined
    const [question] = this.messages.splice(at)
    return String(question!.content)
  }

  /** The prompt for a list of messages. @throws RenderError when they cannot be rendered. */
  promptIds(messages: readonly Message[] = this.messages): number[] {
    const spans = render(
      { messages },
      {
        thinking: this.think !== "off",
        effort: this.think === "max" ? "max" : null,
        encoder: this.#options.encoder,
        openAssistant: true,
      },
    )
    return encodePrompt(this.engine.tokenizer, spans)
  }
}

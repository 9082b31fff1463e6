/** Printing an answer as it comes: reasoning dimmed and markdown rendered on a terminal, and exactly the
 *  model's text everywhere else. */
import type { OutputCall } from "../chat/index.ts"
import type { GenerateEnd, GenerateEvent, Usage } from "../generate/types.ts"
import { figure, prefillText } from "./estimate.ts"
import { type Io, ProgressLine } from "./io.ts"
import { MarkdownWriter } from "./markdown.ts"
import { Scrubber } from "./scrub.ts"

/** An answer as a whole. */
export interface Answer {
  text: string
  reasoning: string
  calls: OutputCall[]
  end: GenerateEnd | undefined
}

/** Prompts with less to read than this show no progress. */
const PROGRESS_TOKENS = 256

export class AnswerPrinter {
  readonly answer: Answer = { text: "", reasoning: "", calls: [], end: undefined }
  readonly #io: Io
  readonly #isSilent: boolean
  readonly #progress: ProgressLine
  readonly #scrubber = new Scrubber()
  readonly #started = performance.now()
  readonly #markdown: MarkdownWriter
  /** What the terminal was last given; it decides where the next thing begins. */
  #mode: "nothing" | "reasoning" | "text" | "call" = "nothing"
  #nTokens = 0

  /** @param isSilent shows progress only, as for JSON output. */
  constructor(io: Io, isSilent = false) {
    this.#io = io
    this.#isSilent = isSilent
    this.#progress = new ProgressLine(io)
    this.#markdown = new MarkdownWriter(io)
  }

  show(event: GenerateEvent): void {
    const { answer } = this
    switch (event.type) {
      case "prefill":
        return this.#showPrefill(event)
      case "token":
        return this.#showCount()
      case "thinking":
        answer.reasoning += event.text
        return this.#showReasoning(event.text)
      case "text":
        answer.text += event.text
        return this.#showText(event.text)
      case "call_start":
        answer.calls.push({ type: "function", function: { name: event.name, arguments: "" } })
        return this.#showCall(`${event.name} `)
      case "call_arguments":
        answer.calls.at(-1)!.function.arguments += event.text
        return this.#showCall(event.text)
      case "end":
        answer.end = event
        return this.#finish()
    }
  }

  #showPrefill(event: { done: number; total: number; cached: number }): void {
    if (event.total - event.cached < PROGRESS_TOKENS || event.done >= event.total) return
    this.#progress.show(prefillText(event, performance.now() - this.#started))
  }

  /** Where the reasoning cannot be seen, its length can. */
  #showCount(): void {
    this.#nTokens++
    if (this.#io.outTTY && !this.#isSilent) return
    this.#progress.show(`${this.#nTokens} tokens`)
  }

  #showReasoning(text: string): void {
    if (this.#isSilent || !this.#io.outTTY) return
    this.#begin("reasoning")
    this.#io.out(this.#io.colors.dim(this.#scrubber.push(text)))
  }

  #showText(text: string): void {
    if (this.#isSilent) return
    this.#progress.clear()
    if (!this.#io.outTTY) return this.#io.out(text)
    this.#begin("text")
    const clean = this.#scrubber.push(text)
    if (this.#io.movesCursor) this.#markdown.push(clean)
    else this.#io.out(clean)
  }

  #showCall(text: string): void {
    if (this.#isSilent) return
    this.#progress.clear()
    if (!this.#io.outTTY) return this.#io.out(text)
    this.#begin("call")
    this.#io.out(this.#io.colors.cyan(this.#scrubber.push(text)))
  }

  /** Ends what was written before when something else begins. */
  #begin(mode: "nothing" | "reasoning" | "text" | "call"): void {
    const before = this.#mode
    if (before === mode) return
    if (before === "nothing") this.#progress.clear()
    const rest = this.#scrubber.end()
    if (before === "text" && this.#io.movesCursor) this.#markdown.end()
    else if (before !== "nothing") this.#io.out(`${rest}\n`)
    if (before !== "nothing" && mode !== "nothing") this.#io.out("\n")
    this.#mode = mode
  }

  #finish(): void {
    this.#progress.clear()
    if (this.#io.outTTY && !this.#isSilent) this.#begin("nothing")
  }
}

/** Speed of an answer: `20 tokens read (8 cached), first token after 0.21 s, 45 written at 31.2 tokens/s`. */
export function statsLine({ usage, timings }: GenerateEnd): string {
  const { promptTokens, cachedTokens, completionTokens } = usage
  const cached = cachedTokens > 0 ? ` (${cachedTokens} cached)` : ""
  const read = `${promptTokens} tokens read${cached}`
  if (completionTokens === 0) return read
  const rate = timings.decodeMs > 0 ? (1000 * (completionTokens - 1)) / timings.decodeMs : 0
  const first = `first token after ${(timings.firstTokenMs / 1000).toFixed(2)} s`
  const speed = rate > 0 ? ` at ${figure(rate)} tokens/s` : ""
  return `${read}, ${first}, ${completionTokens} written${speed}`
}

/** Why an answer ended before its end, for people; undefined when the model ended it. */
export function cutNotice(end: GenerateEnd, context: number): string | undefined {
  if (end.reason === "abort") return "Stopped."
  if (end.reason !== "length") return undefined
  const { promptTokens, completionTokens } = end.usage
  const isFull = promptTokens + completionTokens >= context
  return isFull
    ? `The context of ${context} tokens is full (--ctx).`
    : `Cut after ${completionTokens} tokens (-n).`
}

/** Token counts under the names that servers use. */
export function jsonUsage(usage: Usage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  }
}

/** Printing an answer as it comes: thinking dimmed, markdown rendered block by block on a terminal, and
 *  exactly the model's text everywhere else. */
import type { GenerateEnd, GenerateEvent } from "../generate/types.ts"
import { type Io, ProgressLine } from "./io.ts"
import { scrub } from "./scrub.ts"

export interface Answer {
  text: string
  thinking: string
  calls: { name: string; arguments: string }[]
  end: GenerateEnd | undefined
}

export class AnswerPrinter {
  readonly #io: Io
  readonly #silent: boolean
  readonly #progress: ProgressLine
  readonly #answer: Answer = { text: "", thinking: "", calls: [], end: undefined }
  readonly #start = performance.now()
  #pending = ""
  #last = ""

  constructor(io: Io, options: { silent?: boolean } = {}) {
    this.#io = io
    this.#silent = options.silent ?? false
    this.#progress = new ProgressLine(io)
  }

  show(event: GenerateEvent): void {
    switch (event.type) {
      case "prefill":
        return this.#showPrefill(event.done, event.total, event.cached)
      case "thinking":
        this.#answer.thinking += event.text
        if (this.#io.outTTY) this.#write(this.#io.colors.dim(scrub(event.text)))
        return
      case "text":
        return this.#showText(event.text)
      case "call_start":
        this.#answer.calls.push({ name: event.name, arguments: "" })
        return this.#showText("", `\n[calls ${event.name}] `)
      case "call_arguments":
        this.#answer.calls[event.index]!.arguments += event.text
        return this.#showText("", event.text)
      case "end":
        this.#answer.end = event
    }
  }

  /** Prints what is held back, ends the line, and returns the whole answer. */
  finish(): Answer {
    this.#progress.clear()
    this.#flush(true)
    if (this.#last !== "" && !this.#last.endsWith("\n")) this.#write("\n")
    return this.#answer
  }

  #showText(text: string, aside = ""): void {
    if (text !== "" && this.#answer.text === "" && this.#answer.thinking !== "" && this.#io.outTTY)
      this.#write("\n\n")
    this.#answer.text += text
    if (!this.#io.outTTY) return this.#write(scrub(text + aside))
    this.#pending += text + aside
    this.#flush(false)
  }

  /** Renders the blocks that are complete: up to the last empty line outside a code fence. */
  #flush(all: boolean): void {
    if (!this.#io.outTTY) return
    const end = all ? this.#pending.length : lastBlockEnd(this.#pending)
    if (end === 0) return
    const block = scrub(this.#pending.slice(0, end))
    this.#pending = this.#pending.slice(end)
    this.#write(renderMarkdown(block))
  }

  #write(text: string): void {
    if (text === "" || this.#silent) return
    this.#progress.clear()
    this.#last = text
    this.#io.out(text)
  }

  #showPrefill(done: number, total: number, cached: number): void {
    if (total - cached < 256 || done >= total) return this.#progress.clear()
    const rate = (done - cached) / ((performance.now() - this.#start) / 1000)
    const left = done > cached ? `, ${Math.ceil((total - done) / rate)} s left` : ""
    this.#progress.show(`reading ${done} of ${total} tokens (${rate.toFixed(0)} tokens/s${left})`)
  }
}

/** Where the last complete block ends: after an empty line that is in no code fence. */
function lastBlockEnd(text: string): number {
  let fenced = false
  let end = 0
  let at = 0
  for (const line of text.split("\n").slice(0, -1)) {
    at += line.length + 1
    if (line.trimStart().startsWith("```")) fenced = !fenced
    if (!fenced && line.trim() === "") end = at
  }
  return end
}

function renderMarkdown(block: string): string {
  if (block.trim() === "") return block
  const markdown = (Bun as unknown as { markdown?: { ansi?(text: string): string } }).markdown
  return markdown?.ansi ? markdown.ansi(block) : block
}

/** Speed of an answer, for people. */
export function statsLine({ usage, timings }: GenerateEnd): string {
  const decoded = usage.completionTokens - 1
  const rate = timings.decodeMs > 0 ? (1000 * decoded) / timings.decodeMs : 0
  const cached = usage.cachedTokens > 0 ? ` (${usage.cachedTokens} cached)` : ""
  return (
    `${usage.promptTokens} tokens read${cached}, first token after ` +
    `${(timings.firstTokenMs / 1000).toFixed(2)} s, ${usage.completionTokens} written` +
    (rate > 0 ? ` at ${rate.toFixed(1)} tokens/s` : "")
  )
}

import { RenderError } from "./types.ts"
import type { Exact, Span } from "./types.ts"

/** Control tokens inside the protocol's own texts. */
const MARKUP = /(｜DSML｜|<think>|<\/think>)/

/** Collects a prompt. Texts that touch are joined, since the tokenizer must see them as one. */
export class SpanList {
  readonly spans: Span[] = []

  /** Text of any origin: it stays text. */
  text(text: string): void {
    if (text === "") return
    const last = this.spans.at(-1)
    if (typeof last === "string") this.spans[this.spans.length - 1] = last + text
    else this.spans.push(text)
  }

  control(name: string): void {
    this.spans.push({ control: name })
  }

  /** What the model said. */
  exact(said: Exact): void {
    this.spans.push(said)
  }

  /** Text of ours, in which control tokens are meant. */
  markup(text: string): void {
    text.split(MARKUP).forEach((part, i) => (i % 2 === 1 ? this.control(part) : this.text(part)))
  }
}

/** A prompt as one text, control tokens by their names. */
export function spansToText(spans: readonly Span[]): string {
  const textOf = (span: Exclude<Span, string>) => ("control" in span ? span.control : span.text)
  return spans.map((span) => (typeof span === "string" ? span : textOf(span))).join("")
}

/** What a prompt needs of a tokenizer; `Tokenizer` of src/tokenizer has it. */
export interface SpanEncoder {
  id(control: string): number | undefined
  encodeSpans(spans: Iterable<number | string>, most?: number): number[]
}

/** The token ids of a prompt; not all of them if there are more than `most`.
 *  @throws RenderError `unknown_control_token` if the vocabulary lacks one that the prompt needs. */
export function encodePrompt(
  tokenizer: SpanEncoder,
  spans: readonly Span[],
  most?: number,
): number[] {
  return tokenizer.encodeSpans(
    spans.flatMap((span) => {
      if (typeof span === "string") return span
      if ("ids" in span) return span.ids
      const id = tokenizer.id(span.control)
      if (id !== undefined) return id
      throw new RenderError(
        "unknown_control_token",
        `Cannot encode the prompt: the vocabulary has no token ${span.control}`,
      )
    }),
    most,
  )
}

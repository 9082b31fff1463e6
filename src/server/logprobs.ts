/** Log-probabilities as OpenAI's APIs have them. */
import type { ShownToken } from "../generate/types.ts"
import type { Tokenizer } from "../tokenizer/index.ts"

/** Alternatives beside a token at most. */
export const MOST_LOGPROBS = 20

export type LogprobsOf = (tokens: readonly ShownToken[]) => object

/** `logprobs` of a chat choice; the bytes of its tokens join to the content. */
export function logprobsIn(tokenizer: Tokenizer): LogprobsOf {
  return (tokens) => ({ content: contentLogprobs(tokenizer, tokens), refusal: null })
}

export function contentLogprobs(tokenizer: Tokenizer, tokens: readonly ShownToken[]): object[] {
  const entry = (bytes: Uint8Array, logprob: number) => ({
    token: Buffer.from(bytes).toString(),
    logprob,
    bytes: [...bytes],
  })
  return tokens.map(({ bytes, logprob, top }) => ({
    ...entry(bytes, logprob),
    top_logprobs: top.map(([id, value]) => entry(tokenizer.decodeBytes(id), value)),
  }))
}

/** `logprobs` of a text completion. */
export function completionLogprobs(tokenizer: Tokenizer, tokens: readonly ShownToken[]): object {
  let at = 0
  const texts = tokens.map(({ bytes }) => Buffer.from(bytes).toString())
  return {
    tokens: texts,
    token_logprobs: tokens.map((t) => t.logprob),
    top_logprobs: tokens.map((t) =>
      Object.fromEntries(t.top.map(([id, value]) => [tokenizer.decode([id]), value])),
    ),
    text_offset: texts.map((text) => (at += text.length) - text.length),
  }
}

/** Requests and events of generation. Plain data: they cross to the engine's Worker as messages. */
import type { ChatEvent } from "../chat/types.ts"
import type { Constraint } from "../grammar/index.ts"
import type { Reuse } from "../session/reuse.ts"
import type { SamplingParams } from "../session/sampler.ts"

export interface GenerateRequest {
  /** The prompt, rendered and encoded. */
  ids: number[]
  /** How to read the output: as text, or by the chat protocol, beginning inside the reasoning
   *  (`<think>` was the prompt's end) or after it. */
  format: "raw" | "thinking" | "answer"
  maxTokens: number
  sampling?: Partial<SamplingParams>
  /** What the answer is held to; reasoning before it is free. */
  constraint?: Constraint
  /** Wanted with visible text: its tokens, each with so many of the likeliest in its place, and their
   *  log-probabilities. */
  logprobs?: number
  /** Tokens of reasoning at most; it is closed then. */
  maxThinking?: number
  /** End with "length" when the same 64 tokens come three times in a row. */
  cutLoops?: boolean
  /** Ids and what is added to their logits. */
  logitBias?: [id: number, bias: number][]
  /** Texts that end the output and do not appear in it; looked for in visible text only. */
  stop?: string[]
  /** Positions of the prompt where a later request is likely to branch off: turn starts. */
  marks?: number[]
}

/** An id and the logarithm of its probability among all that were allowed. */
export type TokenLogprob = [id: number, logprob: number]

/** A token of visible text. */
export interface ShownToken {
  id: number
  /** All bytes of all tokens join to the text: a stop string may have cut the last. */
  bytes: Uint8Array
  logprob: number
  /** The likeliest in its place, likeliest first. */
  top: TokenLogprob[]
}

/** stop: the model ended, or a stop string was met; tool_calls: it ended with calls; length: no more
 *  tokens or no more context; abort: the caller's wish, or an error. */
export type FinishReason = "stop" | "tool_calls" | "length" | "abort"

export interface Usage {
  promptTokens: number
  /** Prompt tokens that were not computed because an earlier request had left them. */
  cachedTokens: number
  completionTokens: number
  /** Of them, those of the reasoning and what closes it. */
  reasoningTokens: number
}

export interface Timings {
  /** From the request to the end of its prompt. */
  prefillMs: number
  /** From the request to the first token. */
  firstTokenMs: number
  /** From the first token to the last. */
  decodeMs: number
}

export interface GenerateEnd {
  type: "end"
  reason: FinishReason
  /** All generated ids, the end token included. */
  ids: number[]
  /** Their text without the end token, reasoning and markup included. */
  text: string
  usage: Usage
  timings: Timings
  /** The same tokens came again and again, so it was cut. */
  isLoop?: true
  error?: { name: string; message: string }
}

export type GenerateEvent =
  /** The first one, before anything is computed, says how `cached` came about. */
  | { type: "prefill"; done: number; total: number; cached: number; reuse?: Reuse }
  /** One token was chosen; its text may come later, with others. */
  | { type: "token"; id: number }
  | { type: "text"; text: string; tokens?: ShownToken[] }
  | Exclude<ChatEvent, { type: "done" | "text" }>
  | GenerateEnd

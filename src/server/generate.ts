/** From a request that has been read to the engine's events, and their common ends. */
import type { Message } from "../chat/index.ts"
import { type EngineClient, revive } from "../engine/client.ts"
import type {
  FinishReason,
  GenerateEnd,
  GenerateEvent,
  GenerateRequest,
} from "../generate/types.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import { badRequest, HttpError } from "./errors.ts"
import type { Metrics } from "./metrics.ts"
import type { CallReplay } from "./replay.ts"

/** What the routes work with. */
export interface Service {
  /** Name of the model in answers. */
  model: string
  tokenizer: Tokenizer
  client: EngineClient
  metrics: Metrics
  /** Conversations of the last responses (/v1/responses), by id, oldest first. */
  kept: Map<string, Message[]>
  /** Calls that clients may send back. */
  replay: CallReplay
  /** Told what only the log has. */
  log(line: string): void
  /** Requests that may run or wait. */
  maxRequests: number
}

export type Draft = Omit<GenerateRequest, "maxTokens"> & { maxTokens: number | undefined }

/** Starts a request and yields its events; ends it when the client goes away.
 *  @throws HttpError 400 when the prompt does not fit, 429 when too many wait */
export function generate(
  service: Service,
  draft: Draft,
  signal: AbortSignal,
): AsyncGenerator<GenerateEvent, void> {
  const { context } = service.client.info
  const room = context - draft.ids.length
  if (room < 1)
    throw badRequest(
      `The prompt has at least ${draft.ids.length} tokens, the context holds ${context}`,
      "messages",
      "context_length_exceeded",
    )
  if (service.metrics.running >= service.maxRequests)
    throw new HttpError(429, "Too many requests are waiting", {
      code: "queue_full",
      headers: { "retry-after": "5" },
    })
  const maxTokens = Math.min(draft.maxTokens ?? room, room)
  return follow(service, { cutLoops: true, ...draft, maxTokens }, signal)
}

async function* follow(
  { client, metrics, log }: Service,
  request: GenerateRequest,
  signal: AbortSignal,
): AsyncGenerator<GenerateEvent, void> {
  const { events, abort } = client.generate(request)
  const count = metrics.start()
  signal.addEventListener("abort", abort)
  if (signal.aborted) abort()
  try {
    for await (const event of events) {
      count(event)
      if (event.type === "prefill" && event.reuse?.miss) log(missText(event))
      if (event.type === "end" && event.isLoop) log("An answer went round in circles and was cut")
      yield event
    }
  } finally {
    abort() // does nothing to what has ended
    count(null)
    signal.removeEventListener("abort", abort)
  }
}

function missText({ total, cached, reuse }: GenerateEvent & { type: "prefill" }): string {
  const disk = reuse!.disk > 0 ? `, ${reuse!.disk} of them from disk` : ""
  return `Prompt of ${total} tokens: ${cached} reused${disk}; ${reuse!.miss}`
}

/** @throws the error that ended a generation, if one did */
export function checkEnd(end: GenerateEnd): void {
  if (!end.error) return
  const error = revive(end.error)
  throw new HttpError(500, error.message, { code: error.name })
}

/** OpenAI's names of ends; an abort is only seen by who has gone. */
export const finishOf = (reason: FinishReason): string => (reason === "abort" ? "stop" : reason)

/** OpenAI's usage, over all answers to one prompt. */
export function usageOf(...answers: readonly GenerateEnd[]): object {
  const { promptTokens, cachedTokens } = answers[0]!.usage
  const sum = (field: "completionTokens" | "reasoningTokens") =>
    answers.reduce((total, { usage }) => total + usage[field], 0)
  const completion = sum("completionTokens")
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completion,
    total_tokens: promptTokens + completion,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    completion_tokens_details: { reasoning_tokens: sum("reasoningTokens") },
  }
}

/** llama-server's timings. */
export function timingsOf({ usage, timings }: GenerateEnd): object {
  const { promptTokens, cachedTokens, completionTokens } = usage
  const computed = promptTokens - cachedTokens
  const rate = (n: number, ms: number) => (ms > 0 ? Number(((1000 * n) / ms).toFixed(2)) : 0)
  return {
    cache_n: cachedTokens,
    prompt_n: computed,
    prompt_ms: timings.prefillMs,
    prompt_per_second: rate(computed, timings.prefillMs),
    predicted_n: completionTokens,
    predicted_ms: timings.decodeMs,
    predicted_per_second: rate(completionTokens - 1, timings.decodeMs),
  }
}

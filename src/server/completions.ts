/** POST /v1/completions: a raw prompt goes on. */
import * as v from "valibot"
import type { GenerateEnd, GenerateEvent, ShownToken } from "../generate/types.ts"
import type { Body } from "./body.ts"
import { asHttpError, badRequest, errorBody } from "./errors.ts"
import {
  biasField,
  biasOf,
  COMMON,
  readFields,
  samplingOf,
  stopsOf,
  tokenIds,
  whole,
} from "./fields.ts"
import { checkEnd, finishOf, generate, type Service, timingsOf, usageOf } from "./generate.ts"
import { completionLogprobs, MOST_LOGPROBS } from "./logprobs.ts"
import { dataEvent, sseResponse } from "./sse.ts"

/** OpenAI's default, which clients rely on. */
const DEFAULT_TOKENS = 16

export const SHAPE = {
  ...COMMON,
  prompt: v.union([v.string(), v.pipe(tokenIds, v.minLength(1))]),
  logprobs: v.optional(whole(0, MOST_LOGPROBS)),
  logit_bias: biasField,
}

export async function completions(
  service: Service,
  body: Body,
  signal: AbortSignal,
): Promise<Response> {
  const { fields, headers } = readFields(SHAPE, body)
  const { logprobs } = fields
  const draft = {
    ids: idsOf(service, fields.prompt),
    format: "raw" as const,
    maxTokens: fields.max_tokens ?? DEFAULT_TOKENS,
    sampling: samplingOf(fields),
    stop: stopsOf(fields),
    ...biasOf(fields, service.tokenizer),
    ...(logprobs !== undefined && { logprobs }),
  }
  const logprobsOf = logprobs === undefined ? () => null : logprobsAsked(service)
  const head = {
    id: `cmpl-${crypto.randomUUID()}`,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: service.model,
  }
  const events = generate(service, draft, signal)
  if (fields.stream)
    return sseResponse(
      streamed(events, head, fields.stream_options?.include_usage ?? false, logprobsOf),
      headers,
    )
  let [text, end] = ["", undefined as GenerateEnd | undefined]
  const tokens: ShownToken[] = []
  for await (const event of events)
    if (event.type === "text") {
      text += event.text
      tokens.push(...(event.tokens ?? []))
    } else if (event.type === "end") end = event
  checkEnd(end!)
  const finish_reason = finishOf(end!.reason)
  const choice = { index: 0, text, logprobs: logprobsOf(tokens), finish_reason }
  const usage = usageOf(end!)
  return Response.json({ ...head, choices: [choice], usage, timings: timingsOf(end!) }, { headers })
}

const logprobsAsked =
  ({ tokenizer }: Service) =>
  (tokens: readonly ShownToken[]) =>
    completionLogprobs(tokenizer, tokens)

function idsOf({ tokenizer }: Service, prompt: string | number[]): number[] {
  if (typeof prompt === "string") {
    const bos = tokenizer.bosId === undefined ? [] : [tokenizer.bosId]
    return [...bos, ...tokenizer.encode(prompt)]
  }
  const wrong = prompt.findIndex((id) => id >= tokenizer.vocabSize)
  if (wrong >= 0) throw badRequest(`prompt.${wrong}: there is no token ${prompt[wrong]}`, "prompt")
  return prompt
}

async function* streamed(
  events: AsyncIterable<GenerateEvent>,
  head: object,
  withUsage: boolean,
  logprobsOf: (tokens: readonly ShownToken[]) => object | null,
): AsyncGenerator<string> {
  const chunk = (text: string, finish_reason: string | null, tokens: ShownToken[] = []) => {
    const logprobs = tokens.length > 0 ? logprobsOf(tokens) : null
    return dataEvent({ ...head, choices: [{ index: 0, text, logprobs, finish_reason }] })
  }
  try {
    for await (const event of events) {
      if (event.type === "text") yield chunk(event.text, null, event.tokens)
      if (event.type !== "end") continue
      checkEnd(event)
      yield chunk("", finishOf(event.reason))
      if (withUsage) yield dataEvent({ ...head, choices: [], usage: usageOf(event) })
    }
    yield "data: [DONE]\n\n"
  } catch (error) {
    yield dataEvent(errorBody(asHttpError(error)))
  }
}

/** POST /v1/completions: a raw prompt goes on. */
import * as v from "valibot"
import type { GenerateEnd, ShownToken } from "../generate/types.ts"
import { answersTo, merged } from "./answer.ts"
import { type BlockEvent, collectBlocks, textOf } from "./blocks.ts"
import type { Body } from "./body.ts"
import { asHttpError, badRequest, errorBody } from "./errors.ts"
import {
  biasField,
  biasOf,
  COMMON,
  MOST_CHOICES,
  readFields,
  samplingOf,
  stopsOf,
  tokenIds,
  whole,
} from "./fields.ts"
import { checkEnd, finishOf, type Service, timingsOf, usageOf } from "./generate.ts"
import { completionLogprobs, MOST_LOGPROBS } from "./logprobs.ts"
import { dataEvent, sseResponse } from "./sse.ts"

/** OpenAI's default, which clients rely on. */
const DEFAULT_TOKENS = 16

export const SHAPE = {
  ...COMMON,
  prompt: v.union([v.string(), v.pipe(tokenIds, v.minLength(1))]),
  logprobs: v.optional(whole(0, MOST_LOGPROBS)),
  logit_bias: biasField,
  n: v.optional(whole(1, MOST_CHOICES)),
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
  const answers = answersTo(service, draft, fields.n ?? 1, signal)
  if (fields.stream) {
    const withUsage = fields.stream_options?.include_usage ?? false
    return sseResponse(streamed(answers, head, withUsage, logprobsOf), headers)
  }
  const all = await Promise.all(answers.map(collectBlocks))
  const choices = all.map(({ blocks, tokens, end }, index) => {
    checkEnd(end)
    const text = textOf(blocks, "text")
    return { index, text, logprobs: logprobsOf(tokens), finish_reason: finishOf(end.reason) }
  })
  const usage = usageOf(...all.map(({ end }) => end))
  return Response.json({ ...head, choices, usage, timings: timingsOf(all[0]!.end) }, { headers })
}

const logprobsAsked =
  ({ tokenizer }: Service) =>
  (tokens: readonly ShownToken[]) =>
    completionLogprobs(tokenizer, tokens)

function idsOf({ tokenizer, client }: Service, prompt: string | number[]): number[] {
  if (typeof prompt === "string") {
    const bos = tokenizer.bosId === undefined ? [] : [tokenizer.bosId]
    return [...bos, ...tokenizer.encode(prompt, client.info.context)]
  }
  const wrong = prompt.findIndex((id) => id >= tokenizer.vocabSize)
  if (wrong >= 0) throw badRequest(`prompt.${wrong}: there is no token ${prompt[wrong]}`, "prompt")
  return prompt
}

async function* streamed(
  answers: readonly AsyncGenerator<BlockEvent>[],
  head: object,
  withUsage: boolean,
  logprobsOf: (tokens: readonly ShownToken[]) => object | null,
): AsyncGenerator<string> {
  const chunk = (index: number, text: string, finish: string | null, tokens: ShownToken[] = []) => {
    const logprobs = tokens.length > 0 ? logprobsOf(tokens) : null
    return dataEvent({ ...head, choices: [{ index, text, logprobs, finish_reason: finish }] })
  }
  const ends: GenerateEnd[] = []
  try {
    for await (const [index, event] of merged(answers)) {
      if (event.type === "delta") yield chunk(index, event.text, null, event.tokens)
      if (event.type !== "end") continue
      checkEnd(event.end)
      ends[index] = event.end
      yield chunk(index, "", finishOf(event.end.reason))
    }
    if (withUsage) yield dataEvent({ ...head, choices: [], usage: usageOf(...ends) })
    yield "data: [DONE]\n\n"
  } catch (error) {
    yield dataEvent(errorBody(asHttpError(error)))
  }
}

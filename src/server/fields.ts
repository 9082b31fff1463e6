/** Fields of generation requests: what is honoured, refused and ignored, with their limits. */
import * as v from "valibot"
import type { GenerateRequest } from "../generate/types.ts"
import type { SamplingParams } from "../session/sampler.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import type { Body } from "./body.ts"
import { badRequest } from "./errors.ts"

const MAX_TOKENS = 2 ** 24
const MAX_STOPS = 16
const MOST_BIASES = 1024
/** Answers to one request at most. */
export const MOST_CHOICES = 8

/** An object that may have other fields too. (To the library alone an array is one as well.) */
export const objectOf = <E extends v.ObjectEntries>(entries: E) =>
  v.pipe(v.custom<object>(isObject, "Invalid type: Expected Object"), v.looseObject(entries))

const isObject = (value: unknown) =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A number, or a whole number, from `min` to `max`. */
export const between = (min: number, max: number) =>
  v.pipe(v.number(), v.minValue(min), v.maxValue(max))
export const whole = (min: number, max: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))
export const tokenCount = v.optional(whole(0, MAX_TOKENS))

export const tokenIds = v.array(v.pipe(v.number(), v.integer(), v.minValue(0)))

export const stopText = v.pipe(v.string(), v.minLength(1), v.maxLength(1024))

/** Sampling and limits, alike in chat and text completions. */
export const COMMON = {
  model: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(256))),
  temperature: v.optional(between(0, 100)),
  top_p: v.optional(between(0, 1)),
  top_k: v.optional(whole(-1, 2 ** 21)),
  min_p: v.optional(between(0, 1)),
  seed: v.optional(whole(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)),
  stop: v.optional(v.union([stopText, v.pipe(v.array(stopText), v.maxLength(MAX_STOPS))])),
  max_tokens: tokenCount,
  stream: v.optional(v.boolean()),
  stream_options: v.optional(objectOf({ include_usage: v.optional(v.boolean()) })),
}

/** Fields that change the answer and that this server cannot honour, except at these values. */
export const REFUSED: Readonly<Record<string, (value: unknown) => boolean>> = {
  min_tokens: (v) => v === 0,
  n: (v) => v === 1,
  best_of: (v) => v === 1,
  echo: (v) => v === false,
  suffix: (v) => v === "",
  logprobs: (v) => v === false,
  top_logprobs: (v) => v === 0,
  logit_bias: (v) => typeof v === "object" && v !== null && Object.keys(v).length === 0,
  frequency_penalty: (v) => v === 0,
  presence_penalty: (v) => v === 0,
  response_format: (v) => (v as { type?: unknown })?.type === "text",
  audio: () => false,
  modalities: (v) => Array.isArray(v) && v.every((m) => m === "text"),
  prediction: () => false,
  functions: () => false,
  function_call: (v) => v === "none",
  web_search_options: () => false,
}

/** Fields that are known and change nothing here. */
export const WITHOUT_EFFECT = new Set([
  "anthropic_version",
  "client_metadata",
  "container",
  "context_management",
  "include",
  "metadata",
  "prompt_cache_key",
  "safety_identifier",
  "service_tier",
  "store",
  "user",
  "verbosity",
])

/** The header that names fields nobody knows. */
export const IGNORED = "x-ds4-ignored"

/** Names as a header can hold them: what is no plain ASCII in percent code, the first few of many. */
export function headerList(names: readonly string[]): string {
  const first = names
    .slice(0, 32)
    .map((name) => encodeURIComponent(name.slice(0, 64).toWellFormed()))
  return [...first, ...(names.length > first.length ? ["..."] : [])].join(", ")
}

/** Reads fields by a schema. The headers, for the answer, name the fields that nobody knows.
 *  @throws HttpError 400 naming the field */
export function readFields<S extends v.ObjectEntries>(
  shape: S,
  { plain, strict }: Body,
): { fields: v.InferOutput<v.ObjectSchema<S, undefined>>; headers: Record<string, string> } {
  for (const [name, isFine] of Object.entries(REFUSED))
    if (!Object.hasOwn(shape, name) && Object.hasOwn(plain, name) && !isFine(plain[name]))
      throw badRequest(`${name} is not supported here`, name, "unsupported_value")
  const result = v.safeParse(v.object(shape), plain, { abortEarly: true })
  if (!result.success) {
    const [issue] = result.issues
    const name = v.getDotPath(issue) ?? undefined
    if (issue.message.startsWith("Invalid key")) throw badRequest(`${name} is missing`, name)
    throw badRequest(name === undefined ? issue.message : `${name}: ${issue.message}`, name)
  }
  const ignored = Object.keys(plain).filter(
    (name) =>
      !Object.hasOwn(shape, name) && !Object.hasOwn(REFUSED, name) && !WITHOUT_EFFECT.has(name),
  )
  if (strict && ignored.length > 0)
    throw badRequest(`${ignored[0]} is not a field that is known here`, ignored[0], "unknown_field")
  const headers = ignored.length > 0 ? { [IGNORED]: headerList(ignored) } : {}
  return { fields: result.output, headers: headers as Record<string, string> }
}

/** `logit_bias`: ids as texts, with what is added to their logits. */
export const biasField = v.optional(
  v.pipe(
    v.record(v.pipe(v.string(), v.regex(/^\d{1,8}$/)), between(-100, 100)),
    v.maxEntries(MOST_BIASES),
  ),
)

/** @throws HttpError 400 naming an id that there is not */
export function biasOf(
  { logit_bias }: { logit_bias?: Record<string, number> | undefined },
  { vocabSize }: Tokenizer,
): Pick<GenerateRequest, "logitBias"> {
  const entries = Object.entries(logit_bias ?? {}).map(([id, bias]): [number, number] => [
    Number(id),
    bias,
  ])
  const wrong = entries.find(([id]) => id >= vocabSize)
  if (wrong) throw badRequest(`logit_bias: there is no token ${wrong[0]}`, "logit_bias")
  return entries.length > 0 ? { logitBias: entries } : {}
}

type CommonFields = v.InferOutput<v.ObjectSchema<typeof COMMON, undefined>>

/** Fields of sampling as the engine has them; those that are absent stay so. */
export function samplingOf(f: CommonFields): Partial<SamplingParams> {
  return {
    ...(f.temperature !== undefined && { temperature: f.temperature }),
    ...(f.top_p !== undefined && { topP: f.top_p }),
    ...(f.top_k !== undefined && { topK: Math.max(f.top_k, 0) }),
    ...(f.min_p !== undefined && { minP: f.min_p }),
    ...(f.seed !== undefined && { seed: BigInt.asUintN(64, BigInt(f.seed)) }),
  }
}

export const stopsOf = ({ stop }: CommonFields): string[] =>
  stop === undefined ? [] : typeof stop === "string" ? [stop] : stop

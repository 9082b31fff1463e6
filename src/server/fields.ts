/** Fields of generation requests: what is honoured, refused and ignored, with their limits. */
import { z } from "zod"
import type { SamplingParams } from "../session/sampler.ts"
import type { Body } from "./body.ts"
import { badRequest } from "./errors.ts"

const MAX_TOKENS = 2 ** 24
const MAX_STOPS = 16

const texts = z.string().min(1).max(1024)
const tokens = z.int().min(0).max(MAX_TOKENS)

/** Sampling and limits, alike in chat and text completions. */
export const COMMON = {
  model: z.string().max(256).optional(),
  temperature: z.number().min(0).max(100).optional(),
  top_p: z.number().min(0).max(1).optional(),
  top_k: z
    .int()
    .min(-1)
    .max(2 ** 21)
    .optional(),
  min_p: z.number().min(0).max(1).optional(),
  seed: z.int().optional(),
  stop: z.union([texts, z.array(texts).max(MAX_STOPS)]).optional(),
  max_tokens: tokens.optional(),
  stream: z.boolean().optional(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).optional(),
}

/** Fields that change the answer and that this server cannot honour, except at these values. */
const REFUSED: Readonly<Record<string, (value: unknown) => boolean>> = {
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
const WITHOUT_EFFECT = new Set([
  "metadata",
  "parallel_tool_calls",
  "prompt_cache_key",
  "safety_identifier",
  "service_tier",
  "store",
  "user",
  "verbosity",
])

/** Reads fields by a schema. `ignored` gets the names that nobody knows.
 *  @throws HttpError 400 naming the field */
export function readFields<S extends z.ZodRawShape>(
  shape: S,
  { plain }: Body,
): { fields: z.infer<z.ZodObject<S>>; ignored: string[] } {
  for (const [name, isFine] of Object.entries(REFUSED))
    if (!Object.hasOwn(shape, name) && Object.hasOwn(plain, name) && !isFine(plain[name]))
      throw badRequest(`${name} is not supported here`, name, "unsupported_value")
  const result = z.object(shape).safeParse(plain)
  if (!result.success) {
    const { path, message } = result.error.issues[0]!
    const name = path.join(".")
    throw badRequest(name === "" ? message : `${name}: ${message}`, name || undefined)
  }
  const ignored = Object.keys(plain).filter(
    (name) =>
      !Object.hasOwn(shape, name) && !Object.hasOwn(REFUSED, name) && !WITHOUT_EFFECT.has(name),
  )
  return { fields: result.data as z.infer<z.ZodObject<S>>, ignored }
}

type CommonFields = z.infer<z.ZodObject<typeof COMMON>>

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

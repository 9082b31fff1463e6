/** Lines of a batch file as requests. */
import {
  conversationOf,
  encodePrompt,
  type Encoder,
  type Json,
  parseJson,
  render,
  toPlain,
} from "../chat/index.ts"
import { CliError } from "../errors.ts"
import type { GenerateRequest } from "../generate/types.ts"
import type { SamplingParams } from "../session/sampler.ts"
import type { Tokenizer } from "../tokenizer/index.ts"

/** What the flags say about every request. */
export interface RequestDefaults {
  thinking: boolean
  effort: string | null
  encoder: Encoder
  maxTokens: number | undefined
  sampling: Partial<SamplingParams>
  stop: string[]
}

/** A request whose length limit may be left to the context. */
export type BatchRequest = Omit<GenerateRequest, "maxTokens"> & { maxTokens: number | undefined }

type Fields = Map<string, Json>

/** Reads a line. @throws CliError, RenderError naming the field that is wrong. */
export function readRequest(
  line: string,
  tokenizer: Tokenizer,
  defaults: RequestDefaults,
): BatchRequest {
  const fields = parseJson(line)
  if (!(fields instanceof Map)) throw new CliError("Cannot use this: expected a JSON object")
  const number = (name: string, min: number, max: number, isWhole: boolean) => {
    const value = toPlain(fields.get(name) ?? null)
    if (value === null) return undefined
    const fits = typeof value === "number" && value >= min && value <= max
    if (!fits || (isWhole && !Number.isInteger(value)))
      throw new CliError(
        `${name} is ${JSON.stringify(value)}: expected a ${isWhole ? "whole " : ""}number from ` +
          `${min} to ${max}`,
      )
    return value
  }
  return {
    ...promptOf(fields, tokenizer, defaults),
    maxTokens: number("max_tokens", 0, 2 ** 24, true) ?? defaults.maxTokens,
    sampling: {
      ...defaults.sampling,
      ...given("temperature", number("temperature", 0, 100, false)),
      ...given("topP", number("top_p", 0, 1, false)),
      ...given("minP", number("min_p", 0, 1, false)),
      ...given("topK", number("top_k", 0, 2 ** 21, true)),
      ...given("seed", number("seed", 0, Number.MAX_SAFE_INTEGER, true)),
    },
    stop: stopOf(fields) ?? defaults.stop,
  }
}

const given = <T>(name: string, value: T | undefined) =>
  value === undefined ? {} : { [name]: value }

function stopOf(fields: Fields): string[] | undefined {
  const value = toPlain(fields.get("stop") ?? null)
  if (value === null) return undefined
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.every((s): s is string => typeof s === "string" && s !== "")) return list
  throw new CliError("stop: expected a text, or an array of texts")
}

function promptOf(
  fields: Fields,
  tokenizer: Tokenizer,
  defaults: RequestDefaults,
): Pick<GenerateRequest, "ids" | "format"> {
  const forms = ["messages", "prompt", "ids"].filter((name) => (fields.get(name) ?? null) !== null)
  if (forms.length !== 1)
    throw new CliError(
      `${forms.length === 0 ? "There is no prompt" : `${forms.join(" and ")} are given`}: expected ` +
        "messages, prompt (a text) or ids",
    )
  if (forms[0] === "ids") return { ids: idsOf(fields.get("ids")!, tokenizer), format: "raw" }
  if (forms[0] === "prompt") {
    const text = fields.get("prompt")
    if (typeof text !== "string") throw new CliError("prompt: expected a text")
    const bos = tokenizer.bosId === undefined ? [] : [tokenizer.bosId]
    return { ids: [...bos, ...tokenizer.encode(text)], format: "raw" }
  }
  const conversation = conversationOf(fields)
  const thinking = conversation.thinking ?? defaults.thinking
  const { effort, encoder } = defaults
  const spans = render(conversation, { thinking, effort, encoder, openAssistant: true })
  return { ids: encodePrompt(tokenizer, spans), format: thinking ? "thinking" : "answer" }
}

function idsOf(value: Json, { vocabSize }: Tokenizer): number[] {
  const ids = toPlain(value)
  if (!Array.isArray(ids) || ids.length === 0)
    throw new CliError("ids: expected an array of token ids, at least one")
  const wrong = ids.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize)
  if (wrong < 0) return ids as number[]
  throw new CliError(
    `ids[${wrong}] is ${JSON.stringify(ids[wrong])}: expected a token id below ${vocabSize}`,
  )
}

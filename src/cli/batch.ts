/** `ds4 batch FILE.jsonl`: one request a line, one answer a line, in order; many decoded at once. */
import { readFileSync } from "node:fs"
import {
  conversationOf,
  encodePrompt,
  type Json,
  parseJson,
  render,
  toPlain,
} from "../chat/index.ts"
import { EngineClient } from "../engine/client.ts"
import { CliError } from "../errors.ts"
import type { GenerateEnd, GenerateRequest } from "../generate/types.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import { loadNative } from "../ops/open.ts"
import { openModelFile } from "../session/open.ts"
import { spawnEngine } from "../spawn.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import { type Io, ProgressLine } from "./io.ts"
import { engineOptions, findModel } from "./models.ts"
import type { Args } from "./options.ts"
import { samplingOf } from "./sampling.ts"

const DEFAULT_PARALLEL = 8

export async function run(args: Args, io: Io): Promise<number> {
  const [name] = args.positional
  if (name === undefined) throw new CliError("ds4 batch needs a file of requests, or - for stdin")
  const lines = (await readInput(name, io)).split("\n").filter((line) => line.trim() !== "")
  const { path } = findModel(args, io)
  await loadNative()
  const file = openModelFile({ path })
  const tokenizer = tokenizerOf(file)
  file.source.close()
  const parallel = args.number("parallel") ?? DEFAULT_PARALLEL
  const client = await EngineClient.open(
    spawnEngine(),
    { path },
    { ...engineOptions(args), nSeqs: parallel },
  )
  const progress = new ProgressLine(io)
  let done = 0
  let failed = 0
  const answers = lines.map(async (line) => {
    const answer = await answerLine(line, args, tokenizer, client)
    if ("error" in answer) failed++
    progress.show(`${++done} of ${lines.length} requests`)
    return JSON.stringify(answer)
  })
  for (const answer of answers) io.out(`${await answer}\n`)
  progress.clear()
  client.close()
  if (failed > 0) io.err(`${failed} of ${lines.length} requests failed\n`)
  return failed > 0 ? 1 : 0
}

async function readInput(name: string, io: Io): Promise<string> {
  if (name === "-") return Bun.stdin.text()
  try {
    return readFileSync(io.resolvePath(name), "utf8")
  } catch (error) {
    throw new CliError(`Cannot read ${name}: ${(error as Error).message}`)
  }
}

async function answerLine(line: string, args: Args, tokenizer: Tokenizer, client: EngineClient) {
  try {
    const request = requestOf(parseJson(line), args, tokenizer, client.info.context)
    return answerOf(await client.complete(request))
  } catch (error) {
    return { error: { message: (error as Error).message } }
  }
}

function answerOf(end: GenerateEnd) {
  return {
    text: end.text,
    ids: end.ids,
    finish_reason: end.reason,
    usage: {
      prompt_tokens: end.usage.promptTokens,
      completion_tokens: end.usage.completionTokens,
      total_tokens: end.usage.promptTokens + end.usage.completionTokens,
      prompt_tokens_details: { cached_tokens: end.usage.cachedTokens },
    },
  }
}

/** A line as a request. @throws CliError naming the field that is wrong. */
function requestOf(line: Json, args: Args, tokenizer: Tokenizer, context: number): GenerateRequest {
  if (!(line instanceof Map)) throw new CliError("A request is a JSON object")
  const number = (field: string, min: number, max: number): number | undefined => {
    const value = toPlain(line.get(field) ?? null)
    if (value === null) return undefined
    if (typeof value !== "number" || !(value >= min && value <= max))
      throw new CliError(`"${field}" is ${JSON.stringify(value)}; ${min} to ${max} is wanted`)
    return value
  }
  const prompt = promptOf(line, args, tokenizer)
  const room = context - prompt.ids.length
  if (room < 1)
    throw new CliError(`The prompt has ${prompt.ids.length} tokens, the context ${context} (--ctx)`)
  const limit = number("max_tokens", 1, 2 ** 24) ?? args.number("tokens") ?? room
  const stop = toPlain(line.get("stop") ?? null) ?? args.text("stop")
  const sampling = {
    ...samplingOf(args),
    ...defined({
      temperature: number("temperature", 0, 100),
      topP: number("top_p", 0, 1),
      minP: number("min_p", 0, 1),
      topK: number("top_k", 0, 2 ** 21),
      seed: number("seed", 0, Number.MAX_SAFE_INTEGER),
    }),
  }
  const stops = [stop ?? []].flat().map(String)
  return { ...prompt, maxTokens: Math.min(limit, room), sampling, stop: stops }
}

function promptOf(
  line: Map<string, Json>,
  args: Args,
  tokenizer: Tokenizer,
): Pick<GenerateRequest, "ids" | "format"> {
  if (line.has("messages")) {
    const encoder = args.text("efforts") === "0731" ? "v4-0731" : "v4"
    const conversation = conversationOf(line)
    const thinking = conversation.thinking ?? !args.flag("noThink")
    const spans = render({ ...conversation, thinking }, { encoder, openAssistant: true })
    return { ids: encodePrompt(tokenizer, spans), format: thinking ? "thinking" : "answer" }
  }
  const ids = toPlain(line.get("ids") ?? null)
  if (Array.isArray(ids)) {
    const wrong = ids.findIndex(
      (id) => !Number.isInteger(id) || id < 0 || id >= tokenizer.vocabSize,
    )
    if (wrong >= 0 || ids.length === 0) throw new CliError(`"ids": element ${wrong} is no token id`)
    return { ids: ids as number[], format: "raw" }
  }
  const prompt = line.get("prompt")
  if (typeof prompt !== "string")
    throw new CliError('A request has "messages", "prompt" (a text) or "ids"')
  const bos = tokenizer.bosId === undefined ? [] : [tokenizer.bosId]
  return { ids: [...bos, ...tokenizer.encode(prompt)], format: "raw" }
}

function defined<T extends Record<string, number | undefined>>(fields: T): Record<string, number> {
  return Object.fromEntries(
    Object.entries(fields).filter((entry): entry is [string, number] => entry[1] !== undefined),
  )
}

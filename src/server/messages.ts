/** POST /v1/messages and /v1/messages/count_tokens: Anthropic's Messages API. */
import * as v from "valibot"
import {
  encodePrompt,
  type JsonObject,
  parseJson,
  printJson,
  render,
  toJson,
} from "../chat/index.ts"
import type { GenerateEnd } from "../generate/types.ts"
import { answerTo, continueLast } from "./answer.ts"
import { type Block, type BlockEvent, collectBlocks } from "./blocks.ts"
import type { Body } from "./body.ts"
import { constrain, schemaAsked, textFormat, type Wishes } from "./constraint.ts"
import { anthropicError, asHttpError } from "./errors.ts"
import { COMMON, objectOf, readFields, samplingOf, stopText, whole } from "./fields.ts"
import { checkEnd, type Draft, type Service } from "./generate.ts"
import { messagesConversation } from "./messages-input.ts"
import { budgetOf, reasoningOf, thinkingField } from "./reasoning.ts"
import { namedEvent, sseResponse } from "./sse.ts"

const { stop: _, stream_options: __, ...SAMPLING } = COMMON
const block = objectOf({ type: v.string() })
export const PROMPT = {
  model: COMMON.model,
  messages: v.pipe(
    v.array(objectOf({ role: v.string(), content: v.union([v.string(), v.array(block)]) })),
    v.minLength(1),
  ),
  system: v.optional(v.union([v.string(), v.array(block)])),
  tools: v.optional(v.pipe(v.array(objectOf({ name: v.string() })), v.maxLength(1024))),
  tool_choice: v.optional(
    v.variant("type", [
      v.looseObject({
        type: v.picklist(["auto", "any", "none"]),
        disable_parallel_tool_use: v.optional(v.boolean()),
      }),
      v.looseObject({
        type: v.literal("tool"),
        name: v.string(),
        disable_parallel_tool_use: v.optional(v.boolean()),
      }),
    ]),
  ),
  thinking: thinkingField,
  output_config: v.optional(objectOf({ effort: v.optional(v.string()), format: textFormat })),
}
export const SHAPE = {
  ...SAMPLING,
  ...PROMPT,
  max_tokens: whole(1, 2 ** 24),
  stop_sequences: v.optional(v.pipe(v.array(stopText), v.maxLength(16))),
}

type Prompt = v.InferOutput<v.ObjectSchema<typeof PROMPT, undefined>>

export async function messages(
  service: Service,
  body: Body,
  signal: AbortSignal,
): Promise<Response> {
  const { fields, headers } = readFields(SHAPE, body)
  const stops = fields.stop_sequences ?? []
  const draft: Draft = {
    ...promptOf(service, body, fields, service.client.info.context),
    maxTokens: fields.max_tokens,
    sampling: samplingOf(fields),
    stop: stops,
  }
  const head = { id: `msg_${hex()}`, type: "message", role: "assistant", model: service.model }
  const events = answerTo(service, draft, signal)
  if (fields.stream) {
    const input_tokens = draft.ids.length
    const message = { ...head, ...UNFINISHED, usage: { input_tokens, output_tokens: 0 } }
    return sseResponse(streamed(events, message, service, stops), headers)
  }
  const { blocks, end } = await collectBlocks(events)
  checkEnd(end)
  const content = blocks.filter((b) => !b.isCut).map(contentOf)
  const answer = { ...head, content, ...stopOf(end, service, stops), usage: usageOf(end) }
  // Inputs of calls are trees: their digits and the order of their keys are the model's own.
  const json = printJson(toJson(answer))
  return new Response(json, { headers: { "content-type": "application/json", ...headers } })
}

export async function countTokens(service: Service, body: Body): Promise<Response> {
  const { fields, headers } = readFields(PROMPT, body)
  return Response.json({ input_tokens: promptOf(service, body, fields).ids.length }, { headers })
}

/** @param most tokens, from which on it does not matter how many there are */
function promptOf({ tokenizer, replay }: Service, { tree }: Body, fields: Prompt, most?: number) {
  const conversation = messagesConversation(tree)
  const goesOn = continueLast(conversation)
  const constraint = constrain(conversation, wishesOf(fields, tree), tokenizer)
  const effort = fields.output_config?.effort === "max" ? ("max" as const) : undefined
  const reasoning = reasoningOf(effort, fields.thinking ?? false)
  const spans = render(conversation, { ...reasoning, openAssistant: true, replay: replay.find })
  const format = reasoning.thinking && !goesOn ? ("thinking" as const) : ("answer" as const)
  return {
    ids: encodePrompt(tokenizer, spans, most),
    format,
    ...budgetOf(fields.thinking),
    ...(constraint && { constraint }),
  }
}

function wishesOf({ tool_choice: choice, output_config }: Prompt, tree: JsonObject): Wishes {
  const asked = (tree.get("output_config") as JsonObject | undefined)?.get("format")
  const type = choice?.type ?? "auto"
  const kind = output_config?.format?.type
  return {
    choice:
      choice?.type === "tool"
        ? { type: "tool", name: choice.name }
        : { type: type === "any" ? "required" : (type as "auto" | "none") },
    parallel: choice?.disable_parallel_tool_use !== true,
    schema: schemaAsked(kind, asked),
    schemaField: "output_config.format",
  }
}

const UNFINISHED = { content: [], stop_reason: null, stop_sequence: null }
const hex = () => crypto.randomUUID().replaceAll("-", "")

/** A block as it stands in the answer; the input of a call as the tree of its JSON. Signatures exist so that a client sends reasoning back. */
function contentOf({ kind, id, name, text }: Block): object {
  if (kind === "thinking") return { type: "thinking", thinking: text, signature: "ds4" }
  if (kind === "text") return { type: "text", text }
  return { type: "tool_use", id: `toolu_${id}`, name, input: parseJson(text || "{}") }
}

/** A block before it has said anything. */
function emptyContent({ kind, id, name }: Block): object {
  if (kind === "thinking") return { type: "thinking", thinking: "", signature: "" }
  if (kind === "text") return { type: "text", text: "" }
  return { type: "tool_use", id: `toolu_${id}`, name, input: {} }
}

function deltaOf({ kind }: Block, text: string): object {
  if (kind === "thinking") return { type: "thinking_delta", thinking: text }
  if (kind === "text") return { type: "text_delta", text }
  return { type: "input_json_delta", partial_json: text }
}

/** Why it ended; a stop sequence is told from the model's own end by the last token. */
function stopOf(end: GenerateEnd, { tokenizer }: Service, stops: readonly string[]) {
  const met = end.reason === "stop" && end.ids.at(-1) !== tokenizer.eosId
  const sequence = met ? (stops.find((s) => end.text.includes(s)) ?? null) : null
  const reasons = {
    stop: "end_turn",
    tool_calls: "tool_use",
    length: "max_tokens",
    abort: "end_turn",
  }
  return {
    stop_reason: sequence === null ? reasons[end.reason] : "stop_sequence",
    stop_sequence: sequence,
  }
}

function usageOf({ usage }: GenerateEnd): object {
  return {
    input_tokens: usage.promptTokens - usage.cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: usage.cachedTokens,
    output_tokens: usage.completionTokens,
  }
}

/** The life of a message. A failure on the way is an event of type error, and the last. */
async function* streamed(
  events: AsyncIterable<BlockEvent>,
  message: object,
  service: Service,
  stops: readonly string[],
): AsyncGenerator<string> {
  try {
    yield namedEvent({ type: "message_start", message })
    for await (const event of events) {
      if (event.type === "progress") continue
      if (event.type === "end") {
        checkEnd(event.end)
        const delta = stopOf(event.end, service, stops)
        yield namedEvent({ type: "message_delta", delta, usage: usageOf(event.end) })
        continue
      }
      const { block } = event
      const { index } = block
      if (event.type === "open")
        yield namedEvent({ type: "content_block_start", index, content_block: emptyContent(block) })
      else if (event.type === "delta")
        yield namedEvent({ type: "content_block_delta", index, delta: deltaOf(block, event.text) })
      else {
        const delta = { type: "signature_delta", signature: "ds4" }
        if (block.kind === "thinking")
          yield namedEvent({ type: "content_block_delta", index, delta })
        yield namedEvent({ type: "content_block_stop", index })
      }
    }
    yield namedEvent({ type: "message_stop" })
  } catch (error) {
    yield namedEvent(anthropicError(asHttpError(error)))
  }
}

/** POST /v1/responses: OpenAI's Responses API, with the events that Codex and the SDKs wait for. */
import * as v from "valibot"
import {
  type Conversation,
  encodePrompt,
  type JsonObject,
  type Message,
  render,
} from "../chat/index.ts"
import { answerTo } from "./answer.ts"
import { type Block, callsOf, collectBlocks, textOf } from "./blocks.ts"
import type { Body } from "./body.ts"
import { constrain, schemaAsked, textFormat, type Wishes } from "./constraint.ts"
import { badRequest } from "./errors.ts"
import { COMMON, objectOf, readFields, samplingOf, tokenCount, whole } from "./fields.ts"
import { checkEnd, type Draft, type Service } from "./generate.ts"
import { MOST_LOGPROBS } from "./logprobs.ts"
import { effortField, reasoningOf } from "./reasoning.ts"
import { callId, endOf, idOf, itemOf, responseEvents, withLogprobs } from "./responses-answer.ts"
import { inputMessages, inputTools } from "./responses-input.ts"
import { sseResponse } from "./sse.ts"

const { stop: _, stream_options: __, max_tokens: ___, ...SAMPLING } = COMMON
export const SHAPE = {
  ...SAMPLING,
  input: v.union([v.string(), v.pipe(v.array(objectOf({})), v.minLength(1))]),
  instructions: v.optional(v.string()),
  max_output_tokens: tokenCount,
  previous_response_id: v.optional(v.string()),
  reasoning: v.optional(objectOf({ effort: effortField })),
  include: v.optional(v.pipe(v.array(v.string()), v.maxLength(64))),
  top_logprobs: v.optional(whole(0, MOST_LOGPROBS)),
  metadata: v.optional(v.record(v.string(), v.string())),
  store: v.optional(v.boolean()),
  text: v.optional(objectOf({ format: textFormat })),
  tool_choice: v.optional(
    v.union([
      v.picklist(["auto", "none", "required"]),
      v.looseObject({ type: v.literal("function"), name: v.string() }),
    ]),
  ),
  parallel_tool_calls: v.optional(v.boolean()),
  tools: v.optional(v.pipe(v.array(objectOf({ type: v.string() })), v.maxLength(1024))),
  truncation: v.optional(v.picklist(["disabled"])),
}

type Fields = v.InferOutput<v.ObjectSchema<typeof SHAPE, undefined>>

/** What `include` has where log-probabilities are wanted. */
const LOGPROBS = "message.output_text.logprobs"

/** Conversations that can be gone on with by their response's id. */
const MOST_KEPT = 256

export async function responses(
  service: Service,
  body: Body,
  signal: AbortSignal,
): Promise<Response> {
  const { fields, headers } = readFields(SHAPE, body)
  const history = [...previousOf(service, fields), ...inputMessages(body.tree.get("input")!)]
  const reasoning = reasoningOf(fields.reasoning?.effort)
  const draft: Draft = {
    ...promptOf(service, body, fields, history, reasoning),
    format: reasoning.thinking ? "thinking" : "answer",
    maxTokens: fields.max_output_tokens,
    sampling: samplingOf(fields),
    ...(fields.include?.includes(LOGPROBS) && { logprobs: fields.top_logprobs ?? 0 }),
  }
  const base = baseOf(service, fields)
  const keep = (blocks: readonly Block[]) => {
    if (fields.store ?? true) remember(service, base.id, [...history, messageOf(blocks)])
  }
  const events = withLogprobs(answerTo(service, draft, signal), service.tokenizer)
  if (fields.stream) return sseResponse(responseEvents(events, base, keep), headers)
  const { blocks, end } = await collectBlocks(events)
  checkEnd(end)
  keep(blocks)
  const output = blocks.map((b) => itemOf(b, idOf(b)))
  return Response.json({ ...base, ...endOf(end), output }, { headers })
}

function promptOf(
  { tokenizer, replay, client }: Service,
  { tree }: Body,
  fields: Fields,
  history: readonly Message[],
  reasoning: ReturnType<typeof reasoningOf>,
): Pick<Draft, "ids" | "constraint"> {
  const { instructions } = fields
  const system = instructions === undefined ? [] : [{ role: "system", content: instructions }]
  const tools = inputTools(tree.get("tools"))
  const conversation: Conversation = {
    messages: [...system, ...history],
    ...(tools.length > 0 && { tools }),
  }
  const constraint = constrain(conversation, wishesOf(fields, tree), tokenizer)
  const spans = render(conversation, { ...reasoning, openAssistant: true, replay: replay.find })
  return {
    ids: encodePrompt(tokenizer, spans, client.info.context),
    ...(constraint && { constraint }),
  }
}

function wishesOf(
  { tool_choice: choice = "auto", text, ...fields }: Fields,
  tree: JsonObject,
): Wishes {
  const kind = text?.format?.type
  const asked = (tree.get("text") as JsonObject | undefined)?.get("format")
  return {
    choice: typeof choice === "string" ? { type: choice } : { type: "tool", name: choice.name },
    parallel: fields.parallel_tool_calls ?? true,
    schema: schemaAsked(kind, asked),
    schemaField: "text.format",
  }
}

function previousOf({ kept }: Service, { previous_response_id: id }: Fields): Message[] {
  if (id === undefined) return []
  const messages = kept.get(id)
  if (messages) return messages
  throw badRequest(
    `There is no response ${id} here (any more): send the whole conversation`,
    "previous_response_id",
    "previous_response_not_found",
  )
}

function remember({ kept }: Service, id: string, messages: Message[]): void {
  kept.set(id, messages)
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value!)
}

/** What was said as a message of the history. */
function messageOf(blocks: readonly Block[]): Message {
  const calls = callsOf(blocks)
  return {
    role: "assistant",
    content: textOf(blocks, "text"),
    reasoning_content: textOf(blocks, "thinking"),
    ...(calls.length > 0 && {
      tool_calls: calls.map((b) => ({
        id: callId(b),
        type: "function",
        function: { name: b.name, arguments: b.text },
      })),
    }),
  }
}

/** The response object before it has an output. */
function baseOf({ model }: Service, fields: Fields) {
  return {
    id: `resp_${crypto.randomUUID().replaceAll("-", "")}`,
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    status: "in_progress",
    model,
    output: [] as object[],
    error: null as object | null,
    incomplete_details: null,
    instructions: fields.instructions ?? null,
    max_output_tokens: fields.max_output_tokens ?? null,
    metadata: fields.metadata ?? {},
    parallel_tool_calls: fields.parallel_tool_calls ?? true,
    previous_response_id: fields.previous_response_id ?? null,
    reasoning: { effort: fields.reasoning?.effort ?? null, summary: null },
    store: fields.store ?? true,
    temperature: fields.temperature ?? 1,
    text: { format: fields.text?.format ?? { type: "text" } },
    tool_choice: fields.tool_choice ?? "auto",
    tools: fields.tools ?? [],
    top_p: fields.top_p ?? 1,
    truncation: "disabled",
    usage: null as object | null,
  }
}

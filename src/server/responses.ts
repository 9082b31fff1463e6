/** POST /v1/responses: OpenAI's Responses API, with the events that Codex and the SDKs wait for. */
import * as v from "valibot"
import {
  type Conversation,
  encodePrompt,
  type JsonObject,
  type Message,
  render,
} from "../chat/index.ts"
import type { GenerateEnd } from "../generate/types.ts"
import { answerTo } from "./answer.ts"
import { type Block, type BlockEvent, callsOf, collectBlocks, textOf } from "./blocks.ts"
import type { Body } from "./body.ts"
import { constrain, schemaAsked, textFormat, type Wishes } from "./constraint.ts"
import { asHttpError, badRequest } from "./errors.ts"
import { COMMON, objectOf, readFields, samplingOf, tokenCount } from "./fields.ts"
import { checkEnd, type Draft, type Service } from "./generate.ts"
import { effortField, reasoningOf } from "./reasoning.ts"
import { inputMessages, inputTools } from "./responses-input.ts"
import { namedEvent, sseResponse } from "./sse.ts"

const { stop: _, stream_options: __, max_tokens: ___, ...SAMPLING } = COMMON
export const SHAPE = {
  ...SAMPLING,
  input: v.union([v.string(), v.pipe(v.array(objectOf({})), v.minLength(1))]),
  instructions: v.optional(v.string()),
  max_output_tokens: tokenCount,
  previous_response_id: v.optional(v.string()),
  reasoning: v.optional(objectOf({ effort: effortField })),
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
  }
  const base = baseOf(service, fields)
  const keep = (blocks: readonly Block[]) => {
    if (fields.store ?? true) remember(service, base.id, [...history, messageOf(blocks)])
  }
  const events = answerTo(service, draft, signal)
  if (fields.stream) return sseResponse(streamed(events, base, keep), headers)
  const { blocks, end } = await collectBlocks(events)
  checkEnd(end)
  keep(blocks)
  const output = blocks.map((b) => itemOf(b, idOf(b)))
  return Response.json({ ...base, ...endOf(end), output }, { headers })
}

function promptOf(
  { tokenizer, replay }: Service,
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
  return { ids: encodePrompt(tokenizer, spans), ...(constraint && { constraint }) }
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
    id: `resp_${hex()}`,
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

function endOf({ reason, usage }: GenerateEnd) {
  const { promptTokens, cachedTokens, completionTokens } = usage
  const isCut = reason === "length"
  return {
    status: isCut ? "incomplete" : "completed",
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    usage: {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: cachedTokens },
      output_tokens: completionTokens,
      output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
      total_tokens: promptTokens + completionTokens,
    },
  }
}

const hex = () => crypto.randomUUID().replaceAll("-", "")

const PREFIX = { thinking: "rs_", text: "msg_", call: "fc_" }
const idOf = ({ kind }: Block) => PREFIX[kind] + hex()

const callId = ({ id }: Block) => `call_${id}`

/** The content of a message or of reasoning. */
const partOf = (kind: Block["kind"], text: string) =>
  kind === "thinking"
    ? { type: "reasoning_text", text }
    : { type: "output_text", text, annotations: [], logprobs: [] }

/** An item of the output, as far as it has come. */
function itemOf(block: Block, id: string, status = "completed"): object {
  const { kind, name, text } = block
  const content = status === "in_progress" ? [] : [partOf(kind, text)]
  if (kind === "thinking") return { id, type: "reasoning", summary: [], content }
  if (kind === "text") return { id, type: "message", status, role: "assistant", content }
  const state = block.isCut ? "incomplete" : status
  return { id, type: "function_call", status: state, call_id: callId(block), name, arguments: text }
}

/** The life of a response; every event has its number. */
async function* streamed(
  events: AsyncIterable<BlockEvent>,
  base: ReturnType<typeof baseOf>,
  keep: (blocks: readonly Block[]) => void,
): AsyncGenerator<string> {
  let sequence_number = 0
  const emit = (type: string, fields: object) =>
    namedEvent({ type, sequence_number: sequence_number++, ...fields })
  const blocks: Block[] = []
  const output: object[] = []
  let id = ""
  try {
    yield emit("response.created", { response: base })
    yield emit("response.in_progress", { response: base })
    for await (const event of events) {
      if (event.type === "end") {
        checkEnd(event.end)
        keep(blocks)
        const response = { ...base, ...endOf(event.end), output }
        yield emit(`response.${response.status}`, { response })
        continue
      }
      const { block } = event
      if (event.type === "open") id = idOf(block)
      if (event.type === "close") {
        blocks.push(block)
        output.push(itemOf(block, id))
      }
      const text = event.type === "delta" ? event.text : ""
      for (const [type, fields] of EVENTS[event.type](block, id, text))
        yield emit(type, { output_index: block.index, ...fields })
    }
  } catch (error) {
    const { message, code } = asHttpError(error)
    const failure = { code: code ?? "server_error", message }
    yield emit("response.failed", {
      response: { ...base, status: "failed", error: failure, output },
    })
  }
}

type Event = [type: string, fields: object]

/** How the texts of a message and of reasoning are called, and what theirs have beside. */
const NAME = { text: "output_text", thinking: "reasoning_text" }
const MORE = { text: { logprobs: [] }, thinking: {} }

/** Events of a block: when it opens, grows and closes. */
const EVENTS: Record<"open" | "delta" | "close", (b: Block, id: string, text: string) => Event[]> =
  {
    open: (block, id) => {
      const added: Event = [
        "response.output_item.added",
        { item: itemOf(block, id, "in_progress") },
      ]
      if (block.kind === "call") return [added]
      const part = { item_id: id, content_index: 0, part: partOf(block.kind, "") }
      return [added, ["response.content_part.added", part]]
    },
    delta: ({ kind }, item_id, delta) => {
      if (kind === "call") return [["response.function_call_arguments.delta", { item_id, delta }]]
      return [[`response.${NAME[kind]}.delta`, { item_id, content_index: 0, delta, ...MORE[kind] }]]
    },
    close: (block, item_id) => {
      const { kind, name, text } = block
      const done: Event = ["response.output_item.done", { item: itemOf(block, item_id) }]
      if (kind === "call") {
        const fields = { item_id, name, arguments: text }
        return [["response.function_call_arguments.done", fields], done]
      }
      const at = { item_id, content_index: 0 }
      return [
        [`response.${NAME[kind]}.done`, { ...at, text, ...MORE[kind] }],
        ["response.content_part.done", { ...at, part: partOf(kind, text) }],
        done,
      ]
    },
  }

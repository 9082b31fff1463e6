/** POST /v1/chat/completions: OpenAI's chat, with DeepSeek's `reasoning_content`. */
import * as v from "valibot"
import { conversationOf, encodePrompt, render } from "../chat/index.ts"
import type { GenerateEvent, ShownToken } from "../generate/types.ts"
import { type Block, collectBlocks } from "./blocks.ts"
import type { Body } from "./body.ts"
import { asHttpError, errorBody } from "./errors.ts"
import { constrain, schemaAsked, responseFormat, type Wishes } from "./constraint.ts"
import { COMMON, objectOf, readFields, samplingOf, stopsOf, tokenCount, whole } from "./fields.ts"
import {
  checkEnd,
  type Draft,
  finishOf,
  generate,
  type Service,
  timingsOf,
  usageOf,
} from "./generate.ts"
import { gather, logprobsIn, type LogprobsOf, MOST_LOGPROBS } from "./logprobs.ts"
import { effortField, reasoningOf, thinkingField } from "./reasoning.ts"
import { dataEvent, sseResponse } from "./sse.ts"

const toolChoice = v.optional(
  v.union([
    v.picklist(["auto", "none", "required"]),
    v.looseObject({ type: v.literal("function"), function: objectOf({ name: v.string() }) }),
  ]),
)

const SHAPE = {
  ...COMMON,
  messages: v.pipe(v.array(objectOf({ role: v.string() })), v.minLength(1)),
  tools: v.optional(v.pipe(v.array(objectOf({})), v.maxLength(1024))),
  tool_choice: toolChoice,
  parallel_tool_calls: v.optional(v.boolean()),
  response_format: responseFormat,
  logprobs: v.optional(v.boolean()),
  top_logprobs: v.optional(whole(0, MOST_LOGPROBS)),
  max_completion_tokens: tokenCount,
  reasoning_effort: effortField,
  thinking: thinkingField,
}

/** How the answer's objects begin. */
interface Head {
  id: string
  created: number
  model: string
}

export async function chatCompletions(
  service: Service,
  body: Body,
  signal: AbortSignal,
): Promise<Response> {
  const { fields, headers } = readFields(SHAPE, body)
  const { stream = false } = fields
  const tree = new Map(body.tree)
  tree.delete("thinking") // of this API, read above
  tree.delete("effort")
  const conversation = conversationOf(tree)
  const constraint = constrain(conversation, wishesOf(fields, body), service.tokenizer)
  const reasoning = reasoningOf(fields.reasoning_effort, fields.thinking)
  const spans = render(conversation, { ...reasoning, openAssistant: true })
  const draft: Draft = {
    ids: encodePrompt(service.tokenizer, spans),
    format: reasoning.thinking ? "thinking" : "answer",
    maxTokens: fields.max_completion_tokens ?? fields.max_tokens,
    sampling: samplingOf(fields),
    stop: stopsOf(fields),
    ...(constraint && { constraint }),
    ...(fields.logprobs && { logprobs: fields.top_logprobs ?? 0 }),
  }
  const head: Head = {
    id: `chatcmpl-${crypto.randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: service.model,
  }
  const events = generate(service, draft, signal)
  const logprobs = fields.logprobs ? logprobsIn(service.tokenizer) : null
  if (!stream) return Response.json(await answer(events, head, logprobs), { headers })
  const withUsage = fields.stream_options?.include_usage ?? false
  return sseResponse(streamed(events, head, withUsage, logprobs), headers)
}

type Fields = v.InferOutput<v.ObjectSchema<typeof SHAPE, undefined>>

function wishesOf(fields: Fields, { tree }: Body): Wishes {
  const { tool_choice: choice = "auto", response_format: format, parallel_tool_calls } = fields
  const asked = tree.get("response_format")
  const holder = asked instanceof Map ? asked.get("json_schema") : undefined
  return {
    choice:
      typeof choice === "string" ? { type: choice } : { type: "tool", name: choice.function.name },
    parallel: parallel_tool_calls ?? true,
    schema: schemaAsked(format?.type, holder),
    schemaField: "response_format",
  }
}

/** A call, or with no arguments yet how one begins. */
const callOf = ({ name, text }: Pick<Block, "name" | "text">) => ({
  id: `call_${crypto.randomUUID().replaceAll("-", "")}`,
  type: "function",
  function: { name, arguments: text },
})

async function answer(
  events: AsyncIterable<GenerateEvent>,
  head: Head,
  logprobs: LogprobsOf | null,
): Promise<object> {
  const tokens: ShownToken[] = []
  const { blocks, end, reasoningTokens } = await collectBlocks(gather(events, tokens))
  checkEnd(end)
  const text = (kind: Block["kind"]) =>
    blocks.flatMap((b) => (b.kind === kind ? [b.text] : [])).join("")
  const calls = blocks.flatMap((b) => (b.kind === "call" && !b.isCut ? [callOf(b)] : []))
  const [reasoning, content] = [text("thinking"), text("text")]
  const message = {
    role: "assistant",
    content: content === "" && calls.length > 0 ? null : content,
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  }
  return {
    ...head,
    object: "chat.completion",
    choices: [
      {
        index: 0,
        message,
        logprobs: logprobs?.(tokens) ?? null,
        finish_reason: finishOf(end.reason),
      },
    ],
    usage: usageOf(end, reasoningTokens),
    timings: timingsOf(end),
  }
}

/** Chunks of one choice; with usage, a last one of none. A failure after the first ends the stream with
 *  an error object and no [DONE]. */
async function* streamed(
  events: AsyncIterable<GenerateEvent>,
  head: Head,
  withUsage: boolean,
  logprobsIn: LogprobsOf | null,
): AsyncGenerator<string> {
  const chunk = (
    delta: object,
    finish_reason: string | null,
    more: object = {},
    logprobs: object | null = null,
  ) =>
    dataEvent({
      ...head,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, logprobs, finish_reason }],
      ...more,
    })
  let [thinks, visible, reasoningTokens] = [false, false, 0]
  try {
    yield chunk({ role: "assistant", content: "" }, null)
    for await (const event of events) {
      if (event.type === "token" && !visible) reasoningTokens++
      thinks ||= event.type === "thinking"
      visible ||= event.type === "text" || event.type === "call_start"
      const delta = deltaOf(event)
      const tokens = event.type === "text" ? event.tokens : undefined
      if (delta) yield chunk(delta, null, {}, tokens ? (logprobsIn?.(tokens) ?? null) : null)
      if (event.type !== "end") continue
      checkEnd(event)
      const usage = { usage: usageOf(event, thinks ? reasoningTokens : 0) }
      yield chunk({}, finishOf(event.reason), { timings: timingsOf(event) })
      if (withUsage)
        yield dataEvent({ ...head, object: "chat.completion.chunk", choices: [], ...usage })
    }
    yield "data: [DONE]\n\n"
  } catch (error) {
    yield dataEvent(errorBody(asHttpError(error)))
  }
}

function deltaOf(event: GenerateEvent): object | null {
  switch (event.type) {
    case "thinking":
      return { reasoning_content: event.text }
    case "text":
      return { content: event.text }
    case "call_start":
      return { tool_calls: [{ index: event.index, ...callOf({ name: event.name, text: "" }) }] }
    case "call_arguments":
      return { tool_calls: [{ index: event.index, function: { arguments: event.text } }] }
    default:
      return null
  }
}

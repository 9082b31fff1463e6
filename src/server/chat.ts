/** POST /v1/chat/completions: OpenAI's chat, with DeepSeek's `reasoning_content`. */
import * as v from "valibot"
import { conversationOf, encodePrompt, render } from "../chat/index.ts"
import { answersTo, continueLast } from "./answer.ts"
import { collectBlocks } from "./blocks.ts"
import type { Body } from "./body.ts"
import { chatChunks, chatCompletion } from "./chat-answer.ts"
import { constrain, schemaAsked, responseFormat, type Wishes } from "./constraint.ts"
import {
  biasField,
  biasOf,
  COMMON,
  MOST_CHOICES,
  objectOf,
  readFields,
  samplingOf,
  stopsOf,
  tokenCount,
  whole,
} from "./fields.ts"
import type { Draft, Service } from "./generate.ts"
import { logprobsIn, MOST_LOGPROBS } from "./logprobs.ts"
import { budgetOf, effortField, reasoningOf, thinkingField } from "./reasoning.ts"
import { sseResponse } from "./sse.ts"

const toolChoice = v.optional(
  v.union([
    v.picklist(["auto", "none", "required"]),
    v.looseObject({ type: v.literal("function"), function: objectOf({ name: v.string() }) }),
  ]),
)

export const SHAPE = {
  ...COMMON,
  messages: v.pipe(v.array(objectOf({ role: v.string() })), v.minLength(1)),
  tools: v.optional(v.pipe(v.array(objectOf({})), v.maxLength(1024))),
  tool_choice: toolChoice,
  parallel_tool_calls: v.optional(v.boolean()),
  response_format: responseFormat,
  logprobs: v.optional(v.boolean()),
  top_logprobs: v.optional(whole(0, MOST_LOGPROBS)),
  max_completion_tokens: tokenCount,
  return_progress: v.optional(v.boolean()),
  n: v.optional(whole(1, MOST_CHOICES)),
  logit_bias: biasField,
  reasoning_effort: effortField,
  thinking: thinkingField,
}

export async function chatCompletions(
  service: Service,
  body: Body,
  signal: AbortSignal,
): Promise<Response> {
  const { fields, headers } = readFields(SHAPE, body)
  const head = {
    id: `chatcmpl-${crypto.randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: service.model,
  }
  const answers = answersTo(service, draftOf(service, fields, body), fields.n ?? 1, signal)
  const logprobs = fields.logprobs ? logprobsIn(service.tokenizer) : null
  if (fields.stream) {
    const withUsage = fields.stream_options?.include_usage ?? false
    return sseResponse(
      chatChunks(answers, head, withUsage, logprobs, fields.return_progress ?? false),
      headers,
    )
  }
  const all = await Promise.all(answers.map(collectBlocks))
  return Response.json(chatCompletion(all, head, logprobs), { headers })
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

function draftOf({ tokenizer, replay, client }: Service, fields: Fields, body: Body): Draft {
  const tree = new Map(body.tree)
  tree.delete("thinking") // of this API, read below
  tree.delete("effort")
  const conversation = conversationOf(tree)
  const goesOn = continueLast(conversation)
  const constraint = constrain(conversation, wishesOf(fields, body), tokenizer)
  const reasoning = reasoningOf(fields.reasoning_effort, fields.thinking)
  const spans = render(conversation, { ...reasoning, openAssistant: true, replay: replay.find })
  return {
    ids: encodePrompt(tokenizer, spans, client.info.context),
    format: reasoning.thinking && !goesOn ? "thinking" : "answer",
    maxTokens: fields.max_completion_tokens ?? fields.max_tokens,
    sampling: samplingOf(fields),
    stop: stopsOf(fields),
    ...biasOf(fields, tokenizer),
    ...budgetOf(fields.thinking),
    ...(constraint && { constraint }),
    ...(fields.logprobs && { logprobs: fields.top_logprobs ?? 0 }),
  }
}

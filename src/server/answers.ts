/** Shapes of answers, for /openapi.json. Nothing is checked by them at run time; a test holds answers of
 *  a running server to them. */
import * as v from "valibot"

const id = v.string()
const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const seconds = v.pipe(v.number(), v.integer())
const finish = v.nullable(v.picklist(["stop", "length", "tool_calls"]))

const usage = v.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: v.object({ cached_tokens: count }),
  completion_tokens_details: v.object({ reasoning_tokens: count }),
})

const timings = v.object({
  cache_n: count,
  prompt_n: count,
  prompt_ms: v.number(),
  prompt_per_second: v.number(),
  predicted_n: count,
  predicted_ms: v.number(),
  predicted_per_second: v.number(),
})

/** How every object of OpenAI's chat and text completions begins. */
const head = <T extends string>(object: T) => ({
  id,
  object: v.literal(object),
  created: seconds,
  model: v.string(),
})

const choiceOf = <E extends v.ObjectEntries>(entries: E) =>
  v.object({
    index: count,
    ...entries,
    logprobs: v.nullable(v.looseObject({})),
    finish_reason: finish,
  })

const call = v.object({
  id,
  type: v.literal("function"),
  function: v.object({ name: v.string(), arguments: v.string() }),
})

const callPart = v.object({
  index: count,
  id: v.optional(id),
  type: v.optional(v.literal("function")),
  function: v.object({ name: v.optional(v.string()), arguments: v.string() }),
})

/** Items of a response and blocks of a message, told apart by their type. */
const typed = v.looseObject({ type: v.string() })

const responseUsage = v.object({
  input_tokens: count,
  input_tokens_details: v.object({ cached_tokens: count }),
  output_tokens: count,
  output_tokens_details: v.object({ reasoning_tokens: count }),
  total_tokens: count,
})

const model = v.object({
  id,
  object: v.literal("model"),
  created: seconds,
  owned_by: v.string(),
  context_length: count,
})

/** By their names in the document. */
export const ANSWERS = {
  ChatCompletion: v.object({
    ...head("chat.completion"),
    choices: v.array(
      choiceOf({
        message: v.object({
          role: v.literal("assistant"),
          content: v.nullable(v.string()),
          reasoning_content: v.optional(v.string()),
          tool_calls: v.optional(v.array(call)),
        }),
      }),
    ),
    usage,
    timings,
  }),
  ChatCompletionChunk: v.object({
    ...head("chat.completion.chunk"),
    choices: v.array(
      choiceOf({
        delta: v.object({
          role: v.optional(v.literal("assistant")),
          content: v.optional(v.string()),
          reasoning_content: v.optional(v.string()),
          tool_calls: v.optional(v.array(callPart)),
        }),
      }),
    ),
    usage: v.optional(usage),
    timings: v.optional(timings),
  }),
  Completion: v.object({
    ...head("text_completion"),
    choices: v.array(choiceOf({ text: v.string() })),
    usage: v.optional(usage),
    timings: v.optional(timings),
  }),
  Response: v.object({
    id,
    object: v.literal("response"),
    created_at: seconds,
    status: v.picklist(["in_progress", "completed", "incomplete", "failed"]),
    model: v.string(),
    output: v.array(typed),
    error: v.nullable(v.object({ code: v.string(), message: v.string() })),
    incomplete_details: v.nullable(v.object({ reason: v.string() })),
    previous_response_id: v.nullable(id),
    metadata: v.record(v.string(), v.string()),
    usage: v.nullable(responseUsage),
  }),
  ResponseEvent: v.looseObject({ type: v.string(), sequence_number: count }),
  Message: v.object({
    id,
    type: v.literal("message"),
    role: v.literal("assistant"),
    model: v.string(),
    content: v.array(typed),
    stop_reason: v.nullable(v.picklist(["end_turn", "tool_use", "max_tokens", "stop_sequence"])),
    stop_sequence: v.nullable(v.string()),
    usage: v.object({
      input_tokens: count,
      cache_creation_input_tokens: count,
      cache_read_input_tokens: count,
      output_tokens: count,
    }),
  }),
  MessageEvent: typed,
  MessageTokens: v.object({ input_tokens: count }),
  Tokens: v.object({
    tokens: v.array(v.union([count, v.object({ id: count, piece: v.string() })])),
  }),
  Text: v.object({ content: v.string() }),
  Prompt: v.object({ prompt: v.string() }),
  Model: model,
  ModelList: v.object({ object: v.literal("list"), data: v.array(model) }),
  Health: v.object({ status: v.picklist(["loading", "ok", "busy"]) }),
  Document: v.looseObject({ openapi: v.string() }),
  Error: v.object({
    error: v.object({
      message: v.string(),
      type: v.string(),
      param: v.nullable(v.string()),
      code: v.nullable(v.string()),
    }),
  }),
  MessageError: v.object({
    type: v.literal("error"),
    error: v.object({ type: v.string(), message: v.string() }),
  }),
}

export type AnswerName = keyof typeof ANSWERS

/** Items of a response's output, and the events of its life. */
import type { GenerateEnd } from "../generate/types.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import type { Block, BlockEvent } from "./blocks.ts"
import { asHttpError } from "./errors.ts"
import { checkEnd } from "./generate.ts"
import { contentLogprobs } from "./logprobs.ts"
import { namedEvent } from "./sse.ts"

/** How a response ended. */
export function endOf({ reason, usage }: GenerateEnd) {
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
export const idOf = ({ kind }: Block) => PREFIX[kind] + hex()

/** The id of a call wherever it is named. */
export const callId = ({ id }: Block) => `call_${id}`

/** The content of a message or of reasoning. */
const partOf = (kind: Block["kind"], text: string, logprobs: readonly object[]) =>
  kind === "thinking"
    ? { type: "reasoning_text", text }
    : { type: "output_text", text, annotations: [], logprobs }

/** Log-probabilities of blocks, where they were asked for. */
const known = new WeakMap<Block, object[]>()
const logprobsOf = (block: Block): readonly object[] => known.get(block) ?? []

/** Events as they are; blocks get to know the log-probabilities of their tokens. */
export async function* withLogprobs(
  events: AsyncIterable<BlockEvent>,
  tokenizer: Tokenizer,
): AsyncGenerator<BlockEvent> {
  for await (const event of events) {
    if (event.type === "delta" && event.tokens) {
      const more = contentLogprobs(tokenizer, event.tokens)
      known.set(event.block, [...logprobsOf(event.block), ...more])
    }
    yield event
  }
}

/** An item of the output, as far as it has come. */
export function itemOf(block: Block, id: string, status = "completed"): object {
  const { kind, name, text } = block
  const content = status === "in_progress" ? [] : [partOf(kind, text, logprobsOf(block))]
  if (kind === "thinking") return { id, type: "reasoning", summary: [], content }
  if (kind === "text") return { id, type: "message", status, role: "assistant", content }
  const state = block.isCut ? "incomplete" : status
  return { id, type: "function_call", status: state, call_id: callId(block), name, arguments: text }
}

/** The life of a response; every event has its number. */
export async function* responseEvents(
  events: AsyncIterable<BlockEvent>,
  base: object,
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
      if (event.type === "progress") continue
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
      const all = logprobsOf(block)
      const nNew = event.type === "delta" ? (event.tokens?.length ?? 0) : 0
      for (const [type, fields] of EVENTS[event.type](
        block,
        id,
        text,
        all.slice(all.length - nNew),
      ))
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

/** How the texts of a message and of reasoning are called. */
const NAME = { text: "output_text", thinking: "reasoning_text" }

/** Events of a block: when it opens, grows and closes. */
const EVENTS = {
  open: (block: Block, id: string): Event[] => {
    const added: Event = ["response.output_item.added", { item: itemOf(block, id, "in_progress") }]
    if (block.kind === "call") return [added]
    const part = { item_id: id, content_index: 0, part: partOf(block.kind, "", []) }
    return [added, ["response.content_part.added", part]]
  },
  delta: (
    { kind }: Block,
    item_id: string,
    delta: string,
    logprobs: readonly object[],
  ): Event[] => {
    if (kind === "call") return [["response.function_call_arguments.delta", { item_id, delta }]]
    const more = kind === "text" ? { logprobs } : {}
    return [[`response.${NAME[kind]}.delta`, { item_id, content_index: 0, delta, ...more }]]
  },
  close: (block: Block, item_id: string): Event[] => {
    const { kind, name, text } = block
    const done: Event = ["response.output_item.done", { item: itemOf(block, item_id) }]
    if (kind === "call") {
      const fields = { item_id, name, arguments: text }
      return [["response.function_call_arguments.done", fields], done]
    }
    const at = { item_id, content_index: 0 }
    const logprobs = logprobsOf(block)
    return [
      [`response.${NAME[kind]}.done`, { ...at, text, ...(kind === "text" && { logprobs }) }],
      ["response.content_part.done", { ...at, part: partOf(kind, text, logprobs) }],
      done,
    ]
  },
}

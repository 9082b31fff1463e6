/** Answers of /v1/chat/completions: whole, and as a stream of chunks. */
import type { GenerateEnd, ShownToken } from "../generate/types.ts"
import { merged } from "./answer.ts"
import { type Block, type BlockEvent, callsOf, type Collected, textOf } from "./blocks.ts"
import { asHttpError, errorBody } from "./errors.ts"
import { checkEnd, finishOf, timingsOf, usageOf } from "./generate.ts"
import type { LogprobsOf } from "./logprobs.ts"
import { dataEvent } from "./sse.ts"

/** How the answer's objects begin. */
export interface Head {
  id: string
  created: number
  model: string
}

/** A call, or with no arguments yet how one begins. */
const callOf = ({ id, name }: Block, args: string) => ({
  id: `call_${id}`,
  type: "function",
  function: { name, arguments: args },
})

/** The whole answer, a choice for each of `all`. */
export function chatCompletion(
  all: readonly Collected[],
  head: Head,
  logprobs: LogprobsOf | null,
): object {
  const choices = all.map(({ blocks, tokens, end }, index) => {
    checkEnd(end)
    const calls = callsOf(blocks).map((block) => callOf(block, block.text))
    const [reasoning, content] = [textOf(blocks, "thinking"), textOf(blocks, "text")]
    const message = {
      role: "assistant",
      content: content === "" && calls.length > 0 ? null : content,
      ...(reasoning !== "" && { reasoning_content: reasoning }),
      ...(calls.length > 0 && { tool_calls: calls }),
    }
    const finish_reason = finishOf(end.reason)
    return { index, message, logprobs: logprobs?.(tokens) ?? null, finish_reason }
  })
  return {
    ...head,
    object: "chat.completion",
    choices,
    usage: usageOf(...all.map(({ end }) => end)),
    timings: timingsOf(all[0]!.end),
  }
}

/** Chunks of the choices; with usage, a last one of none. A failure after the first ends the stream with
 *  an error object and no [DONE]. */
export async function* chatChunks(
  answers: readonly AsyncGenerator<BlockEvent>[],
  head: Head,
  withUsage: boolean,
  logprobs: LogprobsOf | null,
  withProgress: boolean,
): AsyncGenerator<string> {
  const chunk = (choices: object[], more: object = {}) =>
    dataEvent({ ...head, object: "chat.completion.chunk", choices, ...more })
  const started = performance.now()
  const nCalls = answers.map(() => 0)
  const ends: GenerateEnd[] = []
  try {
    for (const index of answers.keys())
      yield chunk([choiceOf(index, { role: "assistant", content: "" })])
    for await (const [index, event] of merged(answers)) {
      if (event.type === "end") {
        checkEnd(event.end)
        ends[index] = event.end
        const last = choiceOf(index, {}, null, finishOf(event.end.reason))
        yield chunk([last], { timings: timingsOf(event.end) })
        continue
      }
      if (event.type === "progress") {
        if (withProgress)
          yield chunk([choiceOf(index, {})], { prompt_progress: progressOf(event, started) })
        continue
      }
      if (event.type === "open" && event.block.kind === "call") nCalls[index]!++
      const delta = deltaOf(event, nCalls[index]! - 1)
      if (delta) yield chunk([choiceOf(index, delta, logprobsIn(event, logprobs))])
    }
    if (withUsage) yield chunk([], { usage: usageOf(...ends) })
    yield "data: [DONE]\n\n"
  } catch (error) {
    yield dataEvent(errorBody(asHttpError(error)))
  }
}

/** llama-server's: tokens of the prompt, those that were there already, those read. */
const progressOf = (
  { done, total, cached }: BlockEvent & { type: "progress" },
  started: number,
) => ({ total, cache: cached, processed: done, time_ms: Math.round(performance.now() - started) })

const choiceOf = (
  index: number,
  delta: object,
  logprobs: object | null = null,
  finish_reason: string | null = null,
) => ({ index, delta, logprobs, finish_reason })

function logprobsIn(event: BlockEvent, logprobs: LogprobsOf | null): object | null {
  const tokens: ShownToken[] | undefined = event.type === "delta" ? event.tokens : undefined
  return tokens && logprobs ? logprobs(tokens) : null
}

/** What an event adds to the message. @param index of the call, if it is of one */
function deltaOf(
  event: Exclude<BlockEvent, { type: "end" | "progress" }>,
  index: number,
): object | null {
  const { block } = event
  if (event.type === "open")
    return block.kind === "call" ? { tool_calls: [{ index, ...callOf(block, "") }] } : null
  if (event.type === "close") return null
  if (block.kind === "call") return { tool_calls: [{ index, function: { arguments: event.text } }] }
  return block.kind === "thinking" ? { reasoning_content: event.text } : { content: event.text }
}

/** Answers as blocks, one or several to the same prompt. */
import type { Conversation } from "../chat/index.ts"
import { type Block, type BlockEvent, blocksOf } from "./blocks.ts"
import { type Draft, generate, type Service } from "./generate.ts"

/** An answer as it comes. Its calls are kept for when the client sends them back.
 *  @throws what generate throws */
export function answerTo(
  service: Service,
  draft: Draft,
  signal: AbortSignal,
): AsyncGenerator<BlockEvent> {
  return remembered(service, blocksOf(generate(service, draft, signal)))
}

async function* remembered(
  { replay }: Service,
  events: AsyncIterable<BlockEvent>,
): AsyncGenerator<BlockEvent> {
  const blocks: Block[] = []
  for await (const event of events) {
    if (event.type === "close") blocks.push(event.block)
    if (event.type === "end") replay.remember(event.end, blocks)
    yield event
  }
}

/** n answers to one prompt, with seeds that follow each other. The first reads the prompt, the others
 *  begin where it has. */
export function answersTo(
  service: Service,
  draft: Draft,
  n: number,
  signal: AbortSignal,
): AsyncGenerator<BlockEvent>[] {
  const begun = Promise.withResolvers<void>()
  const seed = draft.sampling?.seed
  return Array.from({ length: n }, (_, i) => {
    const own = seed === undefined ? {} : { seed: BigInt(seed) + BigInt(i) }
    const sampling = { ...draft.sampling, ...own }
    const events = answerTo(service, { ...draft, sampling }, signal)
    return i === 0 ? announcing(events, begun.resolve) : after(begun.promise, events)
  })
}

async function* announcing(
  events: AsyncIterable<BlockEvent>,
  begin: () => void,
): AsyncGenerator<BlockEvent> {
  try {
    for await (const event of events) {
      if (event.type !== "progress") begin()
      yield event
    }
  } finally {
    begin()
  }
}

async function* after(
  moment: Promise<void>,
  events: AsyncIterable<BlockEvent>,
): AsyncGenerator<BlockEvent> {
  await moment
  yield* events
}

/** Events of several answers in the order in which they come, each with the number of its answer. */
export async function* merged<T>(
  answers: readonly AsyncGenerator<T>[],
): AsyncGenerator<[index: number, event: T]> {
  const take = (i: number) => answers[i]!.next().then((result) => ({ i, result }))
  const next = new Map(answers.map((_, i) => [i, take(i)]))
  try {
    while (next.size > 0) {
      const { i, result } = await Promise.race(next.values())
      if (result.done) next.delete(i)
      else {
        next.set(i, take(i))
        yield [i, result.value]
      }
    }
  } finally {
    await Promise.all(answers.map((answer) => answer.return(undefined)))
  }
}

/** Makes a conversation that ends with an assistant's text go on with it. Returns whether it does. */
export function continueLast(conversation: Conversation): boolean {
  const last = conversation.messages.at(-1)
  const hasCalls = Array.isArray(last?.tool_calls) && last.tool_calls.length > 0
  if (last?.role !== "assistant" || hasCalls || !last.content) return false
  conversation.messages = [...conversation.messages.slice(0, -1), { ...last, wo_eos: true }]
  return true
}

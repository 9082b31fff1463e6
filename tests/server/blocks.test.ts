/** Events of the engine as blocks, and blocks as Anthropic has them. */
import { expect, test } from "bun:test"
import type { GenerateEnd, GenerateEvent } from "../../src/generate/types.ts"
import { type BlockEvent, blocksOf, collectBlocks } from "../../src/server/blocks.ts"

const END: GenerateEnd = {
  type: "end",
  reason: "tool_calls",
  ids: [1, 2, 3],
  text: "",
  usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 3, reasoningTokens: 0 },
  timings: { prefillMs: 1, firstTokenMs: 1, decodeMs: 1 },
}
const token: GenerateEvent = { type: "token", id: 1 }
const thinking = (text: string): GenerateEvent => ({ type: "thinking", text })
const text = (said: string): GenerateEvent => ({ type: "text", text: said })
const start = (index: number, name: string): GenerateEvent => ({ type: "call_start", index, name })
const argument = (index: number, part: string): GenerateEvent => ({
  type: "call_arguments",
  index,
  text: part,
})

async function* from(...events: GenerateEvent[]): AsyncGenerator<GenerateEvent> {
  yield* events
}

const short = (e: BlockEvent) =>
  e.type === "end" || e.type === "progress" ? e.type : `${e.type} ${e.block.index} ${e.block.kind}`

test("each block is opened, grows and is closed before the next", async () => {
  const events = from(
    { type: "prefill", done: 1, total: 1, cached: 0 },
    token,
    thinking("a"),
    token,
    thinking("b"),
    token,
    text("c"),
    start(0, "f"),
    argument(0, "{}"),
    { type: "call_end", index: 0 },
    start(1, "g"),
    argument(1, '{"n": 12345678901234567890}'),
    { type: "call_end", index: 1 },
    END,
  )
  const seen: string[] = []
  for await (const event of blocksOf(events)) seen.push(short(event))
  expect(seen).toEqual([
    "progress",
    ...["open 0 thinking", "delta 0 thinking", "delta 0 thinking", "close 0 thinking"],
    ...["open 1 text", "delta 1 text", "close 1 text"],
    ...["open 2 call", "delta 2 call", "close 2 call"],
    ...["open 3 call", "delta 3 call", "close 3 call"],
    "end",
  ])
})

test("a call that breaks off is marked", async () => {
  const events = from(token, start(0, "f"), argument(0, '{"a'), { type: "call_cut", index: 0 }, END)
  const { blocks } = await collectBlocks(blocksOf(events))
  expect(blocks).toMatchObject([{ kind: "call", name: "f", text: '{"a', isCut: true }])
})

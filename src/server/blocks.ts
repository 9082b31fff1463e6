/** What a model says as a list of blocks, which is how the newer APIs have it: reasoning, text, calls;
 *  each opened, grown and closed before the next. */
import type { GenerateEnd, GenerateEvent } from "../generate/types.ts"

export interface Block {
  index: number
  kind: "thinking" | "text" | "call"
  /** Of a call. */
  name: string
  /** All of it, when it is closed; of a call its arguments as JSON text. */
  text: string
  /** A call that broke off. */
  isCut: boolean
}

export type BlockEvent =
  | { type: "open"; block: Block }
  | { type: "delta"; block: Block; text: string }
  | { type: "close"; block: Block }
  /** The last event. Reasoning tokens are those before the first other block. */
  | { type: "end"; end: GenerateEnd; reasoningTokens: number }

/** @throws nothing of its own; an error that ended the generation is in the last event */
export async function* blocksOf(events: AsyncIterable<GenerateEvent>): AsyncGenerator<BlockEvent> {
  let open: Block | null = null
  let [index, reasoningTokens, visible, thought] = [0, 0, false, false]
  const opened = (kind: Block["kind"], name = ""): Block => {
    visible ||= kind !== "thinking"
    thought ||= kind === "thinking"
    return { index: index++, kind, name, text: "", isCut: false }
  }
  for await (const event of events) {
    if (event.type === "token" && !visible) reasoningTokens++
    const kind = kindOf(event)
    if (
      open &&
      (event.type === "end" || event.type === "call_start" || (kind && kind !== open.kind))
    ) {
      yield { type: "close", block: open }
      open = null
    }
    if (kind && !open && event.type !== "call_cut") {
      open = opened(kind, event.type === "call_start" ? event.name : "")
      yield { type: "open", block: open }
    }
    if (open && "text" in event && event.type !== "end") {
      open.text += event.text
      yield { type: "delta", block: open, text: event.text }
    }
    if (open && event.type === "call_cut") open.isCut = true
    if (event.type === "end") {
      yield { type: "end", end: event, reasoningTokens: thought ? reasoningTokens : 0 }
    }
  }
}

function kindOf(event: GenerateEvent): Block["kind"] | null {
  if (event.type === "thinking" || event.type === "text") return event.type
  return event.type === "call_start" || event.type === "call_arguments" ? "call" : null
}

/** All blocks of a generation, and its end. */
export async function collectBlocks(
  events: AsyncIterable<GenerateEvent>,
): Promise<{ blocks: Block[]; end: GenerateEnd; reasoningTokens: number }> {
  const blocks: Block[] = []
  for await (const event of blocksOf(events))
    if (event.type === "close") blocks.push(event.block)
    else if (event.type === "end") return { blocks, ...event }
  throw new Error("The generation ended without its last event")
}

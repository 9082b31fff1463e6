/** What a model says as a list of blocks, which is how the newer APIs have it: reasoning, text, calls;
 *  each opened, grown and closed before the next. */
import type { GenerateEnd, GenerateEvent, ShownToken } from "../generate/types.ts"

export interface Block {
  index: number
  /** Nobody else's; APIs put their own prefix before it. */
  id: string
  kind: "thinking" | "text" | "call"
  /** Of a call. */
  name: string
  /** All of it, when it is closed; of a call its arguments as JSON text. */
  text: string
  /** A call that broke off. */
  isCut: boolean
}

export type BlockEvent =
  /** The prompt is read so far. */
  | { type: "progress"; done: number; total: number; cached: number }
  | { type: "open"; block: Block }
  | { type: "delta"; block: Block; text: string; tokens?: ShownToken[] }
  | { type: "close"; block: Block }
  /** The last event. */
  | { type: "end"; end: GenerateEnd }

/** @throws nothing of its own; an error that ended the generation is in the last event */
export async function* blocksOf(events: AsyncIterable<GenerateEvent>): AsyncGenerator<BlockEvent> {
  let open: Block | null = null
  let index = 0
  const opened = (kind: Block["kind"], name = ""): Block => {
    const id = crypto.randomUUID().replaceAll("-", "")
    return { index: index++, id, kind, name, text: "", isCut: false }
  }
  for await (const event of events) {
    if (event.type === "prefill") {
      const { done, total, cached } = event
      yield { type: "progress", done, total, cached }
      continue
    }
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
      const tokens = event.type === "text" && event.tokens ? { tokens: event.tokens } : {}
      yield { type: "delta", block: open, text: event.text, ...tokens }
    }
    if (open && event.type === "call_cut") open.isCut = true
    if (event.type === "end") yield { type: "end", end: event }
  }
}

function kindOf(event: GenerateEvent): Block["kind"] | null {
  if (event.type === "thinking" || event.type === "text") return event.type
  return event.type === "call_start" || event.type === "call_arguments" ? "call" : null
}

/** All that a generation said. */
export interface Collected {
  blocks: Block[]
  /** Tokens of the visible text, where they were asked for. */
  tokens: ShownToken[]
  end: GenerateEnd
}

export async function collectBlocks(events: AsyncIterable<BlockEvent>): Promise<Collected> {
  const blocks: Block[] = []
  const tokens: ShownToken[] = []
  for await (const event of events)
    if (event.type === "close") blocks.push(event.block)
    else if (event.type === "delta") tokens.push(...(event.tokens ?? []))
    else if (event.type === "end") return { blocks, tokens, end: event.end }
  throw new Error("The generation ended without its last event")
}

/** The texts of all blocks of a kind, joined. */
export const textOf = (blocks: readonly Block[], kind: Block["kind"]): string =>
  blocks.flatMap((b) => (b.kind === kind ? [b.text] : [])).join("")

/** Calls that are whole. */
export const callsOf = (blocks: readonly Block[]): Block[] =>
  blocks.filter((b) => b.kind === "call" && !b.isCut)

/** The first half of rendering: messages as clients send them become the turns that the protocol
 *  knows. Tool results move into user turns, neighbouring user messages become one. Spec §16.2. */

import { JsonNumber, parseJson, toJson } from "./json.ts"
import type { Json, JsonObject } from "./json.ts"
import { RenderError } from "./types.ts"
import type { Conversation, Message } from "./types.ts"

/** One block of a user turn. `id` is set on tool results, perhaps to an empty id. */
export interface Block {
  id?: string
  content: unknown
  path: string
}

/** A call as it stands in the history. */
export interface Call {
  id: string | undefined
  name: string
  arguments: Json | undefined
  path: string
}

/** A message after merging. Its values are looked at when it is rendered: a turn that is dropped
 *  may hold anything. */
export interface Turn {
  role: string
  /** Of a user turn, instead of its content. */
  blocks?: Block[]
  task?: string
  message: Message
  path: string
}

const field = (value: Json | undefined, key: string): Json | undefined =>
  value instanceof Map ? (value as JsonObject).get(key) : undefined

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

/** The text of a content. Parts are joined by empty lines, those without text named; what is absent
 *  is empty. `null` means empty or is refused. */
export function contentText(content: unknown, path: string, nullIsEmpty: boolean): string {
  if (typeof content === "string") return content
  if (content === undefined || (content === null && nullIsEmpty)) return ""
  const refuse = (what: string): RenderError =>
    new RenderError("content_not_text", `Cannot render content: it is ${what}, expected text`, path)
  if (!Array.isArray(content)) throw refuse(content === null ? "null" : `a ${typeof content}`)
  const parts = content.map((part) => {
    if (typeof part === "string") return part
    const tree = toJson(part)
    if (!(tree instanceof Map)) throw refuse("a list with something other than parts")
    if (tree.get("type") !== "text") return `[Unsupported ${text(tree.get("type")) ?? "part"}]`
    const own = tree.get("text") ?? (tree.has("text") ? null : "")
    if (typeof own !== "string") throw refuse("a part whose text is no text")
    return own
  })
  return parts.join("\n\n")
}

/** The tools of a message or request as an array of trees. */
export function toolList(tools: unknown, path: string): Json[] {
  if (tools === undefined || tools === null) return []
  const tree = typeof tools === "string" ? parseJson(tools) : toJson(tools)
  if (Array.isArray(tree)) return tree
  throw new RenderError("bad_request", "Cannot render tools: expected an array", path)
}

/** What the model is shown of tools: their `function` objects. */
export function toolFunctions(tools: Json[], path: string): Json[] {
  return tools.map((tool, i) => {
    const shown = field(tool, "function")
    if (shown !== undefined && shown !== null) return shown
    throw new RenderError(
      "tool_without_function",
      'Cannot render a tool: expected {"type": "function", "function": {…}}',
      `${path}.tools[${i}]`,
    )
  })
}

/** Empty as Python has it: such a response format counts as none. */
export function isEmpty(value: Json): boolean {
  if (value instanceof JsonNumber) return Number(value.text) === 0
  if (value instanceof Map) return value.size === 0
  return typeof value === "boolean" ? !value : value === null || value.length === 0
}

/** The calls of an assistant message. */
export function callList(message: Message, path: string): Call[] {
  const calls = toJson(message.tool_calls)
  if (calls === null) return []
  if (!Array.isArray(calls)) {
    throw new RenderError("bad_request", "Cannot render tool_calls: expected an array", path)
  }
  return calls.map((call, i) => {
    const place = `${path}.tool_calls[${i}]`
    const name = field(field(call, "function"), "name")
    if (typeof name !== "string") {
      throw new RenderError(
        "call_without_function",
        'Cannot render a call: expected {"function": {"name": …, "arguments": …}}',
        place,
      )
    }
    const fn = field(call, "function")
    const id = text(field(call, "id")) || text(field(fn, "id")) || undefined
    return { id, name, arguments: field(fn, "arguments"), path: place }
  })
}

/** Puts the tools of the request where the protocol shows them: on the first message if that is a
 *  system message, else on an empty one before it. */
function withTools(conversation: Conversation): readonly Message[] {
  const { messages } = conversation
  const tools = toolList(conversation.tools, "tools")
  if (tools.length === 0) return messages
  const [first, ...rest] = messages
  const shown = tools as unknown as Message["tools"] & object
  if (first?.role === "system") return [{ ...first, tools: shown }, ...rest]
  return [{ role: "system", content: "", tools: shown }, ...messages]
}

/** Merges messages into turns and sorts tool results.
 *  @throws RenderError if there is no array of messages. */
export function makeTurns(conversation: Conversation): Turn[] {
  if (!Array.isArray(conversation.messages)) {
    throw new RenderError("bad_request", "Cannot render messages: expected an array", "messages")
  }
  const turns: Turn[] = []
  const messages = withTools(conversation)
  const added = messages.length - conversation.messages.length
  messages.forEach((message, i) => {
    const path = i < added ? "request" : `messages[${i - added}]`
    const role = text(message?.role)
    if (role === undefined) {
      throw new RenderError("unknown_role", "Cannot render a message without a role", path)
    }
    const last = turns.at(-1)
    const { content } = message
    const task = typeof message.task === "string" ? { task: message.task } : {}
    if (role === "tool") {
      const block: Block = { id: text(message.tool_call_id) ?? "", content, path }
      if (last?.blocks) last.blocks.push(block)
      else turns.push({ role: "user", blocks: [block], message, path })
    } else if (role === "user") {
      if (last?.blocks && last.task === undefined) last.blocks.push({ content, path })
      else turns.push({ role, blocks: [{ content, path }], message, path, ...task })
    } else {
      turns.push({ role, message, path, ...task })
    }
  })
  sortResults(turns)
  return turns
}

/** Results stand in the order of the calls they answer, those of unknown calls with the first. */
function sortResults(turns: Turn[]): void {
  let order = new Map<string, number>()
  for (const { role, blocks, message, path } of turns) {
    if (role === "assistant" && hasItems(message.tool_calls)) {
      const calls = callList(message, path)
      order = new Map(calls.flatMap(({ id }, i) => (id === undefined ? [] : [[id, i] as const])))
    }
    if (!blocks || order.size === 0) continue
    const place = (block: Block): number => order.get(block.id!) ?? 0
    const results = blocks.filter((block) => block.id !== undefined)
    results.sort((a, b) => place(a) - place(b))
    let next = 0
    blocks.forEach((block, i) => {
      if (block.id !== undefined) blocks[i] = results[next++]!
    })
  }
}

export const hasItems = (list: unknown): boolean => Array.isArray(list) && list.length > 0

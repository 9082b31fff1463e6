/** Anthropic's messages as a conversation of our own: blocks become reasoning, text, calls and results.
 *  Schemas and inputs stay the trees they are, so that the model sees what the client wrote. */
import type { Conversation, Json, JsonObject, Message, Tool } from "../chat/index.ts"
import { badRequest } from "./errors.ts"

export function messagesConversation(tree: JsonObject): Conversation {
  const system = tree.get("system")
  const first: Message[] =
    system === undefined ? [] : [{ role: "system", content: partsOf(system) as never }]
  const rest = (tree.get("messages") as JsonObject[]).flatMap((message, i) =>
    messagesOf(message, `messages.${i}`),
  )
  const tools = ((tree.get("tools") as JsonObject[] | undefined) ?? []).flatMap(toolOf)
  return { messages: [...first, ...rest], ...(tools.length > 0 && { tools }) }
}

/** Tools that a server would run by itself (web_search_20250305, …) are left out: it cannot. */
function toolOf(tool: JsonObject): Tool[] {
  const type = tool.get("type") ?? "custom"
  if (type !== "custom") return []
  const fields: [string, Json | undefined][] = [
    ["name", tool.get("name")],
    ["description", tool.get("description")],
    ["parameters", tool.get("input_schema")],
  ]
  const given = fields.filter((f): f is [string, Json] => f[1] !== undefined)
  return [{ type: "function", function: new Map(given) }]
}

function messagesOf(message: JsonObject, path: string): Message[] {
  const role = message.get("role") as string
  const content = message.get("content")!
  if (typeof content === "string") return [{ role, content }]
  const blocks = content as JsonObject[]
  return role === "assistant" ? [assistantOf(blocks, path)] : othersOf(role, blocks)
}

/** Results of calls come before what the user says to them. */
function othersOf(role: string, blocks: readonly JsonObject[]): Message[] {
  const results = blocks.filter((b) => b.get("type") === "tool_result")
  const parts = blocks.filter((b) => b.get("type") !== "tool_result")
  const said: Message[] = parts.length > 0 ? [{ role, content: partsOf(parts) as never }] : []
  return [
    ...results.map((b) => ({
      role: "tool",
      tool_call_id: String(b.get("tool_use_id") ?? ""),
      content: partsOf(b.get("content") ?? "") as never,
    })),
    ...said,
  ]
}

function assistantOf(blocks: readonly JsonObject[], path: string): Message {
  const message: Message = { role: "assistant", content: "" }
  const calls: NonNullable<Message["tool_calls"]>[number][] = []
  blocks.forEach((block, i) => {
    const text = (field: string) => String(block.get(field) ?? "")
    switch (block.get("type")) {
      case "thinking":
        message.reasoning_content = (message.reasoning_content ?? "") + text("thinking")
        break
      case "redacted_thinking":
        break
      case "text":
        message.content = `${message.content as string}${text("text")}`
        break
      case "tool_use":
        calls.push({
          id: text("id"),
          type: "function",
          function: { name: text("name"), arguments: block.get("input") ?? new Map() },
        })
        break
      default: {
        const at = `${path}.content.${i}`
        throw badRequest(`${at}: an assistant's ${text("type")} block is not supported`, at)
      }
    }
  })
  return calls.length > 0 ? { ...message, tool_calls: calls } : message
}

/** Text as it is; of parts, text without what belongs to caching. */
function partsOf(content: Json): Json {
  if (!Array.isArray(content)) return content
  return content.map((part) => {
    if (!(part instanceof Map) || part.get("type") !== "text") return part
    return new Map<string, Json>([
      ["type", "text"],
      ["text", part.get("text") ?? ""],
    ])
  })
}

/** Items of OpenAI's Responses API as a conversation of our own. What an assistant thought, said and
 *  called comes as items one after the other and is one message here. */
import type { Json, JsonObject, Message, Tool } from "../chat/index.ts"
import { badRequest } from "./errors.ts"

/** Messages of an `input`: a text of the user, or items. @throws HttpError 400 naming the item */
export function inputMessages(input: Json): Message[] {
  if (typeof input === "string") return [{ role: "user", content: input }]
  const messages: Message[] = []
  ;(input as JsonObject[]).forEach((item, i) => addItem(messages, item, `input.${i}`))
  return messages
}

/** Function tools; those that a server would run by itself are left out: it cannot. */
export function inputTools(tools: Json | undefined): Tool[] {
  return ((tools ?? []) as JsonObject[]).flatMap((tool) => {
    if (tool.get("type") !== "function") return []
    const fields = ["name", "description", "parameters", "strict"]
    const given = fields.flatMap((name): [string, Json][] => {
      const value = tool.get(name)
      return value === undefined || value === null ? [] : [[name, value]]
    })
    return [{ type: "function", function: new Map(given) }]
  })
}

function addItem(messages: Message[], item: JsonObject, path: string): void {
  const text = (field: string) => String(item.get(field) ?? "")
  const assistant = (): Message => {
    const last = messages.at(-1)
    if (last?.role === "assistant") return last
    messages.push({ role: "assistant", content: "" })
    return messages.at(-1)!
  }
  switch (item.get("type") ?? "message") {
    case "message": {
      const content = partsOf(item.get("content") ?? "")
      if (item.get("role") !== "assistant")
        messages.push({ role: text("role"), content } as Message)
      else assistant().content = `${assistant().content as string}${joined(content)}`
      return
    }
    case "reasoning":
      assistant().reasoning_content = joined(partsOf(item.get("content") ?? []))
      return
    case "function_call": {
      const call = {
        id: text("call_id"),
        type: "function",
        function: { name: text("name"), arguments: item.get("arguments") ?? "" },
      }
      const message = assistant()
      message.tool_calls = [...(message.tool_calls ?? []), call]
      return
    }
    case "function_call_output": {
      const content = partsOf(item.get("output") ?? "")
      messages.push({ role: "tool", tool_call_id: text("call_id"), content } as Message)
      return
    }
    case "item_reference":
      throw badRequest(`${path}: there is no item ${text("id")} here; send it as it is`, path)
    default:
      throw badRequest(`${path}: items of type ${text("type")} are not supported`, path)
  }
}

/** Parts with the names that chat has for them. */
function partsOf(content: Json): Json {
  if (!Array.isArray(content)) return content
  return content.map((part) => {
    const isText = part instanceof Map && typeof part.get("text") === "string"
    if (!isText) return part
    return new Map<string, Json>([
      ["type", "text"],
      ["text", part.get("text")!],
    ])
  })
}

function joined(content: Json): string {
  if (!Array.isArray(content)) return typeof content === "string" ? content : ""
  return content.map((part) => (part instanceof Map ? String(part.get("text") ?? "") : "")).join("")
}

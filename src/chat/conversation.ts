/** Conversations from JSON text: request bodies, and files of one object or an object a line. They
 *  are read with `parseJson`, so that what the model sees of schemas and arguments is what the
 *  client wrote. */

import { parseJson } from "./json.ts"
import type { Json } from "./json.ts"
import { RenderError } from "./types.ts"
import type { Conversation, Message } from "./types.ts"

/** Reads one conversation: `messages`, and if there `tools`, `thinking`, `effort` and
 *  `drop_thinking`. Other fields are left alone.
 *  @throws RenderError `bad_json`, `bad_request` or `unknown_mode`. */
export function parseConversation(rawJson: string): Conversation {
  return conversationOf(parseJson(rawJson))
}

/** `parseConversation` for a text that is already a tree. */
export function conversationOf(tree: Json): Conversation {
  if (!(tree instanceof Map)) throw bad("the conversation", "an object")
  const messages = tree.get("messages")
  if (!Array.isArray(messages)) throw bad("messages", "an array", "messages")
  const conversation: Conversation = {
    messages: messages.map((message, i) => {
      if (message instanceof Map) return Object.fromEntries(message) as unknown as Message
      throw bad("a message", "an object", `messages[${i}]`)
    }),
  }
  const tools = tree.get("tools") ?? null
  if (tools !== null) {
    if (!Array.isArray(tools)) throw bad("tools", "an array", "tools")
    conversation.tools = tools as unknown as NonNullable<Message["tools"]>
  }
  const thinking = tree.get("thinking") ?? null
  if (typeof thinking === "boolean") conversation.thinking = thinking
  else if (thinking !== null) {
    throw new RenderError(
      "unknown_mode",
      "Cannot read thinking: expected true or false",
      "thinking",
    )
  }
  const effort = tree.get("effort") ?? null
  if (typeof effort === "string") conversation.effort = effort
  else if (effort !== null) throw bad("effort", "a string", "effort")
  const drop = tree.get("drop_thinking") ?? null
  if (typeof drop === "boolean") conversation.dropThinking = drop
  else if (drop !== null) throw bad("drop_thinking", "true or false", "drop_thinking")
  return conversation
}

const bad = (what: string, wanted: string, path?: string): RenderError =>
  new RenderError("bad_request", `Cannot read ${what}: expected ${wanted}`, path)

/** Reads the text of a file of conversations: one object, over as many lines as it likes, or an
 *  object a line.
 *  @throws RenderError as `parseConversation`, with the line where there are several. */
export function parseConversations(text: string): Conversation[] {
  const body = text.replace(/^\ufeff/, "")
  // Only "\n" ends a line: texts may hold U+2028 or U+0085.
  const lines = body.split("\n")
  const filled = lines.flatMap((line, i) => (/^[ \t\r]*$/.test(line) ? [] : [{ line, n: i + 1 }]))
  if (filled.length < 2 || !isWhole(filled[0]!.line)) return [parseConversation(body)]
  return filled.map(({ line, n }) => {
    try {
      return parseConversation(line)
    } catch (error) {
      if (!(error instanceof RenderError)) throw error
      throw new RenderError(error.code, `${error.message} (line ${n})`, error.path, {
        cause: error,
      })
    }
  })
}

function isWhole(line: string): boolean {
  try {
    parseJson(line)
    return true
  } catch {
    return false
  }
}

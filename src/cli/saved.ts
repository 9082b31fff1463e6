/** Conversations in files: as JSON to go on with, as Markdown to read. */
import { readFileSync, writeFileSync } from "node:fs"
import { type Message, parseConversation } from "../chat/index.ts"
import { CliError } from "../errors.ts"
import { reasonOf } from "./prompt.ts"

/** Writes a file. @throws CliError when that fails. */
export function writeText(path: string, text: string): void {
  try {
    writeFileSync(path, text)
  } catch (error) {
    throw new CliError(`Cannot write ${path}: ${reasonOf(error)}`)
  }
}

export const jsonText = (messages: readonly Message[]): string =>
  `${JSON.stringify({ messages }, null, 2)}\n`

/** Reads what `jsonText` wrote, or any conversation of texts in the same form.
 *  @throws CliError naming the file and what is wrong with it. */
export function loadMessages(path: string): Message[] {
  const refuse = (why: string) => new CliError(`Cannot load ${path}: ${why}`)
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (error) {
    throw refuse(reasonOf(error))
  }
  let messages: readonly Message[]
  try {
    parseConversation(text) // says what is missing better than we can
    messages = (JSON.parse(text) as { messages: Message[] }).messages
  } catch (error) {
    throw refuse((error as Error).message)
  }
  messages.forEach(({ role, content }, i) => {
    if (typeof role !== "string" || (content !== null && typeof content !== "string"))
      throw refuse(`messages[${i}] is no role with a text`)
  })
  return [...messages]
}

/** A conversation to read; reasoning is folded away. */
export function markdownText(messages: readonly Message[]): string {
  const names: Record<string, string> = { user: "You", assistant: "ds4", system: "System" }
  const parts = messages.map(
    ({ role, content, reasoning_content: reasoning, tool_calls: calls }) => {
      const folded = `<details><summary>Reasoning</summary>\n\n${reasoning}\n\n</details>`
      const called = calls?.map(({ function: f }) => `\`${f.name} ${String(f.arguments)}\``)
      const body = [reasoning ? folded : "", String(content ?? ""), ...(called ?? [])]
      return [`## ${names[role] ?? role}`, ...body.filter(Boolean)].join("\n\n")
    },
  )
  return `${parts.join("\n\n")}\n`
}

/** Conversations out of the page: to the clipboard and into files. */
import type { Message } from "./store.ts"

/** Only pages of this machine or by https have a clipboard; others have the old way. */
export function copyText(text: string): void {
  if (navigator.clipboard) return void navigator.clipboard.writeText(text)
  const area = document.createElement("textarea")
  area.value = text
  document.body.append(area)
  area.select()
  document.execCommand("copy")
  area.remove()
}

/** Saves the messages one looks at as a file. */
export function saveFile(title: string, messages: readonly Message[], format: "md" | "json"): void {
  const text = format === "md" ? markdownOf(title, messages) : jsonOf(title, messages)
  const type = format === "md" ? "text/markdown" : "application/json"
  const a = document.createElement("a")
  a.href = URL.createObjectURL(new Blob([text], { type }))
  a.download = `${title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "conversation"}.${format}`
  a.click()
  URL.revokeObjectURL(a.href)
}

function jsonOf(title: string, messages: readonly Message[]): string {
  const said = messages.map(({ role, content, reasoning }) => ({
    role,
    content,
    ...(reasoning !== "" && { reasoning_content: reasoning }),
  }))
  return `${JSON.stringify({ title, messages: said }, null, 2)}\n`
}

function markdownOf(title: string, messages: readonly Message[]): string {
  const parts = messages.map(({ role, content, reasoning }) => {
    const thoughts = reasoning === "" ? "" : `${reasoning.trim().replace(/^/gm, "> ")}\n\n`
    return `## ${role === "user" ? "User" : "Assistant"}\n\n${thoughts}${content.trim()}\n`
  })
  return [`# ${title.replace(/\s+/g, " ")}\n`, ...parts].join("\n")
}

/** The page: a conversation with the model. State is in the store; what one sees is drawn from it, and
 *  only the message that grows is drawn again while it grows. */
import { drawMessage, type MessageView } from "./message.ts"
import { type Message, Store } from "./store.ts"
import { ask } from "./stream.ts"

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const store = new Store()
const messages = $("messages")
const text = $<HTMLTextAreaElement>("text")
const send = $<HTMLButtonElement>("send")
let running: AbortController | null = null
let contextLength = 0

const SETTINGS = ["thinking", "temperature", "system"] as const
const SETTINGS_KEY = "ds4.settings"

function settings(): Record<(typeof SETTINGS)[number], string> {
  const of = (id: string) => $<HTMLInputElement>(id).value
  return { thinking: of("thinking"), temperature: of("temperature"), system: of("system") }
}

// --- drawing ---

/** Draws the conversation. Returns the view of its last message. */
function draw(): MessageView | undefined {
  const all = store.path().map(viewOf)
  const views = all.map((view) => view.element)
  const empty = document.createElement("p")
  empty.className = "empty"
  empty.textContent = "Nothing said yet."
  messages.replaceChildren(...(views.length > 0 ? views : [empty]))
  messages.scrollTop = messages.scrollHeight
  drawConversations()
  return all.at(-1)
}

function drawConversations(): void {
  const options = store.all.map((c) => new Option(c.title, c.id, false, c === store.current))
  $<HTMLSelectElement>("conversations").replaceChildren(...options)
}

function viewOf(message: Message): MessageView {
  const siblings = store.siblings(message)
  const at = siblings.indexOf(message)
  const go = (step: number) => {
    const to = siblings[at + step]
    if (!to || running) return
    store.show(to)
    draw()
  }
  return drawMessage(message, {
    place: siblings.length > 1 ? `${at + 1} / ${siblings.length}` : null,
    onPrevious: () => go(-1),
    onNext: () => go(1),
    onRetry: () => void retry(message),
    onEdit: () => edit(message),
  })
}

// --- talking ---

async function submit(content: string, parent: string | null): Promise<void> {
  if (running || content.trim() === "") return
  await answer(store.add("user", content, parent))
}

async function retry(message: Message): Promise<void> {
  const question = store.current.messages[message.parent ?? ""]
  if (!running && question) await answer(question)
}

/** Puts a message back into the composer; what is sent then stands beside it. */
function edit(message: Message): void {
  if (running) return
  text.value = message.content
  text.dataset["parent"] = message.parent ?? ""
  text.focus()
  resize()
}

async function answer(question: Message): Promise<void> {
  const { thinking, temperature, system } = settings()
  const reply = store.add("assistant", "", question.id)
  const view = draw()!
  const history = store.path().slice(0, -1)
  running = new AbortController()
  send.textContent = "Stop"
  status("Reading …")
  const started = performance.now()
  try {
    const body = {
      messages: [
        ...(system === "" ? [] : [{ role: "system", content: system }]),
        ...history.map(({ role, content }) => ({ role, content })),
      ],
      temperature: Number(temperature),
      reasoning_effort: thinking,
    }
    for await (const delta of ask(body, running.signal)) {
      reply.reasoning += delta.reasoning ?? ""
      if (delta.content && reply.content === "" && reply.reasoning !== "")
        reply.thinkingMs = performance.now() - started
      reply.content += delta.content ?? ""
      status(delta.content ? "Answering …" : "Thinking …")
      if (delta.end) finish(reply, delta.end)
      const isAtEnd = messages.scrollTop + messages.clientHeight > messages.scrollHeight - 80
      view.update()
      if (isAtEnd) messages.scrollTop = messages.scrollHeight
    }
  } catch (error) {
    if (running.signal.aborted) reply.note = "stopped"
    else reply.error = (error as Error).message
  }
  running = null
  send.textContent = "Send"
  status("")
  store.save()
  draw()
  text.focus()
}

function finish(
  reply: Message,
  end: { tokensPerSecond: number; cached: number; total: number; reason: string },
) {
  const cut = end.reason === "length" ? ", cut by the context" : ""
  reply.note = `${end.tokensPerSecond.toFixed(0)} tokens/s, ${end.cached} cached${cut}`
  if (contextLength > 0) $<HTMLMeterElement>("context").value = end.total / contextLength
  $("context").title = `${end.total} of ${contextLength} tokens of context`
}

const status = (line: string) => ($("status").textContent = line)

// --- controls ---

function resize(): void {
  text.style.height = "auto"
  text.style.height = `${text.scrollHeight + 2}px`
}

$<HTMLFormElement>("composer").addEventListener("submit", (event) => {
  event.preventDefault()
  if (running) return running.abort()
  const { value } = text
  const parent = text.dataset["parent"]
  text.value = ""
  delete text.dataset["parent"]
  resize()
  void submit(value, parent === undefined ? store.current.leaf : parent || null)
})
text.addEventListener("input", resize)
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
  event.preventDefault()
  $<HTMLFormElement>("composer").requestSubmit()
})
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort()
  if (event.altKey && event.key.toLowerCase() === "n") $("new").click()
})
$("new").addEventListener("click", () => {
  if (running) return
  store.create()
  draw()
  text.focus()
})
$("delete").addEventListener("click", () => {
  if (running || !confirm(`Delete "${store.current.title}"?`)) return
  store.remove()
  draw()
})
$("export").addEventListener("click", () => {
  const { title } = store.current
  const lines = store.path().map(({ role, content, reasoning }) => ({ role, content, reasoning }))
  const blob = new Blob([JSON.stringify({ title, messages: lines }, null, 2)])
  const a = document.createElement("a")
  a.href = URL.createObjectURL(blob)
  a.download = "conversation.json"
  a.click()
  URL.revokeObjectURL(a.href)
})
$<HTMLSelectElement>("conversations").addEventListener("change", (event) => {
  if (running) return
  store.choose((event.target as HTMLSelectElement).value)
  draw()
})

const saved = JSON.parse(localStorage.getItem(SETTINGS_KEY) ?? "{}") as Record<string, string>
for (const id of SETTINGS) {
  const input = $<HTMLInputElement>(id)
  if (saved[id] !== undefined) input.value = saved[id]
  input.addEventListener("change", () =>
    localStorage.setItem(SETTINGS_KEY, JSON.stringify(settings())),
  )
}

async function greet(): Promise<void> {
  const { data } = (await (await fetch("/v1/models")).json()) as {
    data: { id: string; context_length: number }[]
  }
  contextLength = data[0]!.context_length
  $("model").textContent = data[0]!.id
  document.title = data[0]!.id
}

draw()
greet().catch(() => status("The server does not answer."))

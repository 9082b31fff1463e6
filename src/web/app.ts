/** The page: a conversation with the model. State is in the store; what one sees is drawn from it, and
 *  only the message that grows is drawn again while it grows. */
import { drawMessage, type MessageView } from "./message.ts"
import { saveFile } from "./save.ts"
import { keepSettings, keyHeader, requestFields, systemText } from "./settings.ts"
import { type Message, Store } from "./store.ts"
import { ask, type End } from "./stream.ts"

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T
const store = new Store()
const messages = $("messages")
const text = $<HTMLTextAreaElement>("text")
const send = $<HTMLButtonElement>("send")
let running: AbortController | null = null
let contextLength = 0

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
  drawContext()
  return all.at(-1)
}

function drawConversations(): void {
  const options = store.all.map((c) => new Option(c.title, c.id, false, c === store.current))
  $<HTMLSelectElement>("conversations").replaceChildren(...options)
}

/** How full the context is after the last answer. */
function drawContext(): void {
  const total = store.path().findLast((m) => m.total !== undefined)?.total ?? 0
  const context = $("context")
  context.hidden = total === 0 || contextLength === 0
  if (context.hidden) return
  context.querySelector("meter")!.value = total / contextLength
  context.querySelector("span")!.textContent = `${total} of ${contextLength}`
  context.title = "Tokens of context in use"
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
  const system = systemText()
  const reply = store.add("assistant", "", question.id)
  const view = draw()!
  const history = store.path().filter((m) => m !== reply && m.error === undefined)
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
      ...requestFields(),
    }
    for await (const delta of ask(body, keyHeader(), running.signal)) {
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

function finish(reply: Message, end: End): void {
  const { tokens, tokensPerSecond, cached, prompt, reason } = end
  const speed = `${tokens} tokens, ${tokensPerSecond.toFixed(0)} tokens/s`
  const cut = reason === "length" ? ", cut by the limit" : ""
  reply.note = `${speed}, ${cached} of ${prompt} cached${cut}`
  reply.total = prompt + tokens
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
  const last = store.path().findLast((m) => m.role === "user")
  if (event.key === "ArrowUp" && text.value === "" && last) edit(last)
  else if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
  else $<HTMLFormElement>("composer").requestSubmit()
  event.preventDefault()
})
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (running) running.abort()
    else text.focus()
  }
  if (event.altKey && event.key.toLowerCase() === "n") $("new").click()
})
$("new").addEventListener("click", () => {
  if (running) return
  store.create()
  draw()
  text.focus()
})
$<HTMLSelectElement>("more").addEventListener("change", (event) => {
  const menu = event.target as HTMLSelectElement
  const { value } = menu
  menu.value = ""
  const { title } = store.current
  if (value === "md" || value === "json") return saveFile(title, store.path(), value)
  if (running || !confirm(`Delete "${title}"?`)) return
  store.remove()
  draw()
})
$<HTMLSelectElement>("conversations").addEventListener("change", (event) => {
  if (running) return
  store.choose((event.target as HTMLSelectElement).value)
  draw()
})

/** Asks who answers here. */
async function greet(): Promise<void> {
  const response = await fetch("/v1/models", { headers: keyHeader() })
  if (response.status === 401) {
    $<HTMLDetailsElement>("settings").open = true
    return void status("This server wants its API key")
  }
  const { data } = (await response.json()) as { data: { id: string; context_length: number }[] }
  contextLength = data[0]!.context_length
  $("model").textContent = data[0]!.id
  document.title = data[0]!.id
  status("")
  drawContext()
}
const greeted = () => greet().catch(() => status("The server does not answer"))

keepSettings(() => void greeted())
draw()
void greeted()

/** One message as an element that can grow. */
import { element, renderMarkdown } from "./markdown.ts"
import { copyText } from "./save.ts"
import type { Message } from "./store.ts"

export interface MessageView {
  element: HTMLElement
  /** Draws what has come since. */
  update(): void
}

export interface Actions {
  /** "2 / 3" where there are siblings. */
  place: string | null
  onPrevious(): void
  onNext(): void
  onRetry(): void
  onEdit(): void
}

export function drawMessage(message: Message, actions: Actions): MessageView {
  const article = element("article")
  article.className = message.role
  const body = element("div")
  body.className = "body"
  const note = element("span")
  const thoughts = message.role === "assistant" ? thoughtsOf(message) : null
  const bar = element("div", [...buttonsOf(message, actions), note])
  bar.className = "actions"
  article.append(...(thoughts ? [thoughts.element] : []), body, bar)
  const update = () => {
    thoughts?.update()
    article.classList.toggle("error", message.error !== undefined)
    if (message.error !== undefined) body.textContent = message.error
    else if (message.role === "user") body.textContent = message.content
    else renderMarkdown(body, message.content)
    note.textContent = message.note ?? ""
  }
  update()
  return { element: article, update }
}

/** The reasoning, folded once the answer begins. */
function thoughtsOf(message: Message): MessageView {
  const summary = element("summary")
  const reasoning = element("div")
  reasoning.className = "reasoning"
  const details = element("details", [summary, reasoning]) as HTMLDetailsElement
  details.open = message.content === ""
  let answered = message.content !== ""
  const update = () => {
    details.hidden = message.reasoning === ""
    reasoning.textContent = message.reasoning
    const seconds = message.thinkingMs === undefined ? null : (message.thinkingMs / 1000).toFixed(1)
    summary.textContent = seconds === null ? "Thinking" : `Thought for ${seconds} s`
    if (answered || message.content === "") return
    answered = true
    details.open = false
  }
  update()
  return { element: details, update }
}

function buttonsOf(message: Message, actions: Actions): HTMLElement[] {
  const button = (label: string, title: string, onClick: () => void) => {
    const b = element("button", [label])
    b.setAttribute("type", "button")
    b.setAttribute("title", title)
    b.addEventListener("click", onClick)
    return b
  }
  const copy = () => copyText(message.content)
  const own =
    message.role === "user"
      ? button("Edit", "Ask something else here; this stays beside it", actions.onEdit)
      : button("Retry", "Answer once more; this stays beside it", actions.onRetry)
  const ways =
    actions.place === null
      ? []
      : [
          button("‹", "The one before", actions.onPrevious),
          element("span", [actions.place]),
          button("›", "The one after", actions.onNext),
        ]
  return [button("Copy", "Copy the text", copy), own, ...ways]
}

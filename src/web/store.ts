/** Conversations, kept in the browser. Messages are a tree: to edit one or to try again makes a sibling,
 *  and a conversation is the way from its beginning to the leaf one looks at. */

export interface Message {
  id: string
  parent: string | null
  role: "user" | "assistant"
  content: string
  reasoning: string
  /** How long the reasoning took. */
  thinkingMs?: number
  /** Tokens a second, cached tokens: a line under the answer. */
  note?: string
  /** Tokens of the conversation up to here. */
  total?: number
  error?: string
}

export interface Conversation {
  id: string
  title: string
  messages: Record<string, Message>
  leaf: string | null
  updated: number
}

const KEY = "ds4.conversations"
const newId = () => crypto.randomUUID()

export class Store {
  #all: Conversation[] = []
  current: Conversation

  constructor() {
    this.#all = read()
    this.current = this.#all[0] ?? this.create()
  }

  get all(): readonly Conversation[] {
    return this.#all
  }

  create(): Conversation {
    const empty = this.#all.find((c) => c.leaf === null)
    const fresh = {
      id: newId(),
      title: "New conversation",
      messages: {},
      leaf: null,
      updated: Date.now(),
    }
    this.current = empty ?? fresh
    if (!empty) this.#all.unshift(this.current)
    return this.current
  }

  choose(id: string): void {
    this.current = this.#all.find((c) => c.id === id) ?? this.current
  }

  remove(): void {
    this.#all = this.#all.filter((c) => c !== this.current)
    this.current = this.#all[0] ?? this.create()
    this.save()
  }

  /** Adds a message after `parent` and looks at it. */
  add(role: Message["role"], content: string, parent: string | null): Message {
    const message: Message = { id: newId(), parent, role, content, reasoning: "" }
    this.current.messages[message.id] = message
    this.current.leaf = message.id
    if (role === "user" && parent === null) this.current.title = content.slice(0, 60)
    this.save()
    return message
  }

  /** The messages one looks at, first to last. */
  path(): Message[] {
    const out: Message[] = []
    for (let id = this.current.leaf; id !== null;) {
      const message = this.current.messages[id]!
      out.unshift(message)
      id = message.parent
    }
    return out
  }

  /** Messages that stand in the same place. */
  siblings(message: Message): Message[] {
    return Object.values(this.current.messages).filter(
      (m) => m.parent === message.parent && m.role === message.role,
    )
  }

  /** Looks at a message and at what came last after it. */
  show(message: Message): void {
    let leaf = message
    for (;;) {
      const next = Object.values(this.current.messages).findLast((m) => m.parent === leaf.id)
      if (!next) break
      leaf = next
    }
    this.current.leaf = leaf.id
    this.save()
  }

  save(): void {
    this.current.updated = Date.now()
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#all))
    } catch {
      // Full or forbidden: the conversation lasts as long as the page.
    }
  }
}

function read(): Conversation[] {
  try {
    const all = JSON.parse(localStorage.getItem(KEY) ?? "[]") as Conversation[]
    return all.toSorted((a, b) => b.updated - a.updated)
  } catch {
    return []
  }
}

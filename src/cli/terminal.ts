/** The terminal of a conversation, in raw mode: keys in, the line editor on the screen. */
import { Editor, layOut } from "./editor.ts"
import type { Io } from "./io.ts"
import { type Key, KeyReader } from "./keys.ts"

/** So long after an ESC, nothing that belongs to it comes any more. */
const ESCAPE_MS = 40

/** Where keys go: the editor, or what runs meanwhile. */
export type KeyHandler = (key: Key) => void

export class Terminal {
  readonly io: Io
  readonly #reader = new KeyReader()
  readonly #utf8 = new TextDecoder()
  #handler: KeyHandler | undefined
  /** Keys that came while nobody listened. */
  #early: Key[] = []
  #timer: Timer | undefined
  #isClosed = false
  /** What Ctrl-C does while nobody listens to keys. */
  onInterrupt: (() => void) | undefined
  readonly #onData = (bytes: Uint8Array) => this.#take(bytes)
  readonly #onEnd = () => this.#dispatch([{ type: "key", name: "endOfInput" }])
  readonly #restore = () => this.#raw(false)
  readonly #onContinue = () => {
    this.#raw(true)
    if (this.#handler) this.#dispatch([{ type: "key", name: "resume" }])
  }

  constructor(io: Io) {
    this.io = io
    process.stdin.on("data", this.#onData)
    process.stdin.on("end", this.#onEnd)
    process.on("exit", this.#restore)
    process.on("SIGCONT", this.#onContinue)
    this.#raw(true)
  }

  /** Sends keys to a handler, first those that came early; undefined: they are kept. */
  listen(handler: KeyHandler | undefined): void {
    this.#handler = handler
    while (this.#handler && this.#early.length > 0) this.#handler(this.#early.shift()!)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearTimeout(this.#timer)
    process.stdin.off("data", this.#onData)
    process.stdin.off("end", this.#onEnd)
    process.off("SIGCONT", this.#onContinue)
    process.off("exit", this.#restore)
    this.#raw(false)
    process.stdin.pause()
  }

  /** Ctrl-C by a signal. */
  interrupt(): void {
    this.#dispatch([{ type: "key", name: "interrupt" }])
  }

  /** Stops the program as the shell expects it; it goes on with `fg`. */
  suspend(): void {
    this.#raw(false)
    process.kill(0, "SIGTSTP")
  }

  #raw(isOn: boolean): void {
    process.stdin.setRawMode?.(isOn)
    if (this.io.movesCursor) this.io.out(isOn ? "\x1b[?2004h" : "\x1b[?2004l") // bracketed paste
  }

  #take(bytes: Uint8Array): void {
    clearTimeout(this.#timer)
    this.#dispatch(this.#reader.push(this.#utf8.decode(bytes, { stream: true })))
    if (this.#reader.isWaiting)
      this.#timer = setTimeout(() => this.#dispatch(this.#reader.flush()), ESCAPE_MS)
  }

  #dispatch(keys: readonly Key[]): void {
    for (const key of keys) {
      if (this.#handler) this.#handler(key)
      else if (key.type === "key" && key.name === "interrupt") this.onInterrupt?.()
      else this.#early.push(key)
    }
  }
}

/** What the user did at the prompt. */
export type Typed = { type: "message"; text: string } | { type: "interrupt" } | { type: "quit" }

export interface PromptOptions {
  prompt: string
  history: readonly string[]
  /** The end of what Tab could complete, if there is only one. */
  complete?: (text: string) => string | undefined
}

/** Lets the user type one message. Ctrl-C at an empty prompt is "interrupt", Ctrl-D "quit". */
export function readMessage(terminal: Terminal, options: PromptOptions): Promise<Typed> {
  const { promise, resolve } = Promise.withResolvers<Typed>()
  const editor = new Editor(options.history)
  const view = new EditorView(terminal.io, editor, options.prompt)
  const redraw = () => view.draw()
  const finish = (typed: Typed) => {
    terminal.listen(undefined)
    process.stdout.off("resize", redraw)
    view.leave()
    resolve(typed)
  }
  process.stdout.on("resize", redraw)
  view.draw()
  terminal.listen((key) => {
    if (key.type === "text") editor.insert(key.text)
    else {
      switch (key.name) {
        case "enter":
          if (editor.isComplete) return finish({ type: "message", text: editor.message })
          editor.continueLine()
          break
        case "interrupt":
          if (editor.text === "") return finish({ type: "interrupt" })
          editor.set("")
          break
        case "endOfInput":
          if (editor.text === "") return finish({ type: "quit" })
          editor.press("delete")
          break
        case "suspend":
          return terminal.suspend()
        case "clearScreen":
          view.clear()
          break
        case "resume":
          view.restart()
          break
        case "tab":
          editor.insert(options.complete?.(editor.text) ?? "")
          break
        default:
          editor.press(key.name)
      }
    }
    view.draw()
  })
  return promise
}

/** Draws an editor below what the terminal shows. */
class EditorView {
  readonly #io: Io
  readonly #editor: Editor
  readonly #prompt: string
  /** Row of the cursor among those drawn last. */
  #row = 0
  #nRows = 1
  #drawn = ""

  constructor(io: Io, editor: Editor, prompt: string) {
    this.#io = io
    this.#editor = editor
    this.#prompt = prompt
  }

  draw(): void {
    const { text, cursor } = this.#editor
    const indent = Bun.stringWidth(this.#prompt)
    const { rows, starts, row, column } = layOut(text, cursor, indent, this.#io.columns() - 1)
    const height = Math.max(1, this.#io.rows() - 1)
    const first = Math.max(0, Math.min(row - height + 1, rows.length - height))
    const whole = rows.map((text, i) => this.#line(text, i, starts[i]!))
    const lines = whole.slice(first, first + height)
    if (!this.#io.movesCursor) return this.#drawPlainly(lines)
    const back = up(lines.length - 1 - (row - first))
    const right = column > 0 ? `\x1b[${column}C` : ""
    this.#io.out(`${up(this.#row)}\r\x1b[J${lines.join("\r\n")}${back}\r${right}`)
    this.#row = row - first
    this.#nRows = lines.length
  }

  /** A row with the prompt before it, or with a mark where a line of the message begins. */
  #line(row: string, index: number, isStart: boolean): string {
    const { bold, dim } = this.#io.colors
    if (index === 0) return bold(this.#prompt) + row
    return isStart ? dim("… ".padStart(Bun.stringWidth(this.#prompt))) + row : row
  }

  /** Without cursor movement, only what is typed at the end can be shown. */
  #drawPlainly(lines: readonly string[]): void {
    const now = lines.join("\r\n")
    if (now.startsWith(this.#drawn)) this.#io.out(now.slice(this.#drawn.length))
    else this.#io.out(`\r\n${now}`)
    this.#drawn = now
  }

  clear(): void {
    if (this.#io.movesCursor) this.#io.out("\x1b[2J\x1b[H")
    this.restart()
  }

  /** The next drawing begins where the cursor stands. */
  restart(): void {
    this.#row = 0
  }

  /** Leaves the cursor at the beginning of the line after the message. */
  leave(): void {
    this.#io.out(`${this.#io.movesCursor ? down(this.#nRows - 1 - this.#row) : ""}\r\n`)
  }
}

const up = (rows: number): string => (rows > 0 ? `\x1b[${rows}A` : "")
const down = (rows: number): string => (rows > 0 ? `\x1b[${rows}B` : "")

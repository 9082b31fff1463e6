/** The message that is being typed: text, cursor, history. Knows nothing of a terminal. */
import type { KeyName } from "./keys.ts"
import { scrub } from "./scrub.ts"

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" })
const WORD_LEFT = /[\p{L}\p{N}_]*[^\p{L}\p{N}_]*$/u
const WORD_RIGHT = /^[^\p{L}\p{N}_]*[\p{L}\p{N}_]*/u

export class Editor {
  text = ""
  /** Index into text, between two graphemes. */
  cursor = 0
  readonly #history: readonly string[]
  /** Which entry is shown; history.length: the message that was being typed. */
  #entry: number
  #draft = ""
  #killed = ""

  /** @param history older messages, most recent last. */
  constructor(history: readonly string[] = []) {
    this.#history = history
    this.#entry = history.length
  }

  insert(text: string): void {
    const clean = scrub(text)
    this.text = this.text.slice(0, this.cursor) + clean + this.text.slice(this.cursor)
    this.cursor += clean.length
  }

  set(text: string): void {
    this.text = text
    this.cursor = text.length
  }

  /** Does what a key says; false for keys that mean nothing here. */
  press(key: KeyName): boolean {
    const action = ACTIONS[key]
    action?.(this)
    return action !== undefined
  }

  /** Whether Enter ends the message: not after a backslash, nor inside `"""`. */
  get isComplete(): boolean {
    if (this.text.startsWith('"""')) return this.text.length >= 6 && this.text.endsWith('"""')
    return !this.text.endsWith("\\")
  }

  /** Enter in the middle of a message: a new line; the backslash goes. */
  continueLine(): void {
    if (!this.text.startsWith('"""')) this.set(this.text.slice(0, -1))
    else this.cursor = this.text.length
    this.insert("\n")
  }

  /** The message without the marks of its borders. */
  get message(): string {
    const quoted = this.text.match(/^"""\n?(.*?)\n?"""$/s)
    return quoted ? quoted[1]! : this.text
  }

  /** Start and end of the line that the cursor is in. */
  line(): { start: number; end: number } {
    const end = this.text.indexOf("\n", this.cursor)
    return {
      start: this.text.lastIndexOf("\n", this.cursor - 1) + 1,
      end: end < 0 ? this.text.length : end,
    }
  }

  /** Index one grapheme to the left. */
  before(): number {
    if (this.cursor === 0) return 0
    const from = Math.max(0, this.cursor - 64) // no grapheme that people type is longer
    const parts = [...graphemes.segment(this.text.slice(from, this.cursor))]
    return from + (parts.at(-1)?.index ?? 0)
  }

  after(): number {
    const [part] = graphemes.segment(this.text.slice(this.cursor, this.cursor + 64))
    return this.cursor + (part?.segment.length ?? 0)
  }

  wordBefore(): number {
    return this.cursor - this.text.slice(0, this.cursor).match(WORD_LEFT)![0].length
  }

  wordAfter(): number {
    return this.cursor + this.text.slice(this.cursor).match(WORD_RIGHT)![0].length
  }

  /** Removes text between the cursor and another index. */
  remove(to: number, isKept = false): void {
    const [start, end] = [Math.min(to, this.cursor), Math.max(to, this.cursor)]
    if (isKept && end > start) this.#killed = this.text.slice(start, end)
    this.text = this.text.slice(0, start) + this.text.slice(end)
    this.cursor = start
  }

  yank(): void {
    this.insert(this.#killed)
  }

  /** One line up or down; beyond the first and the last one, through the history. */
  moveLine(step: -1 | 1): void {
    const { start, end } = this.line()
    const column = this.cursor - start
    if (step < 0 ? start === 0 : end === this.text.length) return this.#recall(step)
    this.cursor = step < 0 ? start - 1 : end + 1
    const target = this.line()
    this.cursor = Math.min(target.start + column, target.end)
    if (this.cursor > target.start) this.cursor = this.#onGrapheme()
  }

  /** The cursor, moved out of the middle of a grapheme. */
  #onGrapheme(): number {
    const { start, end } = this.line()
    let at = start
    for (const { segment } of graphemes.segment(this.text.slice(start, end))) {
      if (at + segment.length > this.cursor) return at
      at += segment.length
    }
    return at
  }

  #recall(step: -1 | 1): void {
    const entry = this.#entry + step
    if (entry < 0 || entry > this.#history.length) return
    if (this.#entry === this.#history.length) this.#draft = this.text
    this.#entry = entry
    this.set(this.#history[entry] ?? this.#draft)
  }
}

const ACTIONS: Partial<Record<KeyName, (e: Editor) => void>> = {
  newline: (e) => e.insert("\n"),
  backspace: (e) => e.remove(e.before()),
  delete: (e) => e.remove(e.after()),
  deleteWordLeft: (e) => e.remove(e.wordBefore(), true),
  deleteWordRight: (e) => e.remove(e.wordAfter(), true),
  killToEnd: (e) => e.remove(e.line().end, true),
  killToStart: (e) => e.remove(e.line().start, true),
  yank: (e) => e.yank(),
  left: (e) => void (e.cursor = e.before()),
  right: (e) => void (e.cursor = e.after()),
  wordLeft: (e) => void (e.cursor = e.wordBefore()),
  wordRight: (e) => void (e.cursor = e.wordAfter()),
  home: (e) => void (e.cursor = e.line().start),
  end: (e) => void (e.cursor = e.line().end),
  up: (e) => e.moveLine(-1),
  down: (e) => e.moveLine(1),
}

/** Rows of a message on a screen, and where the cursor stands. */
export interface Layout {
  rows: string[]
  /** For each row, whether a line of the message begins there. */
  starts: boolean[]
  row: number
  column: number
}

/** Breaks a message into rows of at most `columns` cells. The first begins after the prompt, later lines
 *  after an indentation of the same width. */
export function layOut(text: string, cursor: number, indent: number, columns: number): Layout {
  const layout: Layout = { rows: [], starts: [], row: 0, column: indent }
  let at = 0
  for (const line of text.split("\n")) {
    let row = ""
    let width = indent
    layout.starts[layout.rows.length] = true
    const place = () => {
      if (at === cursor) [layout.row, layout.column] = [layout.rows.length, width]
    }
    for (const { segment } of graphemes.segment(line)) {
      const shown = segment === "\t" ? "    " : segment
      const cells = Bun.stringWidth(shown)
      if (width + cells > columns && width > 0) {
        layout.rows.push(row)
        layout.starts[layout.rows.length] = false
        row = ""
        width = 0
      }
      place()
      row += shown
      width += cells
      at += segment.length
    }
    place()
    layout.rows.push(row)
    at++ // the line break
  }
  return layout
}

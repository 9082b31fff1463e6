/** Markdown on a terminal, as it comes: the block that is being written is shown as it stands and
 *  replaced by its rendering when it is complete. */
import type { Io } from "./io.ts"

const FENCE = /^ {0,3}(`{3,}|~{3,})/
const LIST_ITEM = /^\s*([-*+]|[0-9]{1,9}[.)])\s/
/** A line of which nobody knows yet whether it will be a list item. */
const MAYBE_ITEM = /^([-*+]|[0-9]{1,9}[.)]?)?$/

/** Where the first block of a text ends: before a line that begins a new one after an empty line, or
 *  after the end of a code fence. 0 while nobody can tell. */
export function blockEnd(text: string): number {
  let [at, isBegun, isBlank, isList, fence] = [0, false, false, false, ""]
  const lines = text.split("\n")
  for (const [i, line] of lines.entries()) {
    const isWhole = i < lines.length - 1
    const next = at + line.length + 1
    if (fence !== "") {
      if (isWhole && closesFence(line, fence)) {
        fence = ""
        if (!isList) return next
      }
    } else if (line.trim() === "") {
      isBlank ||= isBegun && isWhole
    } else {
      if (isBlank && startsBlock(line, isWhole, isList)) return at
      if (!isBegun) isList = LIST_ITEM.test(line)
      isBegun = true
      isBlank = false
      fence = line.match(FENCE)?.[1] ?? ""
    }
    at = next
  }
  return 0
}

const closesFence = (line: string, fence: string): boolean =>
  line.trim().startsWith(fence) && /^\s*(`+|~+)\s*$/.test(line)

/** Whether a line after an empty one is certainly no part of the block before. */
function startsBlock(line: string, isWhole: boolean, inList: boolean): boolean {
  if (/^\s/.test(line)) return false
  return !inList || !(LIST_ITEM.test(line) || (!isWhole && MAYBE_ITEM.test(line)))
}

/** Renders a block. Line breaks in paragraphs stay: a model means them. */
export function renderMarkdown(block: string, columns: number, colors: boolean): string {
  let isCode = false
  const lines = block.split("\n").map((line) => {
    const isFence = FENCE.test(line)
    if (isFence) isCode = !isCode
    return isCode || isFence || line.trim() === "" ? line : `${line}  `
  })
  return Bun.markdown.ansi(lines.join("\n"), { columns, colors }).replace(/^\n+|\s+$/g, "")
}

const REDRAW_MS = 33

/** Writes markdown to a terminal whose cursor stands at the beginning of a line. */
export class MarkdownWriter {
  readonly #io: Io
  /** Text of the blocks that are not complete. */
  #pending = ""
  /** Rows of it on the screen; the cursor stands at the end of the last. */
  #shown: string[] = []
  #needsGap = false
  #timer: Timer | undefined
  #lastDraw = 0
  readonly #redrawMs: number

  constructor(io: Io, redrawMs = REDRAW_MS) {
    this.#io = io
    this.#redrawMs = redrawMs
  }

  /** More text, free of control characters. */
  push(text: string): void {
    this.#pending += text
    for (let end = blockEnd(this.#pending); end > 0; end = blockEnd(this.#pending)) {
      this.#commit(this.#pending.slice(0, end))
      this.#pending = this.#pending.slice(end)
    }
    const wait = this.#lastDraw + this.#redrawMs - performance.now()
    if (wait <= 0) this.#draw()
    else this.#timer ??= setTimeout(() => this.#draw(), wait)
  }

  /** Renders the rest; the cursor stands at the beginning of a line again. */
  end(): void {
    clearTimeout(this.#timer)
    this.#commit(this.#pending)
    this.#pending = ""
  }

  #commit(block: string): void {
    const io = this.#io
    const wasShown = this.#shown.length > 0
    if (wasShown) io.out(`${up(this.#height(0))}\r\x1b[J`)
    this.#shown = []
    const text = renderMarkdown(block, io.columns() - 1, io.colors.isColorSupported)
    if (text === "") return
    io.out(`${this.#needsGap && !wasShown ? "\n" : ""}${text}\n`)
    this.#needsGap = true
  }

  /** Shows the end of the pending text, as much as fits the screen, by writing only what changed. */
  #draw(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#lastDraw = performance.now()
    const io = this.#io
    const text = this.#pending.replace(/^\n+/, "").replaceAll("\t", "    ")
    if (text.trim() === "") return
    const wrapped = Bun.wrapAnsi(text, io.columns() - 1, { hard: true, trim: false }).split("\n")
    const rows = wrapped.slice(-(io.rows() - 1))
    const shown = this.#shown
    if (shown.length === 0 && this.#needsGap) io.out("\n")
    let same = 0
    while (same < shown.length && rows[same] === shown[same]) same++
    const last = shown.length - 1
    const rest = rows.slice(same).join("\n")
    if (same > last) io.out(last < 0 || rows.length === shown.length ? rest : `\n${rest}`)
    else if (same === last && rest.startsWith(shown[last]!)) io.out(rest.slice(shown[last]!.length))
    else io.out(`${up(this.#height(same))}\r\x1b[J${rest}`)
    this.#shown = rows
  }

  /** How many lines above the cursor row `from` of what is shown begins; the terminal may have become
   *  narrower since it was written. */
  #height(from: number): number {
    const columns = this.#io.columns()
    const lines = (row: string) => Math.max(1, Math.ceil(Bun.stringWidth(row) / columns))
    return this.#shown.slice(from).reduce((n, row) => n + lines(row), 0) - 1
  }
}

const up = (rows: number): string => (rows > 0 ? `\x1b[${rows}A` : "")

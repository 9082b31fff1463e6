/** What a command may do to the world outside: print, read its input, and resolve the user's paths. */
import { fstatSync } from "node:fs"
import { isatty } from "node:tty"
import pc from "picocolors"
import { env } from "../env.ts"
import { resolveUserPath } from "./paths.ts"
import { writeAll } from "./write.ts"

export type Colors = ReturnType<typeof pc.createColors>

export interface Io {
  out(text: string): void
  err(text: string): void
  readonly outTTY: boolean
  readonly errTTY: boolean
  /** A terminal, a regular file, or something else that may stay open for ever. */
  readonly input: "terminal" | "file" | "stream"
  /** All of stdin as text. */
  readInput(): Promise<string>
  /** Whether the terminal can move its cursor. */
  readonly movesCursor: boolean
  columns(): number
  rows(): number
  /** Colours for stdout: plain text where it is no terminal, or NO_COLOR is set. */
  readonly colors: Colors
  /** Colours for stderr. */
  readonly errColors: Colors
  resolvePath(path: string): string
}

/** The process's own streams. */
export function processIo(): Io {
  const outTTY = isatty(1)
  const errTTY = isatty(2)
  const isDumb = env("TERM") === "dumb"
  const hasColors = env("NO_COLOR") === undefined && !isDumb
  return {
    out: (text) => writeAll(1, text),
    err: (text) => writeAll(2, text),
    outTTY,
    errTTY,
    input: isatty(0) ? "terminal" : isFile(0) ? "file" : "stream",
    readInput: async () => decodeText(await Bun.stdin.bytes()),
    movesCursor: outTTY && !isDumb,
    columns: () => (outTTY ? process.stdout.columns : 0) || 80,
    rows: () => (outTTY ? process.stdout.rows : 0) || 24,
    colors: pc.createColors(outTTY && hasColors),
    errColors: pc.createColors(errTTY && hasColors),
    resolvePath: resolveUserPath,
  }
}

function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile()
  } catch {
    return false // closed
  }
}

/** UTF-8 to text; what is no UTF-8 becomes U+FFFD. */
export const decodeText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const REDRAW_MS = 80

/** A line on stderr that is written over and over; nothing where stderr is no terminal. */
export class ProgressLine {
  readonly #io: Io
  #shown = false
  #last = 0

  constructor(io: Io) {
    this.#io = io
  }

  show(text: string): void {
    const now = performance.now()
    if (!this.#io.errTTY || now - this.#last < REDRAW_MS) return
    this.#last = now
    this.#shown = true
    const line = Bun.sliceAnsi(text, 0, this.#io.columns() - 1)
    this.#io.err(`\r\x1b[K${this.#io.errColors.dim(line)}`)
  }

  clear(): void {
    if (this.#shown) this.#io.err("\r\x1b[K")
    this.#shown = false
  }
}

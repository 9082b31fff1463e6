/** What a command may do to the world outside: print, and resolve the user's paths. */
import pc from "picocolors"
import { env } from "../env.ts"
import { resolveUserPath } from "./paths.ts"

export type Colors = ReturnType<typeof pc.createColors>

export interface Io {
  out(text: string): void
  err(text: string): void
  readonly outTTY: boolean
  readonly errTTY: boolean
  /** Colours for stdout: plain text where it is no terminal, or NO_COLOR is set. */
  readonly colors: Colors
  resolvePath(path: string): string
}

/** The process's own streams. */
export function processIo(): Io {
  const outTTY = process.stdout.isTTY === true
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    outTTY,
    errTTY: process.stderr.isTTY === true,
    colors: pc.createColors(outTTY && env("NO_COLOR") === undefined && env("TERM") !== "dumb"),
    resolvePath: resolveUserPath,
  }
}

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
    if (!this.#io.errTTY || now - this.#last < 80) return
    this.#last = now
    this.#shown = true
    this.#io.err(`\r\x1b[K${text}`)
  }

  clear(): void {
    if (this.#shown) this.#io.err("\r\x1b[K")
    this.#shown = false
  }
}

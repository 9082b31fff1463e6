/** Messages typed in earlier runs, in ~/.ds4/history: one JSON string a line, most recent last. */
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ds4Directory } from "./paths.ts"
import { reasonOf } from "./prompt.ts"

/** Messages that are offered. */
const KEPT = 1000
/** The file is cut when it has more lines than this. */
const MAX_LINES = 2 * KEPT
/** Longer messages (a pasted file) are not kept. */
const MAX_LENGTH = 100_000

export class History {
  readonly entries: string[] = []
  readonly #folder: string | undefined
  #works: boolean

  constructor(folder = ds4Directory()) {
    this.#folder = folder
    this.#works = folder !== undefined
    const lines = this.#read()
    for (const line of lines.slice(-KEPT)) {
      try {
        const entry: unknown = JSON.parse(line)
        if (typeof entry === "string") this.entries.push(entry)
      } catch {
        // a line that was cut off
      }
    }
    if (lines.length > MAX_LINES) this.#rewrite()
  }

  get #file(): string {
    return join(this.#folder!, "history")
  }

  #read(): string[] {
    if (!this.#folder) return []
    try {
      return readFileSync(this.#file, "utf8").split("\n").filter(Boolean)
    } catch {
      return []
    }
  }

  /** Adds a message. The first time it cannot be kept, says why. */
  add(text: string): string | undefined {
    if (text.length > MAX_LENGTH || this.entries.at(-1) === text) return undefined
    this.entries.push(text)
    if (this.entries.length > KEPT) this.entries.shift()
    if (!this.#works) return undefined
    try {
      mkdirSync(this.#folder!, { recursive: true, mode: 0o700 })
      appendFileSync(this.#file, `${JSON.stringify(text)}\n`, { mode: 0o600 })
      return undefined
    } catch (error) {
      this.#works = false
      return `The history cannot be kept in ${this.#folder}: ${reasonOf(error)}`
    }
  }

  /** Several chats may run at once: the file is replaced, never written in the middle. */
  #rewrite(): void {
    const temporary = `${this.#file}.${process.pid}`
    try {
      const text = this.entries.map((e) => `${JSON.stringify(e)}\n`).join("")
      writeFileSync(temporary, text, { mode: 0o600 })
      renameSync(temporary, this.#file)
    } catch {
      // read-only: add() will say so
    }
  }
}

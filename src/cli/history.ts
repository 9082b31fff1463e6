/** Lines typed in earlier runs, in ~/.ds4/history. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

const LIMIT = 1000

export class History {
  /** Most recent last; a message of several lines is one entry. */
  readonly entries: string[] = []
  readonly #folder: string
  #works = true

  constructor(folder = join(homedir(), ".ds4")) {
    this.#folder = folder
    try {
      const text = readFileSync(join(folder, "history"), "utf8")
      for (const line of text.split("\n"))
        if (line !== "") this.entries.push(JSON.parse(line) as string)
    } catch {
      // none yet, or not ours
    }
  }

  /** Adds an entry. Returns false the first time it cannot be kept. */
  add(text: string): boolean {
    if (this.entries.at(-1) === text) return true
    this.entries.push(text)
    this.entries.splice(0, this.entries.length - LIMIT)
    if (!this.#works) return true
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
      const lines = this.entries.map((e) => `${JSON.stringify(e)}\n`)
      writeFileSync(join(this.#folder, "history"), lines.join(""), { mode: 0o600 })
    } catch {
      this.#works = false
    }
    return this.#works
  }
}

/** Stop strings in a stream of text: holds back whatever could still become one. */
export class StopFilter {
  readonly #stops: readonly string[]
  #held = ""
  #stopped = false

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((s) => s !== "")
  }

  get stopped(): boolean {
    return this.#stopped
  }

  /** The part of the text so far that is certain to be shown. After a hit: what stood before it. */
  push(text: string): string {
    if (this.#stopped) return ""
    if (this.#stops.length === 0) return text
    this.#held += text
    const at = this.#firstHit()
    if (at >= 0) {
      this.#stopped = true
      return this.#take(at)
    }
    return this.#take(this.#held.length - this.#couldStart())
  }

  /** What was held back, when the text ends without a hit. */
  flush(): string {
    return this.#stopped ? "" : this.#take(this.#held.length)
  }

  #take(n: number): string {
    const out = this.#held.slice(0, n)
    this.#held = this.#held.slice(n)
    return out
  }

  #firstHit(): number {
    const hits = this.#stops.map((s) => this.#held.indexOf(s)).filter((at) => at >= 0)
    return hits.length === 0 ? -1 : Math.min(...hits)
  }

  /** Length of the longest end of the held text that begins some stop string. */
  #couldStart(): number {
    const longest = Math.max(...this.#stops.map((s) => s.length)) - 1
    for (let n = Math.min(longest, this.#held.length); n > 0; n--) {
      const tail = this.#held.slice(-n)
      if (this.#stops.some((s) => s.startsWith(tail))) return n
    }
    return 0
  }
}

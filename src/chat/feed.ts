/** Text that arrives in pieces, for parsers written as generators: a parser reads on as if the text
 *  were whole, and yields when it needs more. Nothing it finds depends on how the text was cut. */

import { EOS } from "./prompts.ts"

/** ASCII white space. */
export const isBlank = (c: number): boolean => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09

/** A parser's steps: it yields to ask for more text. */
export type Steps<T> = Generator<undefined, T, undefined>

/** Texts to look for. None may begin another. */
export class Markers {
  readonly #texts: readonly string[]
  readonly #pattern: RegExp
  readonly #longest: number

  constructor(texts: readonly string[]) {
    this.#texts = texts
    const escaped = texts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    this.#pattern = new RegExp(escaped.join("|"), "g")
    this.#longest = Math.max(...texts.map((text) => text.length))
  }

  /** The leftmost whole marker at or after `from`. */
  find(text: string, from: number): { at: number; marker: string } | undefined {
    this.#pattern.lastIndex = from
    const found = this.#pattern.exec(text)
    return found ? { at: found.index, marker: found[0] } : undefined
  }

  /** Where a marker may begin of which the end is not there yet; the length of the text if none. */
  begun(text: string): number {
    for (let at = Math.max(0, text.length - this.#longest + 1); at < text.length; at++) {
      const tail = text.slice(at)
      if (this.#texts.some((marker) => marker.length > tail.length && marker.startsWith(tail))) {
        return at
      }
    }
    return text.length
  }
}

/** The text that has arrived and was not taken yet. */
export class Feed {
  text = ""
  /** No more text will come. */
  ended = false
  /** The model itself ended the text: with its end token, or `end(true)`. */
  stopped = false
  /** Something followed the end token and was dropped. */
  trailing = false
  #kept: string | undefined

  add(text: string): void {
    this.text += text
  }

  /** No more text will come. An end token is never taken before that, so it is still here. */
  end(stopped: boolean): void {
    this.ended = true
    this.stopped = stopped || this.text.trimEnd().endsWith(EOS)
  }

  /** Takes `n` characters away from the front. */
  take(n: number): string {
    const taken = this.text.slice(0, n)
    this.text = this.text.slice(n)
    if (this.#kept !== undefined) this.#kept += taken
    return taken
  }

  /** From now on what is taken is kept, after `before`. */
  keep(before = ""): void {
    this.#kept = before
  }

  /** What was kept; ends the keeping. */
  release(): string {
    const kept = this.#kept ?? ""
    this.#kept = undefined
    return kept
  }

  /** Passes text to `emit` up to the leftmost marker and returns that, not taken. Text passes as
   *  soon as no marker can begin in it. At the end without a marker: undefined; what may be the
   *  beginning of one then stays unless the text was ended by the model. */
  *until(markers: Markers, emit: (text: string) => void): Steps<string | undefined> {
    for (;;) {
      const found = markers.find(this.text, 0)
      const begun = this.ended && this.stopped ? this.text.length : markers.begun(this.text)
      if (found && found.at < begun) {
        if (found.at > 0) emit(this.take(found.at))
        return found.marker
      }
      if (begun > 0) emit(this.take(begun))
      if (this.ended) return undefined
      yield
    }
  }

  /** The leftmost marker in the next `limit` characters, without taking anything. */
  *locate(
    markers: Markers,
    from: number,
    limit: number,
  ): Steps<{ at: number; marker: string } | undefined> {
    for (let start = from; ;) {
      const text = this.text.slice(0, limit)
      const found = markers.find(text, start)
      const begun = this.ended || this.text.length >= limit ? text.length : markers.begun(text)
      if (found && found.at < begun) return found
      if (this.ended || this.text.length >= limit) return undefined
      start = Math.max(start, Math.min(begun, found?.at ?? begun))
      yield
    }
  }

  /** Whether the end token, which is next, ends the output. Only white space and more end tokens may
   *  follow it; they are dropped. */
  *ends(): Steps<boolean> {
    for (let at = EOS.length; ;) {
      while (at < this.text.length) {
        if (this.text.startsWith(EOS, at)) at += EOS.length
        else if (isBlank(this.text.charCodeAt(at))) at++
        else break
      }
      const rest = this.text.slice(at)
      if (rest !== "" && (this.ended || !EOS.startsWith(rest))) return false
      if (this.ended) break
      yield
    }
    this.trailing = this.text.length > EOS.length
    this.text = ""
    this.stopped = true
    return true
  }

  /** Takes ASCII white space, all there is. */
  *blanks(): Steps<string> {
    let blanks = ""
    for (;;) {
      blanks += this.take(/^[ \t\r\n]*/.exec(this.text)![0].length)
      if (this.text !== "" || this.ended) return blanks
      yield
    }
  }
}

/** Text of models, tools and files on its way to a terminal: no control character but line break and
 *  tab gets through, and characters that reorder or hide text become visible. Colours of our own are
 *  put on afterwards. */

const LINE_BREAK = /\r\n?|[\u2028\u2029\u0085]/g
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g
/** Marks of direction, and the tag characters that no terminal shows. */
const HIDDEN = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\u{e0000}-\u{e007f}]/gu

/** A text that a terminal can be given. */
export function scrub(text: string): string {
  return text
    .toWellFormed()
    .replace(LINE_BREAK, "\n")
    .replace(CONTROL, "")
    .replace(HIDDEN, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`)
}

/** `scrub` for a text that comes in pieces: a line break may be cut in two. */
export class Scrubber {
  #held = ""

  push(text: string): string {
    const whole = this.#held + text
    this.#held = whole.endsWith("\r") ? "\r" : ""
    return scrub(whole.slice(0, whole.length - this.#held.length))
  }

  end(): string {
    const rest = scrub(this.#held)
    this.#held = ""
    return rest
  }
}

/** Text of the model, of tools and of files on its way to a terminal: no control character but line
 *  break and tab gets through, and characters that turn the direction of text become visible. */

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

export function scrub(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replace(CONTROLS, "")
    .replace(BIDI, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)
}

/** The GPT-2 byte alphabet: every byte is written as one printable character in the vocabulary.
 *  Bytes 33-126, 161-172 and 174-255 stand for themselves; the other 68, ascending, become U+0100,
 *  U+0101 and so on (space is `Ġ`, newline `Ċ`). Spec §15. */

const isPrintable = (byte: number): boolean =>
  (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255)

/** `CHAR_OF_BYTE[byte]` is the alphabet's code unit for a byte. */
export const CHAR_OF_BYTE = new Uint16Array(256)

/** One more than the largest code unit of the alphabet. */
export const ALPHABET_END = 256 + 68

/** `BYTE_OF_CHAR[unit]` is the byte of a code unit below `ALPHABET_END`, or -1. */
export const BYTE_OF_CHAR = new Int16Array(ALPHABET_END).fill(-1)

let next = 256
for (let byte = 0; byte < 256; byte++) {
  const char = isPrintable(byte) ? byte : next++
  CHAR_OF_BYTE[byte] = char
  BYTE_OF_CHAR[char] = byte
}

/** UTF-8 bytes of one code point appended to `out` at `at`; returns the new end. */
export function putUtf8(out: Uint8Array | number[], at: number, codePoint: number): number {
  if (codePoint < 0x80) {
    out[at] = codePoint
    return at + 1
  }
  if (codePoint < 0x800) {
    out[at] = 0xc0 | (codePoint >> 6)
    out[at + 1] = 0x80 | (codePoint & 63)
    return at + 2
  }
  if (codePoint < 0x10000) {
    out[at] = 0xe0 | (codePoint >> 12)
    out[at + 1] = 0x80 | ((codePoint >> 6) & 63)
    out[at + 2] = 0x80 | (codePoint & 63)
    return at + 3
  }
  out[at] = 0xf0 | (codePoint >> 18)
  out[at + 1] = 0x80 | ((codePoint >> 12) & 63)
  out[at + 2] = 0x80 | ((codePoint >> 6) & 63)
  out[at + 3] = 0x80 | (codePoint & 63)
  return at + 4
}

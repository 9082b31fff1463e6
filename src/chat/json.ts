/** JSON that keeps what `JSON.parse` loses: the order of keys like "10" and "2", the digits of long
 *  integers, and the difference between `1` and `1.0`. The model is shown tool schemas and arguments
 *  as Python's `json.dumps(json.loads(text), ensure_ascii=False)` writes them, so this reads and
 *  prints exactly like that (spec §16.3), `NaN` and `Infinity` included. */

import { RenderError } from "./types.ts"

/** A number by its text, since a double does not hold every one. */
export class JsonNumber {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** A JSON value. Objects are maps: any key is fine, also `__proto__`, and the order stays. */
export type Json = null | boolean | string | JsonNumber | Json[] | JsonObject
export type JsonObject = Map<string, Json>

/** Deeper nesting is refused: Python's reader stops at about the same depth. */
const MAX_DEPTH = 1000

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y
const PLAIN = /[^"\\\u0000-\u001f]*/y
const HEX = /[0-9a-fA-F]{4}/y
const ESCAPES: Record<string, string> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
}
const WORDS: readonly (readonly [string, Json])[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", new JsonNumber("NaN")],
  ["Infinity", new JsonNumber("Infinity")],
  ["-Infinity", new JsonNumber("-Infinity")],
]

class Reader {
  readonly #text: string
  #at = 0
  #depth = 0
  /** Values that may still come. */
  #left: number

  constructor(text: string, mostValues: number) {
    this.#text = text
    this.#left = mostValues
  }

  document(): Json {
    const value = this.#value()
    if (this.#at < this.#text.length) throw this.#error("expected the end of the text")
    return value
  }

  #error(what: string): RenderError {
    return new RenderError("bad_json", `Cannot read JSON: ${what} at character ${this.#at}`)
  }

  #blanks(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at)
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return
      this.#at++
    }
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    if (found !== undefined) this.#at += found.length
    return found
  }

  /** Takes a character if it is next, and the blanks after it. */
  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false
    this.#at++
    this.#blanks()
    return true
  }

  /** A value and the blanks around it. */
  #value(): Json {
    this.#blanks()
    const value = this.#bare()
    this.#blanks()
    return value
  }

  #bare(): Json {
    if (--this.#left < 0) throw this.#error("too many values")
    const first = this.#text[this.#at]
    if (first === '"') return this.#string()
    if (first === "{" || first === "[") {
      if (++this.#depth > MAX_DEPTH) throw this.#error(`more than ${MAX_DEPTH} levels`)
      this.#take(first)
      const value = first === "{" ? this.#members() : this.#items()
      this.#depth--
      return value
    }
    const isDigit = first !== undefined && first >= "0" && first <= "9"
    for (const [word, value] of isDigit ? [] : WORDS) {
      if (!this.#text.startsWith(word, this.#at)) continue
      this.#at += word.length
      return value
    }
    const number = this.#match(NUMBER)
    if (number === undefined) throw this.#error("expected a value")
    return new JsonNumber(number)
  }

  #members(): JsonObject {
    const object: JsonObject = new Map()
    if (this.#take("}")) return object
    for (;;) {
      if (this.#text[this.#at] !== '"') throw this.#error("expected a key")
      const key = this.#string()
      this.#blanks()
      if (!this.#take(":")) throw this.#error('expected ":"')
      object.set(key, this.#value()) // a repeated key keeps its place and takes the new value
      if (this.#take("}")) return object
      if (!this.#take(",")) throw this.#error('expected "," or "}"')
    }
  }

  #items(): Json[] {
    const items: Json[] = []
    if (this.#take("]")) return items
    for (;;) {
      items.push(this.#value())
      if (this.#take("]")) return items
      if (!this.#take(",")) throw this.#error('expected "," or "]"')
    }
  }

  #string(): string {
    this.#at++
    let out = ""
    for (;;) {
      out += this.#match(PLAIN) ?? ""
      const c = this.#text[this.#at]
      if (c === undefined) throw this.#error("string without end")
      if (c !== '"' && c !== "\\") throw this.#error("control character in a string")
      this.#at++
      if (c === '"') return out
      out += this.#escape()
    }
  }

  #escape(): string {
    const c = this.#text[this.#at] ?? ""
    const plain = Object.hasOwn(ESCAPES, c) ? ESCAPES[c] : undefined
    if (plain === undefined && c !== "u") throw this.#error("unknown escape")
    this.#at++
    if (plain !== undefined) return plain
    const hex = this.#match(HEX)
    if (hex === undefined) throw this.#error("expected four hexadecimal digits")
    return String.fromCharCode(Number.parseInt(hex, 16))
  }
}

/** Reads a JSON text.
 *  @throws RenderError `bad_json` with the place, also for nesting deeper than 1,000 levels and for more than
 *  so many values. */
export function parseJson(text: string, mostValues = Infinity): Json {
  return new Reader(text, mostValues).document()
}

/** `parseJson`, or undefined for what is no JSON. */
export function tryParseJson(text: string): Json | undefined {
  try {
    return parseJson(text)
  } catch (error) {
    if (error instanceof RenderError) return undefined
    throw error
  }
}

/** A plain JavaScript value as a tree; it may be a tree already, or have trees inside. What
 *  `JSON.stringify` leaves out is left out.
 *  @throws RenderError `bad_json` for nesting deeper than 1,000 levels, so for a cycle too. */
export function toJson(value: unknown, depth = 0): Json {
  if (depth > MAX_DEPTH) {
    throw new RenderError("bad_json", `Cannot take value as JSON: more than ${MAX_DEPTH} levels`)
  }
  if (typeof value === "string" || typeof value === "boolean") return value
  if (typeof value === "number" || typeof value === "bigint") {
    return new JsonNumber(Object.is(value, -0) ? "0" : String(value))
  }
  if (value instanceof JsonNumber) return value
  if (Array.isArray(value)) return value.map((item) => toJson(item, depth + 1))
  if (typeof value !== "object" || value === null) return null
  const object: JsonObject = new Map()
  const entries = value instanceof Map ? value : Object.entries(value)
  for (const [key, item] of entries) {
    if (item !== undefined && typeof item !== "function") object.set(key, toJson(item, depth + 1))
  }
  return object
}

const SHORT_ESCAPES: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
}

/** The inside of a JSON string: only `"`, `\` and U+0000-001F are escaped. */
export function escapeJson(text: string): string {
  return text.replace(
    // oxlint-disable-next-line no-control-regex
    /["\\\u0000-\u001f]/g,
    (c) => SHORT_ESCAPES[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
}

/** Prints a tree as Python's `json.dumps(value, ensure_ascii=False)` does. */
export function printJson(value: Json): string {
  if (value === null) return "null"
  if (typeof value === "string") return `"${escapeJson(value)}"`
  if (typeof value === "boolean") return value ? "true" : "false"
  if (value instanceof JsonNumber) return printNumber(value.text)
  if (Array.isArray(value)) return `[${value.map(printJson).join(", ")}]`
  const members = Array.from(value, ([key, item]) => `"${escapeJson(key)}": ${printJson(item)}`)
  return `{${members.join(", ")}}`
}

/** Integers keep their digits; all else is a double, written as Python's `repr` writes it. */
function printNumber(text: string): string {
  if (text === "-0") return "0"
  if (/^-?[0-9]+$/.test(text)) return text
  const value = Number(text)
  if (!Number.isFinite(value)) return String(value)
  const sign = value < 0 || Object.is(value, -0) ? "-" : ""
  const [mantissa = "0", exponentText = "0"] = Math.abs(value).toExponential().split("e")
  const digits = mantissa.replace(".", "")
  const exponent = Number(exponentText)
  if (exponent < -4 || exponent >= 16) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : ""
    const power = String(Math.abs(exponent)).padStart(2, "0")
    return `${sign}${digits[0]}${fraction}e${exponent < 0 ? "-" : "+"}${power}`
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0")
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`
}

/** A tree as a plain value, for code that does not mind losing digits. `__proto__` stays a key. */
export function toPlain(value: Json): unknown {
  if (value instanceof JsonNumber) return Number(value.text)
  if (Array.isArray(value)) return value.map(toPlain)
  if (!(value instanceof Map)) return value
  return Object.fromEntries(Array.from(value, ([key, item]) => [key, toPlain(item)]))
}

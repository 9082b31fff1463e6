/** Bytes of a terminal in raw mode to keys. */

/** A key by name, or text: what was typed, or pasted as a whole. */
export type Key = { type: "text"; text: string; isPaste: boolean } | { type: "key"; name: KeyName }

export type KeyName =
  | "enter"
  | "newline"
  | "backspace"
  | "delete"
  | "left"
  | "right"
  | "up"
  | "down"
  | "home"
  | "end"
  | "wordLeft"
  | "wordRight"
  | "deleteWordLeft"
  | "deleteWordRight"
  | "killToEnd"
  | "killToStart"
  | "yank"
  | "tab"
  | "interrupt"
  | "endOfInput"
  | "suspend"
  | "clearScreen"
  | "resume"
  | "escape"

const ESC = "\x1b"
const PASTE_END = `${ESC}[201~`
/** A paste that never ends is taken as it is from this length on. */
const MAX_PASTE = 2 ** 24

const CONTROLS: Record<string, KeyName> = {
  "\r": "enter",
  "\n": "newline", // Ctrl-J
  "\t": "tab",
  "\x7f": "backspace",
  "\b": "backspace",
  "\x01": "home",
  "\x02": "left",
  "\x03": "interrupt",
  "\x04": "endOfInput",
  "\x05": "end",
  "\x06": "right",
  "\x0b": "killToEnd",
  "\x0c": "clearScreen",
  "\x0e": "down",
  "\x10": "up",
  "\x15": "killToStart",
  "\x17": "deleteWordLeft",
  "\x19": "yank",
  "\x1a": "suspend",
}

/** After ESC: Alt with a key. */
const ALT: Record<string, KeyName> = {
  "\r": "newline",
  "\n": "newline",
  b: "wordLeft",
  f: "wordRight",
  d: "deleteWordRight",
  "\x7f": "deleteWordLeft",
  "\b": "deleteWordLeft",
}

/** After ESC [ or ESC O, modifiers taken off. */
const SEQUENCES: Record<string, KeyName> = {
  A: "up",
  B: "down",
  C: "right",
  D: "left",
  H: "home",
  F: "end",
  "1~": "home",
  "7~": "home",
  "4~": "end",
  "8~": "end",
  "3~": "delete",
  "13u": "newline", // Enter with Shift, Alt or Ctrl, as newer terminals report it
}

/** Reads keys from text as it comes; a sequence may be cut anywhere. */
export class KeyReader {
  #text = ""

  push(text: string): Key[] {
    this.#text += text
    const keys: Key[] = []
    for (let key = this.#next(); key; key = this.#next()) if (key !== "unknown") keys.push(key)
    return keys
  }

  /** Nothing more came: an ESC that began no sequence was the key itself. */
  flush(): Key[] {
    if (this.#text !== ESC) return []
    this.#text = ""
    return [{ type: "key", name: "escape" }]
  }

  /** Whether flush() could find something. */
  get isWaiting(): boolean {
    return this.#text === ESC
  }

  #next(): Key | "unknown" | undefined {
    const text = this.#text
    if (text === "") return undefined
    if (text[0] === ESC) return this.#escape()
    const control = CONTROLS[text[0]!]
    if (control) return this.#key(control, 1)
    // oxlint-disable-next-line no-control-regex
    const length = text.search(/[\u0000-\u001f\u007f]/)
    if (length === 0) return this.#unknown(1)
    return this.#take(length < 0 ? text.length : length, false)
  }

  #escape(): Key | "unknown" | undefined {
    const text = this.#text
    if (text.length === 1) return undefined
    if (text[1] !== "[" && text[1] !== "O") {
      const alt = ALT[text[1]!]
      return alt ? this.#key(alt, 2) : text[1] === ESC ? this.#unknown(1) : this.#unknown(2)
    }
    if (text.startsWith(`${ESC}[200~`)) return this.#paste()
    // oxlint-disable-next-line no-control-regex
    const sequence = text.match(/^\x1b(?:O[A-Za-z]|\[[0-?]*[ -/]*[@-~])/)?.[0]
    if (!sequence) return text.length > 32 ? this.#unknown(2) : undefined
    const [, numbers = "", final = ""] = sequence.match(/^..([0-9;]*)(.*)$/s) ?? []
    const [first, modifier] = numbers.split(";")
    const isArrow = "CD".includes(final) && final !== ""
    if (isArrow && modifier !== undefined)
      return this.#key(final === "C" ? "wordRight" : "wordLeft", sequence.length)
    if (numbers.startsWith("27;") && numbers.endsWith(";13"))
      // the older report of Shift-Enter
      return this.#key("newline", sequence.length)
    const name = SEQUENCES[final === "~" || final === "u" ? `${first}${final}` : final]
    return name ? this.#key(name, sequence.length) : this.#unknown(sequence.length)
  }

  #paste(): Key | undefined {
    const start = PASTE_END.length
    const end = this.#text.indexOf(PASTE_END)
    if (end < 0 && this.#text.length < MAX_PASTE) return undefined
    const text = this.#text.slice(start, end < 0 ? undefined : end)
    this.#text = end < 0 ? "" : this.#text.slice(end + PASTE_END.length)
    return { type: "text", text, isPaste: true }
  }

  #key(name: KeyName, length: number): Key {
    this.#text = this.#text.slice(length)
    return { type: "key", name }
  }

  #unknown(length: number): "unknown" {
    this.#text = this.#text.slice(length)
    return "unknown"
  }

  #take(length: number, isPaste: boolean): Key {
    const text = this.#text.slice(0, length)
    this.#text = this.#text.slice(length)
    return { type: "text", text, isPaste }
  }
}

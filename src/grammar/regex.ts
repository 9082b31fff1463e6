/** Regular expressions of JSON Schema (`pattern`) as nodes: ECMA-262 without look-around, back references
 *  and word boundaries. An expression matches anywhere unless it is anchored. */
import { SchemaError } from "../errors.ts"
import { choice, type Node, repeat, sequence } from "./nodes.ts"
import { ALL, complement, type Ranges, union } from "./text.ts"

/** One character of a set as it stands in the text; undefined if it cannot stand there. */
export type CharacterNode = (ranges: Ranges) => Node | undefined

const one = (c: string): Ranges => [[c.codePointAt(0)!, c.codePointAt(0)!]]
const LINE_ENDS: Ranges = union(one("\n"), one("\r"), [[0x2028, 0x2029]])
const DOT = complement(LINE_ENDS)
const DIGIT: Ranges = [[0x30, 0x39]]
const WORD: Ranges = union(DIGIT, [[0x41, 0x5a]], one("_"), [[0x61, 0x7a]])
const SPACE: Ranges = union(
  [[0x09, 0x0d]],
  one(" "),
  one("\u00a0"),
  one("\u1680"),
  [[0x2000, 0x200a]],
  [[0x2028, 0x2029]],
  one("\u202f"),
  one("\u205f"),
  one("\u3000"),
  one("\ufeff"),
)
const CLASSES: ReadonlyMap<string, Ranges> = new Map([
  ["d", DIGIT],
  ["D", complement(DIGIT)],
  ["w", WORD],
  ["W", complement(WORD)],
  ["s", SPACE],
  ["S", complement(SPACE)],
])
const CONTROLS: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
  ["f", "\f"],
  ["v", "\v"],
  ["0", "\0"],
])
const MAX_REPEAT = 1000
const MAX_DEPTH = 100

/** @throws SchemaError for what is no expression, or none that can be held to */
export function regexNode(source: string, character: CharacterNode): Node {
  return new RegexReader(source, character).whole()
}

class RegexReader {
  readonly #chars: readonly string[]
  readonly #source: string
  readonly #character: CharacterNode
  #at = 0
  #depth = 0

  constructor(source: string, character: CharacterNode) {
    this.#source = source
    this.#character = character
    try {
      new RegExp(source, "u")
    } catch (error) {
      throw new SchemaError(`pattern: ${(error as Error).message}`)
    }
    this.#chars = [...source]
  }

  whole(): Node {
    const node = this.#alternatives(true)
    if (this.#at < this.#chars.length) throw this.#refuse(`"${this.#chars[this.#at]}"`)
    return node
  }

  #refuse(what: string): SchemaError {
    return new SchemaError(`pattern: ${what} in /${this.#source}/ is not supported`)
  }

  #take(c: string): boolean {
    if (this.#chars[this.#at] !== c) return false
    this.#at++
    return true
  }

  #takeAll(text: string): boolean {
    if (
      !this.#chars
        .slice(this.#at, this.#at + text.length)
        .join("")
        .startsWith(text)
    )
      return false
    this.#at += text.length
    return true
  }

  /** Alternatives; of the whole expression each may be anchored, and runs on where it is not. */
  #alternatives(isWhole: boolean): Node {
    if (++this.#depth > MAX_DEPTH) throw this.#refuse(`nesting deeper than ${MAX_DEPTH}`)
    const all: Node[] = []
    do {
      const items: Node[] = []
      const isStart = isWhole && this.#take("^")
      let isEnd = false
      while (this.#at < this.#chars.length && !"|)".includes(this.#chars[this.#at]!)) {
        isEnd = isWhole && this.#take("$")
        if (isEnd) break
        items.push(this.#term())
      }
      const anything = repeat(this.#set(ALL), 0)
      if (isWhole && !isStart) items.unshift(anything)
      if (isWhole && !isEnd) items.push(anything)
      all.push(sequence(...items))
    } while (this.#take("|"))
    this.#depth--
    return choice(...all)
  }

  #term(): Node {
    const atom = this.#atom()
    const [min, max] = this.#quantifier()
    this.#take("?") // lazy or not, the language is the same
    return min === 1 && max === 1 ? atom : repeat(atom, min, max)
  }

  #quantifier(): [number, number] {
    if (this.#take("*")) return [0, Infinity]
    if (this.#take("+")) return [1, Infinity]
    if (this.#take("?")) return [0, 1]
    if (this.#chars[this.#at] !== "{") return [1, 1]
    const rest = this.#chars.slice(this.#at, this.#at + 24).join("")
    const [all, from, comma, to] = /^\{(\d+)(,?)(\d*)\}/.exec(rest) ?? []
    if (all === undefined) throw this.#refuse("{")
    this.#at += all.length
    const min = Number(from)
    const max = to ? Number(to) : comma ? Infinity : min
    if (min > MAX_REPEAT || (max !== Infinity && max > MAX_REPEAT)) throw this.#refuse(all)
    return [min, max]
  }

  #atom(): Node {
    if (this.#takeAll("(?:") || this.#group()) {
      const inner = this.#alternatives(false)
      this.#at++ // the bracket, which is there
      return inner
    }
    const c = this.#chars[this.#at++]!
    if (c === ".") return this.#set(DOT)
    if (c === "[") return this.#set(this.#class())
    if (c === "\\") return this.#set(this.#escape(false))
    if (c === "^" || c === "$") throw this.#refuse(`${c} inside the expression`)
    return this.#set(one(c))
  }

  /** `(` of a group whose contents count, named or not. */
  #group(): boolean {
    if (this.#chars[this.#at] !== "(") return false
    const rest = this.#chars.slice(this.#at, this.#at + 80).join("")
    if (/^\(\?(?!<[A-Za-z])/.test(rest)) throw this.#refuse(rest.slice(0, 3))
    this.#at += /^\(\?<\w+>/.exec(rest)?.[0].length ?? 1
    return true
  }

  #set(ranges: Ranges): Node {
    return this.#character(ranges) ?? NOTHING
  }

  #class(): Ranges {
    const negated = this.#take("^")
    const parts: Ranges[] = []
    while (!this.#take("]")) {
      const low = this.#classPart()
      if (this.#chars[this.#at] === "-" && this.#chars[this.#at + 1] !== "]" && isOne(low)) {
        this.#at++
        const high = this.#classPart()
        parts.push([[low[0]![0], high[0]![1]]])
      } else parts.push(low)
    }
    const all = union(...parts)
    return negated ? complement(all) : all
  }

  #classPart(): Ranges {
    const c = this.#chars[this.#at++]!
    return c === "\\" ? this.#escape(true) : one(c)
  }

  #escape(inClass: boolean): Ranges {
    const c = this.#chars[this.#at++]!
    const known = CLASSES.get(c)
    if (known) return known
    const control = CONTROLS.get(c)
    if (control !== undefined) return one(control)
    if (inClass && c === "b") return one("\b")
    if (c === "x" || c === "u") return this.#hex(c)
    if (/[A-Za-z1-9]/.test(c)) throw this.#refuse(`\\${c}`)
    return one(c)
  }

  #hex(kind: string): Ranges {
    const rest = this.#chars.slice(this.#at, this.#at + 10).join("")
    const pattern = kind === "x" ? /^([0-9a-fA-F]{2})/ : /^(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{4}))/
    const [all, a, b] = pattern.exec(rest) ?? []
    const code = Number.parseInt(a ?? b ?? "", 16)
    if (all === undefined || (code >= 0xd800 && code < 0xe000)) throw this.#refuse(`\\${kind}`)
    this.#at += all.length
    return [[code, code]]
  }
}

const isOne = (ranges: Ranges) => ranges.length === 1 && ranges[0]![0] === ranges[0]![1]

/** What no text satisfies. */
export const NOTHING: Node = choice()

/** What the model said when it made calls, by the ids that clients got for them. A client sends a call back
 *  as JSON; written anew it may differ in a blank from what the model wrote, and in its tokens, and all
 *  that was computed after it would be lost. */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import {
  type Json,
  printJson,
  type RenderOptions,
  type Replay,
  toJson,
  tryParseJson,
} from "../chat/index.ts"
import type { GenerateEnd } from "../generate/types.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import { type Block, callsOf, textOf } from "./blocks.ts"

type Calls = Parameters<NonNullable<RenderOptions["replay"]>>[0]

/** An answer with calls: what it said, and for each call its id, name and arguments as they print. */
interface Said extends Replay {
  calls: [id: string, name: string, args: string][]
}

const MOST_ANSWERS = 4096
const MOST_TOKENS = 2 ** 17

export class CallReplay {
  readonly #tokenizer: Tokenizer
  readonly #file: string | undefined
  readonly #said = new Map<string, Said>()
  readonly #log: (line: string) => void

  /** @param file where answers are kept beyond the process: a line of JSON each */
  constructor(tokenizer: Tokenizer, file?: string, log: (line: string) => void = () => {}) {
    this.#tokenizer = tokenizer
    this.#file = file
    this.#log = log
    if (file !== undefined) this.#load(file)
  }

  /** Keeps an answer, if it has calls and ended well. */
  remember(end: GenerateEnd, blocks: readonly Block[]): void {
    const calls = callsOf(blocks)
    if (end.reason !== "tool_calls" || calls.length === 0 || end.ids.length > MOST_TOKENS) return
    const { id, eosId } = { id: this.#tokenizer.id("</think>"), eosId: this.#tokenizer.eosId }
    const ids = end.ids.at(-1) === eosId ? end.ids.slice(0, -1) : end.ids
    const reasoning = textOf(blocks, "thinking")
    const endThink = reasoning === "" || id === undefined ? -1 : ids.indexOf(id)
    const exact = (part: readonly number[]) => ({ ids: part, text: this.#tokenizer.decode(part) })
    const said: Said = {
      reasoning: exact(ids.slice(0, Math.max(endThink, 0))),
      content: textOf(blocks, "text"),
      answer: exact(ids.slice(endThink + 1)),
      calls: calls.map(({ id: call, name, text }) => [call, name, printed(text)]),
    }
    this.#keep(said)
    if (this.#file === undefined) return
    try {
      mkdirSync(dirname(this.#file), { recursive: true })
      appendFileSync(this.#file, `${JSON.stringify(said)}\n`, { mode: 0o600 })
    } catch (error) {
      this.#log(`Calls are not kept beyond this process: ${(error as Error).message}`)
    }
  }

  /** What was said with calls that a client sent back unchanged. */
  readonly find = (calls: Calls): Replay | undefined => {
    const [first] = calls
    const said = first?.id === undefined ? undefined : this.#said.get(bare(first.id))
    if (said?.calls.length !== calls.length) return undefined
    const same = said.calls.every(([id, name, args], i) => {
      const call = calls[i]!
      return bare(call.id ?? "") === id && call.name === name && printed(call.arguments) === args
    })
    return same ? said : undefined
  }

  /** Whether ids are still the text they were: a folder may serve models of several vocabularies. */
  #isOurs({ reasoning, answer }: Said): boolean {
    const { vocabSize } = this.#tokenizer
    return [reasoning, answer].every(
      ({ ids, text }) =>
        ids.every((id) => id >= 0 && id < vocabSize) && this.#tokenizer.decode(ids) === text,
    )
  }

  #keep(said: Said): void {
    this.#said.set(said.calls[0]![0], said)
    if (this.#said.size > MOST_ANSWERS) this.#said.delete(this.#said.keys().next().value!)
  }

  /** Reads the file, and writes it anew when most of it is too old; lines that are none are left out. */
  #load(file: string): void {
    if (!existsSync(file)) return
    try {
      const lines = readFileSync(file, "utf8").split("\n").filter(Boolean)
      for (const line of lines) {
        const said = tryParseLine(line)
        if (said && this.#isOurs(said)) this.#keep(said)
      }
      if (lines.length < 2 * MOST_ANSWERS) return
      const kept = [...this.#said.values()].map((said) => `${JSON.stringify(said)}\n`)
      writeFileSync(file, kept.join(""), { mode: 0o600 })
    } catch (error) {
      this.#log(`Calls of earlier processes are not known: ${(error as Error).message}`)
    }
  }
}

/** An id without the prefix of an API. */
const bare = (id: string) => id.slice(id.indexOf("_") + 1)

/** Arguments in one way of writing. */
function printed(args: Json | undefined): string {
  const value = typeof args === "string" ? tryParseJson(args) : args
  return value === undefined ? "" : printJson(toJson(value))
}

function tryParseLine(line: string): Said | undefined {
  try {
    const { reasoning, content, answer, calls } = JSON.parse(line) as Partial<Said>
    const isText = (x: unknown) => typeof x === "string"
    const isExact = (x: Replay["answer"] | undefined) =>
      isText(x?.text) && Array.isArray(x?.ids) && x.ids.every(Number.isSafeInteger)
    const areCalls =
      Array.isArray(calls) &&
      calls.length > 0 &&
      calls.every((call) => Array.isArray(call) && call.length === 3 && call.every(isText))
    const isSaid = isExact(reasoning) && isText(content) && isExact(answer) && areCalls
    return isSaid ? (JSON.parse(line) as Said) : undefined
  } catch {
    return undefined
  }
}

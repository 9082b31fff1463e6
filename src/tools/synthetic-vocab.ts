import { Ds4Error } from "../errors.ts"

/** A vocabulary as the GGUF keys hold it (spec §2.3, §15). */
export interface Vocabulary {
  tokens: string[]
  /** 1 normal, 3 control, 4 user-defined, 5 unused. */
  types: number[]
  merges: string[]
}

const HEAD = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]

// Control tokens by their id in the real vocabulary (spec §15.4).
const CONTROLS: [number, string, 3 | 4][] = [
  [128800, "<｜fim▁hole｜>", 3],
  [128801, "<｜fim▁begin｜>", 3],
  [128802, "<｜fim▁end｜>", 3],
  [128803, "<｜User｜>", 3],
  [128804, "<｜Assistant｜>", 3],
  [128805, "<|EOT|>", 3],
  [128806, "<｜tool▁calls▁begin｜>", 3],
  [128807, "<｜tool▁calls▁end｜>", 3],
  [128821, "<think>", 4],
  [128822, "</think>", 4],
  [128825, "｜DSML｜", 4],
  [128826, "<｜begin▁sys▁｜>", 3],
  [128827, "<｜end▁sys▁｜>", 3],
  [128828, "<｜latest_reminder｜>", 3],
  [128829, "<｜action｜>", 3],
  [128830, "<｜query｜>", 3],
  [128831, "<｜authority｜>", 3],
  [128832, "<｜domain｜>", 3],
  [128836, "<｜title｜>", 3],
  [128840, "<dsml:", 4],
  [128841, "</dsml:", 4],
  [128844, "<｜extracted_url｜>", 3],
  [128845, "<｜read_url｜>", 3],
]
const FIRST_REAL_CONTROL = 128_800

const MERGES = [
  "t h",
  "th e",
  "i n",
  "e r",
  "a n",
  "Ġ t",
  "Ġ the",
  "Ġ a",
  "o n",
  "Ġ in",
  "Ġ Ġ",
  "Ċ Ċ",
]

/** The 256 characters that stand for bytes 0 to 255 (spec §15). */
export function byteAlphabet(): string[] {
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    return String.fromCodePoint(printable ? byte : next++)
  })
}

/** Bytes, a dozen merges and the control tokens; the rest are place-holders. Control tokens have
 *  their real ids where there is room for them, else they are the last ones. */
export function smallVocabulary(size: number): Vocabulary {
  const merged = MERGES.map((merge) => merge.replace(" ", ""))
  const text = [...byteAlphabet(), ...merged]
  const atRealIds = size > Math.max(...CONTROLS.map(([id]) => id))
  const shift = atRealIds ? 0 : size - CONTROLS.length
  const controls = new Map(
    CONTROLS.map(([id, token, type], i) => [atRealIds ? id : shift + i, { token, type }]),
  )
  const textEnd = HEAD.length + text.length
  if (textEnd > (atRealIds ? FIRST_REAL_CONTROL : shift))
    throw new Ds4Error(
      `Cannot make ${size} tokens: bytes and control tokens need ${textEnd + CONTROLS.length}`,
    )
  const vocabulary: Vocabulary = { tokens: [...HEAD, ...text], types: [], merges: MERGES }
  vocabulary.types = vocabulary.tokens.map((_, id) => (id < HEAD.length ? 3 : 1))
  fill(vocabulary, size, controls)
  return vocabulary
}

/** What is used of a `tokenizer.json` in Hugging Face's format. */
export interface TokenizerJson {
  model: { vocab: Record<string, number>; merges: (string | [string, string])[] }
  added_tokens: { id: number; content: string; special: boolean }[]
}

/** The real vocabulary: DeepSeek V3's tokens and merges, V4's control tokens, place-holders. */
export function realVocabulary(json: TokenizerJson, size: number): Vocabulary {
  const vocabulary: Vocabulary = {
    tokens: [],
    types: [],
    merges: json.model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" "))),
  }
  const { tokens, types } = vocabulary
  const put = (id: number, token: string, type: number) => {
    if (!(Number.isInteger(id) && id >= 0 && id < size))
      throw new Ds4Error(`Cannot use the vocabulary: id ${id} is not below ${size}`)
    tokens[id] = token
    types[id] = type
  }
  for (const [token, id] of Object.entries(json.model.vocab)) put(id, token, 1)
  for (const { id, content, special } of json.added_tokens) put(id, content, special ? 3 : 4)
  const controls = new Map(
    CONTROLS.filter(([id]) => tokens[id] === undefined && id < size).map(([id, token, type]) => [
      id,
      { token, type },
    ]),
  )
  fill(vocabulary, size, controls)
  return vocabulary
}

function fill(
  { tokens, types }: Vocabulary,
  size: number,
  controls: Map<number, { token: string; type: number }>,
): void {
  const taken = new Set(tokens)
  let holder = 0
  for (let id = 0; id < size; id++) {
    if (tokens[id] !== undefined) continue
    const control = controls.get(id)
    while (!control && taken.has(placeHolder(holder))) holder++
    tokens[id] = control?.token ?? placeHolder(holder++)
    types[id] = control?.type ?? 5
  }
}

function placeHolder(n: number): string {
  return `<｜place▁holder▁no▁${n}｜>`
}

import { expect, test } from "bun:test"
import fc from "fast-check"
import { pretokenize } from "../../src/tokenizer/pretokenize.ts"
import { goldenTokenizer, jsonLines } from "./vocabularies.ts"

/** The definition: three successive isolated splits (spec §15.1), `\s` being White_Space. */
const SPLITS = [
  /\p{N}{1,3}/gu,
  /[一-龥぀-ゟ゠-ヿ]+/gu,
  new RegExp(
    [
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+",
      "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+",
      " ?[\\p{P}\\p{S}]+[\\r\\n]*",
      "\\p{White_Space}*[\\r\\n]+",
      "\\p{White_Space}+(?!\\P{White_Space})",
      "\\p{White_Space}+",
    ].join("|"),
    "gu",
  ),
]

function splitByRegex(text: string): string[] {
  let pieces = [text]
  for (const pattern of SPLITS) {
    pieces = pieces.flatMap((piece) => {
      const parts: string[] = []
      let at = 0
      for (const match of piece.matchAll(pattern)) {
        parts.push(piece.slice(at, match.index), match[0])
        at = match.index + match[0].length
      }
      return [...parts, piece.slice(at)].filter((part) => part !== "")
    })
  }
  return pieces
}

function split(text: string): string[] {
  let start = 0
  return pretokenize(text).map((end) => {
    const piece = text.slice(start, end)
    start = end
    return piece
  })
}

/** Pieces that meet all branches and each other. */
const SCRAPS = [
  ..." \t\r\n\u0085\u00a0\u2028\u3000\ufeff\u200b",
  ..."aZé̈ßж中の・゛゙ーｱ〇²½३٣１１7🙂👍🏽",
  ..."!.,'\"-_/\\{}<>|=+$€—“…。，｜▁",
  ..."\u0000\u001b\u007f\u00ad\ue000\u0378\u{e0001}\u{1d7ce}\u{10ffff}\u0301",
  "  ",
  "\r\n",
  "don't",
  ".map",
  "12345",
  " the",
]

const text = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...SCRAPS) },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 4 }) },
  ),
  { maxLength: 24 },
)

test("pretokenize() cuts as the three regular expressions do", () => {
  fc.assert(
    fc.property(text, (parts) => {
      const whole = parts.join("")
      expect(split(whole)).toEqual(splitByRegex(whole))
    }),
    { seed: 15, numRuns: 6000 },
  )
})

test("pretokenize() cuts every pair and triple of kinds as the expressions do", () => {
  const kinds = [..." \t\r\u0085\u3000aé\u0301中・゙1!。$\u0001\u{1f642}\u{10400}"]
  for (const a of kinds) {
    for (const b of kinds) {
      for (const c of kinds) {
        for (const whole of [a + b + c, `x${a}${b}${c}x`]) {
          const got = split(whole).join("¦")
          if (got !== splitByRegex(whole).join("¦")) expect(got).toBe(splitByRegex(whole).join("¦"))
        }
      }
    }
  }
})

test("pretokenize() classes every code point as the engine's Unicode does", () => {
  const blocks: string[] = []
  for (let c = 0; c < 0x110000; c += 64) {
    if (c >= 0xd800 && c < 0xe000) continue
    blocks.push(String.fromCodePoint(...Array.from({ length: 64 }, (_, i) => c + i)))
  }
  const planes = [0, 1, 2, 3, 14, 16] // the others hold nothing assigned, or only letters
  for (const block of blocks) {
    if (!planes.includes(block.codePointAt(0)! >> 16)) continue
    const got = split(block).join("¦")
    if (got !== splitByRegex(block).join("¦")) expect(got).toBe(splitByRegex(block).join("¦"))
  }
})

test("pretokenize() cuts the texts of the corpus as the expressions do", () => {
  for (const line of jsonLines(goldenTokenizer("corpus.jsonl"))) {
    const { text: whole } = JSON.parse(line) as { text: string }
    expect(split(whole)).toEqual(splitByRegex(whole))
  }
})

test("pretokenize() takes a million characters of one kind in linear time", () => {
  for (const kind of ["a", " ", "\n ", "=", "中", "1", "\u0001", " \t", "é", "'s"]) {
    const whole = kind.repeat(1_000_000 / kind.length)
    expect(pretokenize(whole).at(-1)).toBe(whole.length)
  }
})

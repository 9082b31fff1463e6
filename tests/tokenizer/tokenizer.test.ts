import { describe, expect, test } from "bun:test"
import { Tokenizer as HfReference } from "@huggingface/tokenizers"
import fc from "fast-check"
import { join } from "node:path"
import { encodePrompt, parseConversation, render, spansToText } from "../../src/chat/index.ts"
import { StreamDecoder, Tokenizer } from "../../src/tokenizer/index.ts"
import { sharedDir } from "../shared.ts"
import {
  deepseekArrays,
  deepseekHf,
  goldenTokenizer,
  jsonLines,
  miniArrays,
} from "./vocabularies.ts"

const v3 = new Tokenizer(await deepseekArrays("v3"))
const v4 = new Tokenizer(await deepseekArrays("v4"))
const mini = new Tokenizer(miniArrays())
const shared = sharedDir()

interface CorpusLine {
  text: string
  ids: number[]
  ids_special?: number[]
}

/** Cuts a text into two or three at code points, by a number that stands for chance. */
function cutAnywhere(text: string, seed: number): string[] {
  const chars = Array.from(text)
  const a = seed % (chars.length + 1)
  const b = a + ((seed * 7919) % (chars.length - a + 1))
  return [chars.slice(0, a), chars.slice(a, b), chars.slice(b)].map((part) => part.join(""))
}

function expectCorpus(path: string): number {
  const lines = jsonLines(path)
  lines.forEach((line, i) => {
    const { text, ids, ids_special } = JSON.parse(line) as CorpusLine
    expect(v3.encode(text)).toEqual(ids)
    expect(v3.encodeSpecial(text)).toEqual(ids_special ?? ids)
    expect(v3.encodeSpans(cutAnywhere(text, i + 1))).toEqual(ids)
    expect(v3.decode(ids)).toBe(text)
    const stream = new StreamDecoder(v3)
    expect(ids.map((id) => stream.push(id)).join("") + stream.flush()).toBe(text)
  })
  return lines.length
}

function expectHeldout(path: string): number {
  let n = 0
  for (const line of jsonLines(path)) {
    const item = JSON.parse(line) as { spec: boolean; prompt: string; prompt_ids: number[] }
    if (!item.spec) continue
    const spans = render(parseConversation(line))
    expect(spansToText(spans)).toBe(item.prompt)
    expect(encodePrompt(mini, spans)).toEqual(item.prompt_ids)
    expect(mini.decode(item.prompt_ids)).toBe(item.prompt)
    n++
  }
  return n
}

describe("Tokenizer with DeepSeek's vocabulary", () => {
  test("encode(), encodeSpecial() and decode() agree with a part of the corpus", () => {
    expect(expectCorpus(goldenTokenizer("corpus.jsonl"))).toBe(490)
  })

  test.skipIf(!shared)("they agree with the whole corpus", () => {
    expect(expectCorpus(join(shared!, "golden/tokenizer/corpus.jsonl"))).toBe(8572)
  })

  test("encode() gives the ids of the tokenizer family's own test", () => {
    const text = "Hello! 毕老师！1 + 1 = 2 ĠÑĤÐ²ÑĬÑĢ"
    expect(v4.encode(text).join(" ")).toBe(
      "19923 3 223 5464 5008 1175 19 940 223 19 438 223 20 6113 257 76589 131 100 76032 1628 " +
        "76589 131 108 76589 131 98",
    )
  })

  test("encodeSpecial() finds control tokens, encode() makes none", () => {
    const text = "<｜User｜>你好<｜Assistant｜><think>推理</think>答案<｜end▁of▁sentence｜>"
    const ids = [128803, 30594, 128804, 128821, 36101, 128822, 7624, 1]
    expect(v4.encodeSpecial(text)).toEqual(ids)
    expect(v4.encode(text).some((id) => v4.isControl(id))).toBe(false)
    expect(v4.decode(v4.encode(text))).toBe(text)
    expect(v4.decode(ids)).toBe(text)
  })

  test("encode() follows the rules for numbers, blanks and punctuation", () => {
    const pieces = (text: string): string[] => v4.encode(text).map((id) => v4.decode([id]))
    expect(pieces("1234567")).toEqual(["123", "456", "7"])
    expect(pieces("    int")).toEqual(["   ", " int"])
    expect(pieces('">;\n').join("|")).not.toContain(";|\n")
    expect(pieces("\n\n  x")).toEqual(["\n\n", " ", " x"])
    expect(pieces(" 12")).toEqual([" ", "12"])
  })

  test("encode() agrees with Hugging Face's engine on random multilingual text", async () => {
    const hf = await deepseekHf()
    const reference = new HfReference({ ...hf, added_tokens: [] }, {})
    const lines = jsonLines(goldenTokenizer("corpus.jsonl"))
    const scraps = lines.flatMap((line) => (JSON.parse(line) as CorpusLine).text.split(/(?<= )/))
    const text = fc
      .array(
        fc.oneof(
          { weight: 6, arbitrary: fc.constantFrom(...scraps) },
          { weight: 1, arbitrary: fc.constantFrom("\n", "\r\n", "\t", "  ", " \n ", "\u0085") },
          { weight: 1, arbitrary: fc.nat().map(String) },
          { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 6 }) },
        ),
        { maxLength: 12 },
      )
      .map((parts) => parts.join("").toWellFormed())
    fc.assert(
      fc.property(text, (whole) => {
        const want = reference.encode(whole, { add_special_tokens: false }).ids
        expect(v3.encode(whole)).toEqual(want)
      }),
      { seed: 151, numRuns: 1500 },
    )
  })

  test("encode() takes one piece of 200,000 letters, and it is still right", () => {
    let state = 1
    const letters = Array.from({ length: 200_000 }, () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return String.fromCharCode(97 + ((state >>> 16) % 26))
    }).join("")
    expect(v4.decode(v4.encode(letters))).toBe(letters)
  })

  test("bosId, eosId and id() are found by name", () => {
    expect([v4.bosId, v4.eosId, v4.vocabSize]).toEqual([0, 1, 129_280])
    expect(v4.id("｜DSML｜")).toBe(128825)
    expect(v4.id("hello")).toBeUndefined()
    expect(v4.isControl(128821)).toBe(true)
    expect(v4.isControl(19923)).toBe(false)
  })
})

describe("Tokenizer with ds4-mini's vocabulary", () => {
  test("prompts of held-out items have the ids they were trained with", () => {
    expect(expectHeldout(goldenTokenizer("heldout.jsonl"))).toBe(82)
  })

  test.skipIf(!shared)("all held-out items have them", () => {
    expect(expectHeldout(join(shared!, "mini/heldout.jsonl"))).toBe(299)
  })

  const anyText = fc.string({ unit: "binary", maxLength: 200 })

  test("encode(text, most) is all of it, or more than `most` if there are more", () => {
    const texts = fc.tuple(anyText, fc.nat(30), fc.nat(300))
    fc.assert(
      fc.property(texts, ([text, times, most]) => {
        const long = text.repeat(times)
        const [all, some] = [mini.encode(long), mini.encode(long, most)]
        if (all.length <= most) expect(some).toEqual(all)
        else expect(some.length).toBeGreaterThan(most)
      }),
      { seed: 153, numRuns: 500 },
    )
    expect(mini.encode("a".repeat(10_000_000), 10).length).toBeLessThan(10_000)
  })

  test("decode(encode(text)) is the text", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const whole = text.toWellFormed()
        expect(mini.decode(mini.encode(text))).toBe(whole)
        expect(v4.decode(v4.encode(text))).toBe(whole)
      }),
      { seed: 152, numRuns: 1000 },
    )
  })

  test("encodeSpans() joins texts that touch, and keeps ids", () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 5 }), fc.nat(2047), (parts, id) => {
        const text = parts.join("")
        const halves = mini.encodeSpans([...parts, id, ...parts])
        expect(halves).toEqual([...mini.encode(text), id, ...mini.encode(text)])
      }),
      { seed: 153, numRuns: 300 },
    )
  })

  test("long pieces merge as short ones do", () => {
    // The heap serves pieces of more than 32 bytes; here both see the same pairs.
    const merged = (text: string): string => mini.encode(text).join(" ")
    const words = ["the", "answer", "parameter", "weather", "string"]
    for (let i = 0; i < 200; i++) {
      const word = words.map((_, j) => words[(i * (j + 3)) % words.length]).join("")
      const ids = mini.encode(word)
      expect(mini.decode(ids)).toBe(word)
      expect(merged(word)).toBe(naiveMerge(word).join(" "))
    }
  })
})

/** Byte-pair merging word for word as the specification has it. */
function naiveMerge(word: string): number[] {
  const { tokens, merges } = miniArrays()
  let parts = Array.from(word)
  for (;;) {
    let best = -1
    let at = -1
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = merges.indexOf(`${parts[i]} ${parts[i + 1]}`)
      if (rank >= 0 && (best < 0 || rank < best)) {
        best = rank
        at = i
      }
    }
    if (at < 0) return parts.map((part) => tokens.indexOf(part))
    parts = [...parts.slice(0, at), parts[at]! + parts[at + 1]!, ...parts.slice(at + 2)]
  }
}

describe("StreamDecoder", () => {
  const byteId = (byte: number): number =>
    Array.from({ length: 256 }, (_, i) => i + 3).find((id) => mini.decodeBytes(id)[0] === byte)!

  test("parts join to what decode() gives, for any bytes", () => {
    const spicy = fc.constantFrom(0x41, 0x80, 0xbf, 0xc3, 0xe2, 0x82, 0xac, 0xed, 0xa0, 0xf0, 0x9f)
    fc.assert(
      fc.property(fc.array(fc.oneof(spicy, fc.nat(255))), (bytes) => {
        const ids = bytes.map(byteId)
        const stream = new StreamDecoder(mini)
        const parts = ids.map((id) => stream.push(id))
        expect(parts.join("") + stream.flush()).toBe(mini.decode(ids))
      }),
      { seed: 154, numRuns: 2000 },
    )
  })

  test("holds back no more than three bytes and no whole character", () => {
    const stream = new StreamDecoder(mini)
    const push = (byte: number): string => stream.push(byteId(byte))
    expect([0xf0, 0x9f, 0x99, 0x82].map(push)).toEqual(["", "", "", "🙂"])
    expect([0xe2, 0x82, 0x41].map(push)).toEqual(["", "", "\ufffdA"])
    expect(push(0xff)).toBe("\ufffd")
    expect(push(0xc3) + stream.flush()).toBe("\ufffd")
    expect(stream.flush()).toBe("")
  })

  test("a byte order mark is text", () => {
    expect(mini.decode(mini.encode("\ufeffa"))).toBe("\ufeffa")
  })

  test("skipControl leaves added tokens out", () => {
    const ids = mini.encodeSpecial("<think>a</think>b")
    const text = (skipControl: boolean): string => {
      const stream = new StreamDecoder(mini, { skipControl })
      return ids.map((id) => stream.push(id)).join("") + stream.flush()
    }
    expect(text(true)).toBe("ab")
    expect(text(false)).toBe("<think>a</think>b")
  })
})

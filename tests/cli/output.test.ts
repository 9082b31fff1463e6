import { describe, expect, test } from "bun:test"
import { AnswerPrinter, statsLine } from "../../src/cli/answer.ts"
import {
  activeWeights,
  duration,
  expectedRate,
  prefillText,
  waitNotice,
} from "../../src/cli/estimate.ts"
import { blockEnd, MarkdownWriter, renderMarkdown } from "../../src/cli/markdown.ts"
import { scrub, Scrubber } from "../../src/cli/scrub.ts"
import type { GenerateEnd, GenerateEvent } from "../../src/generate/types.ts"
import { type Config } from "../../src/model/config.ts"
import { fakeIo, screenOf } from "./support.ts"

describe("scrub()", () => {
  test("lets no control character through but line break and tab", () => {
    const all = Array.from({ length: 0x100 }, (_, i) => String.fromCharCode(i)).join("")
    // oxlint-disable-next-line no-control-regex
    expect(scrub(all).match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/)).toBeNull()
    expect(scrub("a\tb\nc\r\nd\re\u2028f")).toBe("a\tb\nc\nd\ne\nf")
    expect(scrub("\x1b]0;title\x07\x1b[2J")).toBe("]0;title[2J")
  })

  test("shows what reorders or hides text", () => {
    expect(scrub("a\u202eb\u2066c\u{e0041}")).toBe("a\\u{202e}b\\u{2066}c\\u{e0041}")
    expect(scrub("שלום 👩‍👩‍👧 漢字")).toBe("שלום 👩‍👩‍👧 漢字")
  })

  test("the same in pieces", () => {
    const text = "a\r\nb\rc\r"
    const scrubber = new Scrubber()
    const parts = [...text].map((c) => scrubber.push(c))
    expect(parts.join("") + scrubber.end()).toBe(scrub(text))
  })
})

describe("markdown", () => {
  const blocks = (text: string) => [text.slice(0, blockEnd(text)), text.slice(blockEnd(text))]

  test("blockEnd() waits for what begins the next block", () => {
    expect(blocks("one\n\n")).toEqual(["", "one\n\n"])
    expect(blocks("one\n\nt")).toEqual(["one\n\n", "t"])
    expect(blocks("one\n\n  more")).toEqual(["", "one\n\n  more"])
    expect(blocks("a\n\nb\n\nc")).toEqual(["a\n\n", "b\n\nc"])
  })

  test("blockEnd() keeps lists and code together", () => {
    expect(blocks("1. a\n\n2. b")).toEqual(["", "1. a\n\n2. b"])
    expect(blocks("- a\n\n-")).toEqual(["", "- a\n\n-"])
    expect(blocks("- a\n\n   text\n\nend")).toEqual(["- a\n\n   text\n\n", "end"])
    expect(blocks("```ts\na\n\nb")).toEqual(["", "```ts\na\n\nb"])
    expect(blocks("```ts\na\n\nb\n```\nc")).toEqual(["```ts\na\n\nb\n```\n", "c"])
    expect(blocks("````\n```\n\nx\n````\n")).toEqual(["````\n```\n\nx\n````\n", ""])
  })

  test("renderMarkdown() keeps the line breaks of a paragraph", () => {
    expect(renderMarkdown("roses\nviolets", 40, false)).toBe("roses\nviolets")
    expect(renderMarkdown("**bold**", 40, true)).toContain("\x1b[1mbold")
  })

  /** The screen after a text has come in pieces of `size` characters. */
  function shown(text: string, size: number): string[] {
    const io = fakeIo()
    const writer = new MarkdownWriter(io, 0)
    for (let i = 0; i < text.length; i += size) writer.push(text.slice(i, i + size))
    writer.end()
    return screenOf(io.text())
  }

  test("a MarkdownWriter leaves the same screen however the text is cut", () => {
    const text =
      "# Title\n\nA paragraph that is longer than one row of this narrow terminal, **bold** too.\n\n" +
      "- one\n- two\n\n```js\nlet a = 1\n\nlet b\n```\n\n1. first\n\n2. second\n\nlast line\nand more"
    const whole = shown(text, text.length)
    for (const size of [1, 2, 7, 50]) expect(shown(text, size)).toEqual(whole)
    expect(whole.join("\n")).toContain("one row\nof this narrow")
    expect(whole.join("\n")).not.toContain("**")
    expect(whole.at(-1)).toBe("")
  })

  test("what is being written is on the screen as it stands", () => {
    const io = fakeIo()
    const writer = new MarkdownWriter(io, 0)
    const text = "# Title\n\nSome **bold** text that needs more than a row\n\n\nand"
    const screens = [...text].map((c) => (writer.push(c), screenOf(io.text())))
    expect(screens.every((s, i) => s.join("").includes(text[i]!.trim()))).toBe(true)
    expect(screens[25]).toEqual(["Title", "=====", "", "Some **bold** tex"])
    expect(screens.at(-1)!.slice(3)).toEqual([
      "Some bold text that needs more than a",
      "row",
      "",
      "and",
    ])
    writer.end()
  })

  test("a block taller than the screen is shown by its end, then whole", () => {
    const text = Array.from({ length: 30 }, (_, i) => `line ${i}`).join("\n")
    expect(shown(text, 3)).toEqual([...text.split("\n"), ""])
  })
})

const END: GenerateEnd = {
  type: "end",
  reason: "stop",
  ids: [1, 2],
  text: "",
  usage: { promptTokens: 20, cachedTokens: 8, completionTokens: 45, reasoningTokens: 0 },
  timings: { prefillMs: 200, firstTokenMs: 210, decodeMs: 1410 },
}

describe("AnswerPrinter", () => {
  const EVENTS: GenerateEvent[] = [
    { type: "prefill", done: 12, total: 12, cached: 0 },
    { type: "thinking", text: "hm\x1b" },
    { type: "text", text: "**Yes**\x1b[2J\n\n" },
    { type: "text", text: "and" },
    { type: "call_start", index: 0, name: "look" },
    { type: "call_arguments", index: 0, text: '{"a": 1}' },
    { type: "call_end", index: 0 },
    END,
  ]
  const print = (io: ReturnType<typeof fakeIo>, isSilent = false) => {
    const printer = new AnswerPrinter(io, isSilent)
    for (const event of EVENTS) printer.show(event)
    return printer.answer
  }

  test("a pipe gets the model's text and nothing else", () => {
    const io = fakeIo({ outTTY: false, movesCursor: false })
    const answer = print(io)
    expect(io.text()).toBe('**Yes**\x1b[2J\n\nandlook {"a": 1}')
    expect(answer.reasoning).toBe("hm\x1b")
    expect(answer.calls).toEqual([
      { type: "function", function: { name: "look", arguments: '{"a": 1}' } },
    ])
  })

  test("a terminal gets reasoning, rendered text and calls apart", () => {
    const io = fakeIo()
    print(io)
    expect(screenOf(io.text())).toEqual(["hm", "", "Yes[2J", "", "and", "", 'look {"a": 1}', ""])
  })

  test("prints nothing where the caller wants the whole", () => {
    const io = fakeIo()
    expect(print(io, true).text).toBe("**Yes**\x1b[2J\n\nand")
    expect(io.text()).toBe("")
  })

  test("statsLine() says tokens, cache, first token and speed", () => {
    expect(statsLine(END)).toBe(
      "20 tokens read (8 cached), first token after 0.21 s, 45 written at 31.2 tokens/s",
    )
  })
})

describe("estimates", () => {
  const FLASH = {
    nLayers: 43,
    dim: 4096,
    vocabSize: 129280,
    nHeads: 64,
    headDim: 512,
    qLoraRank: 1024,
    oLoraRank: 1024,
    oGroups: 8,
    nExpertsUsed: 6,
    expertDim: 2048,
  } as Config

  test("of the full model: 13 billion weights a token, 15 tokens a second on two cores", () => {
    expect(activeWeights(FLASH) / 1e9).toBeCloseTo(12.7, 1)
    expect(expectedRate(FLASH, 2)).toBeCloseTo(15.7, 1)
    expect(waitNotice(9000, 15)).toBe("Reading 9000 tokens first, about 10 min")
    expect(waitNotice(10, 15, 86e9)).toBe("Reading 10 tokens first, about 58 s")
    expect(waitNotice(100, 15)).toBeUndefined()
  })

  test("progress has tokens, percent, speed and what is left", () => {
    expect(prefillText({ done: 612, total: 2048, cached: 100 }, 1000)).toBe(
      "Reading 612 of 2048 tokens (29 %, 512 tokens/s, 3 s left)",
    )
    expect(prefillText({ done: 100, total: 2048, cached: 100 }, 0)).toBe(
      "Reading 100 of 2048 tokens (4 %)",
    )
    expect([duration(7.2), duration(120), duration(9000)]).toEqual(["8 s", "2 min", "2.5 h"])
  })
})

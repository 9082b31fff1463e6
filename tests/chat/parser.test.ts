import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  OutputParser,
  collectEvents,
  mergeEvents,
  parseConversation,
  parseOutput,
  render,
  spansToText,
} from "../../src/chat/index.ts"
import type { ChatEvent } from "../../src/chat/index.ts"
import { fullLines, localLines } from "./goldens.ts"
import type { ParseCase } from "./goldens.ts"

const END = "<｜end▁of▁sentence｜>"
const OPEN = "\n\n<｜DSML｜tool_calls>\n"
const CLOSE = `</｜DSML｜tool_calls>${END}`

/** The events of an output that comes in these pieces, deltas merged. */
function events(pieces: readonly string[], thinking: boolean): ChatEvent[] {
  const parser = new OutputParser({ thinking })
  return mergeEvents([...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()])
}

/** Places to cut at, from a seed: a few, or very many. */
function cutBySeed(text: string, seed: number): string[] {
  const pieces: string[] = []
  let state = seed
  for (let at = 0; at < text.length;) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    const size = 1 + ((state >>> 16) % (seed % 2 === 0 ? 7 : 60))
    pieces.push(text.slice(at, at + size))
    at += size
  }
  return pieces
}

function expectGoldens(lines: readonly string[], allSplits: boolean): void {
  for (const line of lines) {
    const { id, form, thinking, output, result } = JSON.parse(line) as ParseCase
    const whole = events([output], thinking)
    const want = JSON.stringify(whole)
    const step = allSplits ? 1 : 5
    for (let at = 0; at <= output.length; at += step) {
      const got = JSON.stringify(events([output.slice(0, at), output.slice(at)], thinking))
      if (got !== want) expect([id, at, got]).toEqual([id, at, want])
    }
    for (const seed of [1, 2, 3, 4]) {
      expect(JSON.stringify(events(cutBySeed(output, seed), thinking))).toBe(want)
    }
    expect(JSON.stringify(events(Array.from(output), thinking))).toBe(want)

    const { content, reasoning_content, tool_calls, error } = parseOutput(output, { thinking })
    const got = { role: "assistant", content, reasoning_content, tool_calls }
    if (form === "well") {
      expect(error).toBeUndefined()
      expect(got as unknown).toEqual(result)
    } else if (form === "bad") {
      expect([id, error]).not.toEqual([id, undefined])
    }
  }
}

const full = fullLines("parse.jsonl")
const call = (name: string, args: string) => ({
  type: "function" as const,
  function: { name, arguments: args },
})
const parse = (output: string, thinking = false) => parseOutput(output, { thinking })

describe("OutputParser", () => {
  test("meets a part of the goldens, however they are cut", () => {
    const lines = localLines("parse.jsonl")
    expect(lines.length).toBe(77)
    expectGoldens(lines, false)
  })

  test.skipIf(!full)("meets all goldens, however they are cut", () => {
    expect(full!.length).toBe(230)
    expectGoldens(full!, true)
  })

  test.skipIf(!full)(
    "takes odd outputs as the official parser does, but cut and plain ones",
    () => {
      for (const line of full!) {
        const { id, about, form, thinking, output, result } = JSON.parse(line) as ParseCase
        if (form !== "odd") continue
        const parsed = parseOutput(output, { thinking })
        if (about === "cut" || about === "no_eos") expect(parsed.finish).toBe("cut")
        if (about === "cut") expect(parsed.tool_calls).toEqual([])
        if (about === "cut" || about === "plain_xml") continue
        if (about === "bars" && output.includes("<DSML｜")) continue // a spelling that we take
        const { content, reasoning_content, tool_calls } = parsed
        expect([id, content, reasoning_content, tool_calls]).toEqual([
          id,
          result!.content,
          result!.reasoning_content,
          result!.tool_calls,
        ])
      }
    },
  )

  test("streams arguments as they come", () => {
    const parser = new OutputParser({ thinking: false })
    const first = parser.push(`Hi.${OPEN}<｜DSML｜invoke name="note">\n<｜DSML｜parameter name="t`)
    expect(first).toEqual([
      { type: "text", text: "Hi." },
      { type: "call_start", index: 0, name: "note" },
      { type: "call_arguments", index: 0, text: "{" },
    ])
    expect(mergeEvents(parser.push('ext" string="true">say "hi"\nand'))).toEqual([
      { type: "call_arguments", index: 0, text: '"text": "say \\"hi\\"\\nand' },
    ])
    expect(parser.push(" more <")).toEqual([{ type: "call_arguments", index: 0, text: " more " }])
    const rest = parser.push(`b></｜DSML｜parameter>\n</｜DSML｜invoke>\n${CLOSE}`)
    expect(mergeEvents([...rest, ...parser.end()])).toEqual([
      { type: "call_arguments", index: 0, text: '<b>"}' },
      { type: "call_end", index: 0 },
      { type: "done", finish: "tool_calls" },
    ])
  })

  test("holds back only what may begin a tag, and white space", () => {
    const parser = new OutputParser({ thinking: true })
    const texts = (piece: string): string =>
      parser
        .push(piece)
        .flatMap((event) => ("text" in event ? [event.text] : []))
        .join("")
    expect(texts("so <")).toBe("so ")
    expect(texts("b> it")).toBe("<b> it")
    expect(texts(" is</thi")).toBe(" is")
    expect(texts("nk>a \n")).toBe("a")
    expect(texts("b<｜DS")).toBe(" \nb")
    expect(texts("x")).toBe("<｜DSx")
  })

  test("a text without end token is stopped if the caller says so, else cut", () => {
    const end = (stopped: boolean): ChatEvent[] => {
      const parser = new OutputParser({ thinking: false })
      return mergeEvents([...parser.push("a <｜DS"), ...parser.end(stopped)])
    }
    expect(end(true)).toEqual([
      { type: "text", text: "a <｜DS" },
      { type: "done", finish: "stop" },
    ])
    expect(end(false)).toEqual([
      { type: "text", text: "a" },
      { type: "done", finish: "cut", error: "missing_end", rest: " <｜DS" },
    ])
  })

  test("a call that is cut is not complete, and nothing of its markup is shown", () => {
    const output = `Hi.${OPEN}<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="a" string="true">wor`
    expect(events([output], false)).toEqual([
      { type: "text", text: "Hi." },
      { type: "call_start", index: 0, name: "f" },
      { type: "call_arguments", index: 0, text: '{"a": "wor' },
      { type: "call_cut", index: 0 },
      { type: "done", finish: "cut", error: "unclosed_block", rest: output.slice(3) },
    ])
  })
})

describe("parseOutput() where the output departs from the protocol", () => {
  const body = (open: string, close: string, value = "1"): string =>
    `<${open}invoke name="f">\n<${open}parameter name="a" string="true">${value}` +
    `</${close}parameter>\n</${close}invoke>\n`

  test("other spellings of the tags", () => {
    for (const name of ["DSML｜", ""]) {
      const output = `Hi.\n<${name}tool_calls>${body(name, name)}</${name}tool_calls>${END}`
      const parsed = parse(output)
      expect(parsed.tool_calls).toEqual([call("f", '{"a": "1"}')])
      expect([parsed.content, parsed.finish]).toEqual(["Hi.", "tool_calls"])
      const strict = parseOutput(output, { thinking: false, otherSpellings: false })
      expect([strict.content, strict.tool_calls]).toEqual([output.slice(0, -END.length), []])
    }
  })

  test("attributes in any order and quotes, entities in them but not in values", () => {
    const value = "a &amp; b"
    const output =
      `<tool_calls><invoke name='x &amp; y'> <parameter string="true" name="k&quot;">${value}` +
      `</parameter><parameter name=n string=False>[1]</parameter></invoke></tool_calls>`
    expect(parse(output + END).tool_calls).toEqual([
      call("x & y", `{"k\\"": "${value}", "n": [1]}`),
    ])
  })

  test("nested parameters form an object", () => {
    const inner =
      '<parameter name="x" string="false">1</parameter> <parameter name="y">2</parameter>'
    const output = `<tool_calls><invoke name="f"><parameter name="o">\n${inner}</parameter></invoke></tool_calls>`
    expect(parse(output + END).tool_calls).toEqual([call("f", '{"o": {"x": 1, "y": "2"}}')])
    const dsml = output.replaceAll(/<(\/?)(?=tool|inv|par)/g, "<$1｜DSML｜")
    expect(parse(dsml + END).tool_calls).toEqual([call("f", '{"o": {"x": 1, "y": "2"}}')])
  })

  test("a second call that is none leaves the first, and comes out as text", () => {
    const bad = "<｜DSML｜invoke>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
    const parsed = parse(`Hi.${OPEN}${body("｜DSML｜", "｜DSML｜")}${bad}${END}`)
    expect(parsed.tool_calls).toEqual([call("f", '{"a": "1"}')])
    expect(parsed.content).toBe(`Hi.${bad}`)
    expect(parsed.error).toBe("bad_invoke")
  })

  test("what is no call comes out whole, as text", () => {
    const block = `${OPEN}<｜DSML｜invoke name="f">\nso what?\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>`
    expect(parse(`Hi.${block}${END}`)).toEqual({
      content: `Hi.${block}`,
      reasoning_content: "",
      tool_calls: [],
      finish: "stop",
      error: "bad_invoke",
    })
  })

  test("calls in the reasoning stay reasoning", () => {
    const block = `${OPEN}${body("｜DSML｜", "｜DSML｜")}</｜DSML｜tool_calls>`
    const parsed = parse(`hm${block}</think>ok${END}`, true)
    expect([parsed.reasoning_content, parsed.content]).toEqual([`hm${block}`, "ok"])
    expect([parsed.tool_calls, parsed.error]).toEqual([[], "missing_think_end"])
  })
})

/** Everything an output may be made of. */
const SCRAPS = [
  ...' \n<>/"=a｜',
  END,
  "<think>",
  "</think>",
  "｜DSML｜",
  "<｜DSML｜tool_calls>\n",
  "\n\n<｜DSML｜tool_calls>\n",
  "</｜DSML｜tool_calls>",
  '<｜DSML｜invoke name="f">\n',
  "</｜DSML｜invoke>\n",
  '<｜DSML｜parameter name="a" string="true">',
  '<｜DSML｜parameter name="b" string="false">',
  '<｜DSML｜parameter name="c">',
  "</｜DSML｜parameter>\n",
  "<tool_calls>",
  '<invoke name="g">',
  '<parameter name="a">',
  "</parameter>",
  "</invoke>",
  "</tool_calls>",
  "<DSML｜tool_calls>",
  "wörld 🙂",
]

describe("properties", () => {
  const output = fc
    .array(fc.constantFrom(...SCRAPS), { maxLength: 24 })
    .map((parts) => parts.join(""))

  test("events do not depend on how the text is cut, and there is one done", () => {
    fc.assert(
      fc.property(output, fc.boolean(), fc.nat(1000), (text, thinking, seed) => {
        const whole = events([text], thinking)
        expect(whole.filter(({ type }) => type === "done")).toEqual([whole.at(-1)!])
        const want = JSON.stringify(whole)
        expect(JSON.stringify(events(cutBySeed(text, seed), thinking))).toBe(want)
        expect(JSON.stringify(events(Array.from(text), thinking))).toBe(want)
      }),
      { seed: 165, numRuns: 4000 },
    )
  })

  test("no text is lost: words are in the message or in the rest", () => {
    fc.assert(
      fc.property(output, fc.boolean(), (text, thinking) => {
        const { content, reasoning_content, tool_calls, rest = "" } = parse(text, thinking)
        const all = [
          reasoning_content,
          content,
          ...tool_calls.map((c) => c.function.arguments),
          rest,
        ]
        const count = (where: string): number => where.split("wörld").length
        expect(count(all.join(""))).toBe(count(text))
      }),
      { seed: 166, numRuns: 4000 },
    )
  })

  test("calls are read as they were rendered", () => {
    const word = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 })
    const key = word.filter((text) => !/["｜]/.test(text))
    const args = fc.dictionary(key, fc.oneof(word, fc.integer(), fc.constant(null), fc.array(word)))
    const calls = fc.array(fc.tuple(key, args), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(calls, word, word, (list, reasoning_content, content) => {
        const tool_calls = list.map(([name, value]) => call(name, JSON.stringify(value)))
        const message = { role: "assistant", reasoning_content, content, tool_calls }
        const raw = JSON.stringify({ messages: [message], thinking: true })
        const text = spansToText(render(parseConversation(raw), { addBos: false }))
        const parsed = parse(text, true)
        expect(parsed.error).toBeUndefined()
        expect([parsed.reasoning_content, parsed.content]).toEqual([reasoning_content, content])
        expect(
          parsed.tool_calls.map(({ function: fn }) => [fn.name, JSON.parse(fn.arguments)]),
        ).toEqual(tool_calls.map(({ function: fn }) => [fn.name, JSON.parse(fn.arguments)]))
      }),
      { seed: 167, numRuns: 500 },
    )
  })

  test("collectEvents() of merged events is the same message", () => {
    fc.assert(
      fc.property(output, fc.boolean(), (text, thinking) => {
        const merged = collectEvents(events([text], thinking))
        expect(merged).toEqual(parse(text, thinking))
      }),
      { seed: 168, numRuns: 200 },
    )
  })
})

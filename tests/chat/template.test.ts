import { describe, expect, test } from "bun:test"
import {
  RenderError,
  conversationOf,
  encodePrompt,
  parseConversation,
  parseConversations,
  parseJson,
  render,
  spansToText,
} from "../../src/chat/index.ts"
import type { Conversation, Json, RenderOptions, Span } from "../../src/chat/index.ts"
import { fullLines, localLines } from "./goldens.ts"
import type { RenderCase } from "./goldens.ts"

/** Texts that are control tokens, longest first, as the goldens count them. */
const CONTROLS = [
  "<｜begin▁of▁sentence｜>",
  "<｜end▁of▁sentence｜>",
  "<｜tool▁outputs▁begin｜>",
  "<｜tool▁calls▁begin｜>",
  "<｜latest_reminder｜>",
  "<｜search▁begin｜>",
  "<｜extracted_url｜>",
  "<｜fim▁begin｜>",
  "<｜Assistant｜>",
  "<｜authority｜>",
  "<｜fim▁hole｜>",
  "<｜read_url｜>",
  "<｜fim▁end｜>",
  "<｜action｜>",
  "<｜domain｜>",
  "<｜▁pad▁｜>",
  "<｜query｜>",
  "<｜title｜>",
  "<｜User｜>",
  "</think>",
  "｜DSML｜",
  "<|EOT|>",
  "</dsml:",
  "<think>",
  "<dsml:",
]
const CONTROL_PATTERN = new RegExp(
  CONTROLS.map((text) => text.replaceAll("|", "\\|")).join("|"),
  "g",
)

/** Where control tokens stand in the text of a prompt. */
function controlPlaces(spans: readonly Span[]): number[] {
  let at = 0
  return spans.flatMap((span) => {
    const start = at
    at += spansToText([span]).length
    return typeof span === "string" ? [] : [start]
  })
}

/** Renders a golden line, read so that no digit is lost. */
function renderCase(line: string, { options }: RenderCase): Span[] {
  const tree = new Map(parseJson(line) as Map<string, Json>)
  const thinking = { thinking: true, chat: false }[options.thinking_mode] ?? options.thinking_mode
  tree.set("thinking", thinking)
  tree.set("effort", options.effort)
  tree.set("drop_thinking", options.drop_thinking)
  const { encoder, add_bos: addBos } = options
  return render(conversationOf(tree), { encoder, addBos })
}

function expectGoldens(lines: readonly string[]): void {
  for (const line of lines) {
    const golden = JSON.parse(line) as RenderCase
    if (golden.error !== undefined) expectError(line, golden)
    else expectText(line, golden)
  }
}

function expectText(line: string, golden: RenderCase): void {
  const spans = renderCase(line, golden)
  expect(spansToText(spans)).toBe(golden.text!)
  const places = Array.from(golden.text!.matchAll(CONTROL_PATTERN), ({ index }) => index)
  const plain = new Set(golden.plain)
  expect(controlPlaces(spans)).toEqual(places.filter((at) => !plain.has(at)))
  spans.forEach((span, i) => {
    if (typeof span === "string") expect(typeof spans[i + 1]).not.toBe("string")
  })
}

/** Lists of parts and arguments that are no object are taken; all else that DeepSeek's encoder
 *  refuses is refused under its name. */
function expectError(line: string, golden: RenderCase): void {
  let code: string | undefined
  try {
    renderCase(line, golden)
  } catch (error) {
    if (!(error instanceof RenderError)) throw error
    code = error.code
  }
  if (code !== undefined) return expect(code).toBe(golden.error!)
  const { messages } = JSON.parse(line) as { messages: { content: unknown }[] }
  const kinder =
    golden.error === "arguments_not_object" ||
    (golden.error === "content_not_text" && messages.some(({ content }) => Array.isArray(content)))
  expect([golden.id, kinder]).toEqual([golden.id, true])
}

const full = fullLines("render.jsonl")
const text = (conversation: Conversation, options?: RenderOptions): string =>
  spansToText(render(conversation, options))
const user = (content: string) => ({ role: "user", content }) as const
const END = "<｜end▁of▁sentence｜>"

describe("render()", () => {
  test("gives what DeepSeek's encoder gives, on a part of the goldens", () => {
    const lines = localLines("render.jsonl")
    expect(lines.length).toBe(80)
    expectGoldens(lines)
  })

  test.skipIf(!full)("gives it on all goldens", () => {
    expect(full!.length).toBe(419)
    expectGoldens(full!)
  })

  test("drops old reasoning (spec §16.6)", () => {
    const messages = [
      { role: "system", content: "You are a helpful assistant." },
      user("Hello"),
      { role: "assistant", reasoning_content: "A greeting.", content: "Hi there!" },
      user("What is the capital of France?"),
      { role: "assistant", reasoning_content: "It is Paris.", content: "Paris." },
    ]
    expect(text({ messages })).toBe(
      "<｜begin▁of▁sentence｜>You are a helpful assistant.<｜User｜>Hello<｜Assistant｜></think>" +
        `Hi there!${END}<｜User｜>What is the capital of France?<｜Assistant｜><think>` +
        `It is Paris.</think>Paris.${END}`,
    )
  })

  test("renders a tool loop (spec §16.6), with arguments as text or as an object", () => {
    for (const given of ['{"location":"Beijing","days":3}', { location: "Beijing", days: 3 }]) {
      const call = { id: "c", function: { name: "get_weather", arguments: given } }
      const messages = [
        user("Weather?"),
        { role: "assistant", reasoning_content: "Look.", content: null, tool_calls: [call] },
        { role: "tool", tool_call_id: "c", content: '{"t": 22}' },
      ]
      const tools = [{ type: "function", function: { name: "get_weather" } }]
      expect(text({ messages, tools })).toEndWith(
        "<｜User｜>Weather?<｜Assistant｜><think>Look.</think>\n\n<｜DSML｜tool_calls>\n" +
          '<｜DSML｜invoke name="get_weather">\n' +
          '<｜DSML｜parameter name="location" string="true">Beijing</｜DSML｜parameter>\n' +
          '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n' +
          `</｜DSML｜invoke>\n</｜DSML｜tool_calls>${END}` +
          '<｜User｜><tool_result>{"t": 22}</tool_result><｜Assistant｜><think>',
      )
    }
  })

  test("keeps arguments that are no JSON or no object, unchanged", () => {
    for (const given of ["not json", "{", '{"dir": "sr', "[1, 2]", '"text"', "7", ""]) {
      const call = { function: { name: "ls", arguments: given } }
      const messages = [user("List."), { role: "assistant", content: "", tool_calls: [call] }]
      expect(text({ messages })).toContain(
        `<｜DSML｜parameter name="arguments" string="true">${given}</｜DSML｜parameter>`,
      )
    }
  })

  test("emptyArguments: empty, null or missing arguments mean none", () => {
    for (const given of ["", null, undefined]) {
      const call = { function: { name: "ls", arguments: given } }
      const messages = [{ role: "assistant", content: "", tool_calls: [call] }]
      expect(text({ messages }, { emptyArguments: true })).toContain(
        '<｜DSML｜invoke name="ls">\n\n</｜DSML｜invoke>',
      )
    }
  })

  test("openAssistant: opens the turn after a system message or reminder, and only there", () => {
    const serve = (messages: Conversation["messages"], thinking = true): string =>
      text({ messages, thinking }, { openAssistant: true })
    const system = { role: "system", content: "S" }
    const reminder = { role: "latest_reminder", content: "R" }
    expect(serve([system])).toBe("<｜begin▁of▁sentence｜>S<｜Assistant｜><think>")
    expect(serve([user("a"), reminder], false)).toEndWith("R<｜Assistant｜></think>")
    expect(serve([user("a")])).toBe(text({ messages: [user("a")] }))
    expect(serve([user("a"), { role: "assistant", content: "b" }])).toEndWith(`b${END}`)
    expect(text({ messages: [system] })).toBe("<｜begin▁of▁sentence｜>S")
  })

  test("tools: [] and JSON text of tools", () => {
    const messages = [user("a")]
    expect(text({ messages, tools: [] })).toBe(text({ messages }))
    const raw = '[{"type":"function","function":{"name":"f","parameters":{"10":1.0,"2":1e1}}}]'
    expect(text({ messages, tools: raw })).toContain(
      '\n\n{"name": "f", "parameters": {"10": 1.0, "2": 10.0}}\n\n',
    )
  })

  test("errors have a code and a place", () => {
    const bad: [unknown, string, string?][] = [
      [{ messages: 1 }, "bad_request", "messages"],
      [{ messages: [{ content: "a" }] }, "unknown_role", "messages[0]"],
      [
        { messages: [user("a"), { role: "user", content: null }] },
        "content_not_text",
        "messages[1]",
      ],
      [{ messages: [user("a")], tools: 1 }, "bad_request", "tools"],
      [{ messages: [user("a")], tools: [{}] }, "tool_without_function", "request.tools[0]"],
      [{ messages: [{ role: "assistant", tool_calls: [{}] }] }, "call_without_function"],
      [{ messages: [user("a")], effort: "medium", thinking: false }, "unknown_effort"],
    ]
    for (const [conversation, code, path] of bad) {
      try {
        render(conversation as Conversation)
        expect(code).toBe("rendered")
      } catch (error) {
        if (!(error instanceof RenderError)) throw error
        expect(error.code as string).toBe(code)
        if (path !== undefined) expect(error.path).toBe(path)
      }
    }
  })

  test("content as a list of parts, everywhere", () => {
    const parts = [
      { type: "text", text: "a" },
      { type: "image_url", image_url: {} },
      { type: "text", text: "b" },
    ]
    const want = "a\n\n[Unsupported image_url]\n\nb"
    for (const role of ["system", "user", "developer", "assistant", "latest_reminder"]) {
      expect(text({ messages: [{ role, content: parts }] })).toContain(want)
    }
    const messages = [{ role: "tool", content: parts }]
    expect(text({ messages })).toContain(`<tool_result>${want}</tool_result>`)
  })
})

test("encodePrompt() looks control tokens up by name and refuses one that is missing", () => {
  const tokenizer = {
    id: (name: string) => (name === "<｜User｜>" ? 7 : undefined),
    encodeSpans: (spans: Iterable<number | string>) =>
      Array.from(spans, (span) => (typeof span === "number" ? span : span.length)),
  }
  expect(encodePrompt(tokenizer, [{ control: "<｜User｜>" }, "<｜User｜>"])).toEqual([7, 8])
  expect(() => encodePrompt(tokenizer, [{ control: "<think>" }])).toThrow(/no token <think>/)
})

describe("parseConversations()", () => {
  const one = '{"messages": [{"role": "user", "content": "a\u2028b"}], "thinking": false}'

  test("reads one object, over several lines too, or an object a line", () => {
    const pretty = JSON.stringify(JSON.parse(one), null, 2)
    expect(parseConversations(pretty)).toEqual([parseConversation(one)])
    expect(parseConversations(`\ufeff${one}\n`)).toEqual([parseConversation(one)])
    expect(parseConversations(`${one}\r\n\n${one}\n`)).toHaveLength(2)
  })

  test("reads thinking, effort and drop_thinking", () => {
    const conversation = parseConversation(
      '{"messages": [], "thinking": true, "effort": "max", "drop_thinking": false, "n": 1}',
    )
    expect(conversation).toEqual({
      messages: [],
      thinking: true,
      effort: "max",
      dropThinking: false,
    })
    const absent = '{"messages": [], "thinking": null, "effort": null, "drop_thinking": null}'
    expect(parseConversation(absent)).toEqual({ messages: [] })
  })

  test("names the line and what is wrong with it", () => {
    expect(() => parseConversations(`${one}\n{"messages": 1}\n`)).toThrow(/messages.*\(line 2\)/)
    expect(() => parseConversations("")).toThrow(/Cannot read JSON/)
    expect(() => parseConversations("[1]")).toThrow(/expected an object/)
    expect(() => parseConversations('{\n"messages": [}\n')).toThrow(/character 15/)
    expect(() => parseConversation('{"messages": [], "thinking": "yes"}')).toThrow(/thinking/)
  })
})

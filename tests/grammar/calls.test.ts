import { describe, expect, test } from "bun:test"
import Ajv from "ajv"
import { parseOutput } from "../../src/chat/index.ts"
import { type Constraint, grammarOf } from "../../src/grammar/index.ts"
import { allows, fullWords, miniWords, randomText, type Words } from "./support.ts"

const tool = (name: string, parameters?: unknown, strict = false) => ({
  type: "function",
  function: { name, description: "d", ...(parameters !== undefined && { parameters }), strict },
})
const calls = (tools: unknown[], more: Partial<Constraint> = {}): Constraint => ({
  kind: "calls",
  tools: JSON.stringify(tools),
  forced: true,
  parallel: true,
  ...(more as object),
})

const TOOLS = [
  tool("read_file", {
    type: "object",
    properties: {
      path: { type: "string", maxLength: 30 },
      limit: { type: "integer", minimum: 1, maximum: 500 },
      mode: { anyOf: [{ enum: ["r"] }, { type: "string", enum: ["b", '"q" & <x>'] }] },
      label: { type: ["string", "null"], maxLength: 8 },
      options: { type: "object", properties: { deep: { type: "boolean" } }, required: ["deep"] },
      tags: { type: "array", items: { type: "string", maxLength: 20 } },
    },
    required: ["path", "options"],
  }),
  tool("note", {
    type: "object",
    properties: { text: { enum: ["buy milk"] } },
    required: ["text"],
  }),
  tool("ping"),
]

const all: [string, Words][] = [
  ["mini", miniWords()],
  ["full", await fullWords()],
]

describe.each(all)("%s vocabulary", (name, words) => {
  const end = words.tokenizer.token(words.tokenizer.eosId!)

  test("forced calls are read back by the parser, without a fault, and hold to the schemas", () => {
    const ajv = new Ajv({ strict: false })
    for (let seed = 1; seed <= (name === "mini" ? 60 : 10); seed++) {
      const text = randomText(words, calls(TOOLS), seed, 20_000)
      const out = parseOutput(text + end, { thinking: false })
      expect([text, out.error, out.content]).toEqual([text, undefined, ""])
      expect(out.tool_calls.length).toBeGreaterThan(0)
      for (const { function: call } of out.tool_calls) {
        const known = TOOLS.find((t) => t.function.name === call.name)!
        const schema = known.function.parameters as object | undefined
        const args = JSON.parse(call.arguments)
        if (schema)
          expect([call.arguments, ajv.validate(schema, args)]).toEqual([call.arguments, true])
      }
    }
  })

  test("one call where only one may be", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const text = randomText(words, calls([tool("ping")], { parallel: false } as object), seed)
      expect(text.replace(">\n\n<", ">\n<")).toBe(
        '\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="ping">\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>',
      )
    }
  })

  test("free text goes on as it likes; once calls begin they are whole", () => {
    const free = calls(TOOLS, { forced: false } as object)
    const block =
      '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="ping">\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>'
    for (const text of ["", "Hello <b>there</b>\n\n", `Let me see.\n\n${block}`])
      expect([text, allows(words, free, text)]).toEqual([text, true])
    for (const text of [
      "<｜DSML｜tool_calls>",
      block.replace("ping", "pong"),
      `${block} and more`,
      block.replaceAll("\n", ""),
    ])
      expect([text, allows(words, free, text)]).toEqual([text, false])
  })

  test("text runs into no call where there is no tool to call, or none that can be", () => {
    const schema = { type: "object", properties: { x: { $ref: "#" } }, required: ["x"] }
    for (const tools of [[], [tool("odd", schema, true)]]) {
      const free = calls(tools, { forced: false } as object)
      for (const text of ["", "Hello <b>there</b>\n\n"])
        expect([text, allows(words, free, text)]).toEqual([text, true])
      const matcher = words.grammars.matcher(free)
      for (const id of words.tokenizer.encode("<")) matcher.push(id)
      const [mask, dsml] = [matcher.mask()!, words.tokenizer.id("｜DSML｜")!]
      expect((mask[dsml >> 5]! >>> (dsml & 31)) & 1).toBe(0)
    }
  })

  test("a value may hold anything but its own end", () => {
    const call = (path: string) =>
      '\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="w">\n' +
      `<｜DSML｜parameter name="path" string="true">${path}</｜DSML｜parameter>\n` +
      "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
    const one = calls([tool("w", { type: "object", properties: { path: { type: "string" } } })])
    for (const path of ["", 'a "b" \\ \n </x> <y & 漢字 🌍', "</parameter>"])
      expect([path, allows(words, one, call(path))]).toEqual([path, true])
  })
})

test("a strict tool whose schema cannot be held to is refused by name, another one is free", () => {
  const schema = { type: "object", properties: { x: { not: {} } } }
  expect(() => grammarOf(calls([tool("odd", schema, true)]), true)).toThrow(/odd\.x: not/)
  grammarOf(calls([tool("odd", schema)]), true)
})

test("tools beyond measure are free, or refused where they are strict", () => {
  const properties = Object.fromEntries(
    Array.from({ length: 400 }, (_, i) => [`p${i}`, { type: "integer" }]),
  )
  const many = (strict: boolean) =>
    Array.from({ length: 50 }, (_, i) => tool(`t${i}`, { type: "object", properties }, strict))
  grammarOf(calls(many(false)), true)
  expect(() => grammarOf(calls(many(true)), true)).toThrow(/too large/)
})

/** Several answers, biases, answers that are gone on with, bounds of reasoning, calls sent back. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { GenerateEnd } from "../../src/generate/types.ts"
import type { Block } from "../../src/server/blocks.ts"
import { CallReplay } from "../../src/server/replay.ts"
import { type Answer, eventsOf, PLAIN, QUESTION, serveMini, type TestServer } from "./support.ts"

let server: TestServer
beforeAll(async () => {
  server = await serveMini()
})
afterAll(() => server.close())

describe("n", () => {
  test("answers are what requests with seeds that follow give, streaming or not", async () => {
    const body = {
      messages: QUESTION,
      reasoning_effort: "none",
      temperature: 2,
      seed: 7,
      max_tokens: 12,
    }
    const alone: string[] = []
    for (let i = 0; i < 3; i++) {
      const answer = await server.ask("/v1/chat/completions", { ...body, seed: 7 + i })
      alone.push(answer.choices[0].message.content)
    }
    const { choices, usage } = await server.ask("/v1/chat/completions", { ...body, n: 3 })
    expect(choices.map((c: Answer) => [c.index, c.message.content])).toEqual([...alone.entries()])
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens)
    const more = { ...body, n: 3, stream: true, stream_options: { include_usage: true } }
    const events = (await eventsOf(await server.post("/v1/chat/completions", more))) as Answer[]
    expect(events.pop()).toBe("[DONE]")
    expect(events.pop().usage).toMatchObject({ completion_tokens: usage.completion_tokens })
    const said = ["", "", ""]
    for (const {
      choices: [c],
    } of events)
      said[c.index] += c.delta.content ?? ""
    expect(said).toEqual(alone)
  })
})

test("text completions too", async () => {
  const body = { prompt: "The capital", temperature: 2, seed: 3, max_tokens: 6 }
  const alone = [3, 4].map(
    async (seed) => (await server.ask("/v1/completions", { ...body, seed })).choices,
  )
  const texts = (await Promise.all(alone)).map(([choice]) => choice.text)
  const { choices, usage } = await server.ask("/v1/completions", { ...body, n: 2 })
  expect(choices.map((c: Answer) => c.text)).toEqual(texts)
  expect(usage.completion_tokens).toBe(12)
  const response = await server.post("/v1/completions", { ...body, n: 2, stream: true })
  const said = ["", ""]
  for (const {
    choices: [c],
  } of (await eventsOf(response)).slice(0, -1) as Answer[])
    said[c.index] += c.text
  expect(said).toEqual(texts)
})

describe("return_progress", () => {
  test("says how far a long prompt is read", async () => {
    const content = "The sheep went to the river. ".repeat(200)
    const body = { messages: [{ role: "user", content }], max_tokens: 2, stream: true }
    const post = (more: object) => server.post("/v1/chat/completions", { ...body, ...more })
    const events = (await eventsOf(await post({ return_progress: true }))).slice(0, -1) as Answer[]
    const progress = events.flatMap((e) => e.prompt_progress ?? [])
    const { total } = progress[0]
    expect(total).toBeGreaterThan(1000)
    expect(progress.length).toBeGreaterThan(2)
    expect(progress.map((p: Answer) => p.processed)).toEqual(
      progress.map((p: Answer) => p.processed).toSorted((a: number, b: number) => a - b),
    )
    expect(progress.at(-1)).toMatchObject({ processed: total, total })
    const plain = await (await post({})).text()
    expect(plain).not.toContain("prompt_progress")
  })
})

describe("logit_bias", () => {
  test("bans and favours tokens; an id that there is not is a 400", async () => {
    const { tokens } = await server.ask("/tokenize", { content: " the" })
    const { tokens: begins } = await server.ask("/tokenize", { content: "The" })
    expect([tokens.length, begins.length]).toEqual([1, 1])
    const body = { ...PLAIN, max_tokens: 5 }
    const said = async (logit_bias: object) =>
      (await server.ask("/v1/chat/completions", { ...body, logit_bias })).choices[0].message.content
    expect(await said({ [begins[0]]: -100 })).not.toStartWith("The")
    expect(await said({ [tokens[0]]: 100 })).toBe(" the".repeat(5))
    const wrong = await server.post("/v1/chat/completions", { ...PLAIN, logit_bias: { 99999: 1 } })
    expect([wrong.status, ((await wrong.json()) as Answer).error.param]).toEqual([
      400,
      "logit_bias",
    ])
  })
})

describe("an assistant's text at the end", () => {
  const begun = [...QUESTION, { role: "assistant", content: "The capital of" }]
  test("is gone on with, in chat and Messages", async () => {
    const chat = await server.ask("/v1/chat/completions", { ...PLAIN, messages: begun })
    expect(chat.choices[0].message).toEqual({ role: "assistant", content: " France is Paris." })
    const message = await server.ask("/v1/messages", {
      messages: begun,
      temperature: 0,
      max_tokens: 50,
    })
    expect(message.content).toEqual([{ type: "text", text: " France is Paris." }])
  })
})

describe("bounds", () => {
  test("budget_tokens closes the reasoning", async () => {
    const thinking = { type: "enabled", budget_tokens: 3 }
    const chat = await server.ask("/v1/chat/completions", {
      messages: QUESTION,
      temperature: 0,
      thinking,
    })
    expect(chat.usage.completion_tokens_details.reasoning_tokens).toBe(4) // and what closes it
    expect(chat.choices[0].message.content).not.toBe("")
    expect(chat.choices[0].finish_reason).toBe("stop")
  })

  test("an answer that goes round in circles is cut with length", async () => {
    const {
      tokens: [paris],
    } = await server.ask("/tokenize", { content: " Paris" })
    const body = { ...PLAIN, max_tokens: 1000, logit_bias: { [paris]: 100 } }
    const {
      choices: [choice],
      usage,
    } = await server.ask("/v1/chat/completions", body)
    expect([choice.finish_reason, usage.completion_tokens]).toEqual(["length", 192])
  })
})

describe("calls sent back", () => {
  const tools = [
    {
      type: "function",
      function: {
        name: "note",
        parameters: {
          type: "object",
          properties: {
            list: { type: "array", items: { enum: [1, 2] }, minItems: 2, maxItems: 2 },
          },
          required: ["list"],
        },
      },
    },
  ]

  test("cost no more than what follows them, as the model wrote them", async () => {
    const body = { ...PLAIN, tools, tool_choice: "required", max_tokens: 300 }
    const {
      choices: [{ message }],
      usage,
    } = await server.ask("/v1/chat/completions", body)
    const [call] = message.tool_calls
    const args = JSON.stringify(JSON.parse(call.function.arguments)) // written anew, without blanks
    const history = [
      ...QUESTION,
      { ...message, tool_calls: [{ ...call, function: { ...call.function, arguments: args } }] },
      { role: "tool", tool_call_id: call.id, content: "done" },
    ]
    const next = await server.ask("/v1/chat/completions", {
      ...body,
      messages: history,
      max_tokens: 1,
    })
    // All but the end token, which was chosen and never computed.
    expect(next.usage.prompt_tokens_details.cached_tokens).toBe(usage.total_tokens - 1)
  })

  const call = (id: string, text: string): Block => ({
    index: 0,
    id,
    kind: "call",
    name: "f",
    text,
    isCut: false,
  })
  const sent = (id: string, args: string, name = "f") => [{ id, name, arguments: args, path: "" }]

  test("are known by id, name and arguments, and survive a restart", () => {
    const folder = mkdtempSync(join(tmpdir(), "ds4-replay-"))
    const file = join(folder, "deep", "calls.jsonl")
    const { tokenizer } = server.service
    const text = "Well.\n\n<｜DSML｜tool_calls>…</｜DSML｜tool_calls>"
    const ids = [...tokenizer.encodeSpecial(text), tokenizer.eosId!]
    const end: GenerateEnd = {
      type: "end",
      reason: "tool_calls",
      ids,
      text,
      usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 1, reasoningTokens: 0 },
      timings: { prefillMs: 0, firstTokenMs: 0, decodeMs: 0 },
    }
    const said: Block = { ...call("", "Well."), kind: "text" }
    try {
      const replay = new CallReplay(tokenizer, file)
      replay.remember(end, [said, call("a1", '{"x": 1}')])
      replay.remember({ ...end, reason: "length" }, [call("a2", "{}")])
      const foreign = JSON.stringify({
        reasoning: { ids: [], text: "" },
        content: "",
        answer: { ids: [5, 6], text: "other words of another vocabulary" },
        calls: [["a3", "f", "{}"]],
      })
      writeFileSync(file, `${readFileSync(file, "utf8")}broken\n{"answer": 1}\n${foreign}\n`)
      for (const known of [replay, new CallReplay(tokenizer, file)]) {
        const answer = { ids: ids.slice(0, -1), text }
        expect(known.find(sent("call_a1", '{"x":1}'))).toMatchObject({ content: "Well.", answer })
        expect(known.find(sent("toolu_a1", '{ "x": 1 }'))).toMatchObject({ answer })
        expect(known.find(sent("call_a1", '{"x":2}'))).toBe(undefined)
        expect(known.find(sent("call_a1", '{"x":1}', "g"))).toBe(undefined)
        expect(known.find([...sent("call_a1", '{"x":1}'), ...sent("b", "{}")])).toBe(undefined)
        for (const id of ["call_a2", "call_a3"]) expect(known.find(sent(id, "{}"))).toBe(undefined)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

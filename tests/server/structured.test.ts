/** Answers that are held to a form, forced calls and log-probabilities, over HTTP. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type Answer, eventsOf, PLAIN, QUESTION, serveMini, type TestServer } from "./support.ts"

const SCHEMA = {
  type: "object",
  properties: { city: { type: "string", maxLength: 20 }, n: { type: "integer" } },
  required: ["city", "n"],
  additionalProperties: false,
}
const FORMAT = { type: "json_schema", json_schema: { name: "x", strict: true, schema: SCHEMA } }
const NOTE = {
  name: "note",
  description: "Save a note.",
  parameters: { type: "object", properties: { text: { enum: ["buy milk"] } }, required: ["text"] },
}

let server: TestServer
beforeAll(async () => {
  server = await serveMini()
})
afterAll(() => server.close())

describe("response formats", () => {
  test("json_schema holds in every API, at any temperature, after reasoning too", async () => {
    const bodies: [path: string, body: object, content: (a: Answer) => string][] = [
      [
        "/v1/chat/completions",
        { ...PLAIN, response_format: FORMAT },
        (a) => a.choices[0].message.content,
      ],
      [
        "/v1/chat/completions",
        { messages: QUESTION, temperature: 2, min_p: 0, seed: 3, response_format: FORMAT },
        (a) => a.choices[0].message.content,
      ],
      [
        "/v1/responses",
        { input: "Go.", text: { format: { type: "json_schema", name: "x", schema: SCHEMA } } },
        (a) => a.output.at(-1).content[0].text,
      ],
      [
        "/v1/messages",
        {
          messages: QUESTION,
          max_tokens: 500,
          output_config: { format: { type: "json_schema", schema: SCHEMA } },
        },
        (a) => a.content.at(-1).text,
      ],
    ]
    for (const [path, body, content] of bodies) {
      const value = JSON.parse(content(await server.ask(path, body)))
      expect(Object.keys(value)).toEqual(["city", "n"])
      expect([typeof value.city, Number.isInteger(value.n)]).toEqual(["string", true])
    }
  })

  test("json_object is an object; the model sees the schema it is held to", async () => {
    const body = { ...PLAIN, max_tokens: 400, response_format: { type: "json_object" } }
    const answer = await server.ask("/v1/chat/completions", body)
    const { content } = answer.choices[0].message
    if (answer.choices[0].finish_reason === "stop")
      expect(typeof JSON.parse(content)).toBe("object")
    expect(content).toStartWith("{")
    const shown = await server.ask("/v1/chat/completions", {
      ...PLAIN,
      max_tokens: 0,
      response_format: FORMAT,
    })
    const plain = await server.ask("/v1/chat/completions", { ...PLAIN, max_tokens: 0 })
    expect(shown.usage.prompt_tokens).toBeGreaterThan(plain.usage.prompt_tokens + 50)
  })

  test("what cannot be held to is a 400 that names it, streaming or not", async () => {
    const odd = { type: "object", properties: { odd: { type: "string", not: {} } } }
    const schemas: [object, string][] = [
      [{ type: "json_schema", schema: {} }, "json_schema"],
      [{ type: "json_schema", json_schema: { name: "x", schema: odd } }, "schema.odd: not"],
      [{ type: "grammar" }, "response_format"],
    ]
    for (const [response_format, name] of schemas)
      for (const stream of [false, true]) {
        const response = await server.post("/v1/chat/completions", {
          ...PLAIN,
          response_format,
          stream,
        })
        expect(response.status).toBe(400)
        expect((await response.text()).replaceAll("\\", "")).toContain(name)
      }
  })

  test("neighbours in a batch are not held to it", async () => {
    const alone = await server.ask("/v1/chat/completions", PLAIN)
    const [free, held] = await Promise.all([
      server.ask("/v1/chat/completions", PLAIN),
      server.ask("/v1/chat/completions", { ...PLAIN, response_format: FORMAT }),
    ])
    expect(free.choices[0].message).toEqual(alone.choices[0].message)
    expect(JSON.parse(held.choices[0].message.content)).toHaveProperty("city")
  })
})

describe("forced calls", () => {
  const tools = [{ type: "function", function: NOTE }]
  const choices = ["required", { type: "function", function: { name: "note" } }]

  test.each(choices)("%j is called, in chat, with and without reasoning", async (tool_choice) => {
    for (const reasoning_effort of ["none", "high"]) {
      const body = { messages: QUESTION, temperature: 0, reasoning_effort, tools, tool_choice }
      const {
        choices: [choice],
      } = await server.ask("/v1/chat/completions", body)
      expect(choice.finish_reason).toBe("tool_calls")
      expect(choice.message.content).toBe(null)
      const [call] = choice.message.tool_calls
      expect(call.function).toEqual({ name: "note", arguments: '{"text": "buy milk"}' })
    }
  })

  test("in Responses and Messages", async () => {
    const { output } = await server.ask("/v1/responses", {
      input: "Go.",
      tools: [{ type: "function", ...NOTE }],
      tool_choice: { type: "function", name: "note" },
    })
    expect(output.at(-1)).toMatchObject({ type: "function_call", name: "note" })
    const { parameters: input_schema, ...rest } = NOTE
    const message = await server.ask("/v1/messages", {
      messages: QUESTION,
      max_tokens: 200,
      tools: [{ ...rest, input_schema }],
      tool_choice: { type: "any" },
    })
    expect(message.stop_reason).toBe("tool_use")
    expect(message.content.at(-1)).toMatchObject({ name: "note", input: { text: "buy milk" } })
  })

  test("cut by max_tokens they are no call and no text, and the end says length", async () => {
    for (let max_tokens = 1; max_tokens < 40; max_tokens += 3) {
      const body = { ...PLAIN, tools, tool_choice: "required", max_tokens }
      const {
        choices: [choice],
      } = await server.ask("/v1/chat/completions", body)
      if (choice.finish_reason === "tool_calls") break
      expect([choice.finish_reason, choice.message.content.trim()]).toEqual(["length", ""])
      expect(choice.message.tool_calls).toBe(undefined)
    }
  })

  test("a choice of no tool is a 400", async () => {
    for (const body of [
      { tool_choice: "required" },
      { tools, tool_choice: { type: "function", function: { name: "nota" } } },
    ]) {
      const response = await server.post("/v1/chat/completions", { ...PLAIN, ...body })
      expect([response.status, ((await response.json()) as Answer).error.param]).toEqual([
        400,
        "tool_choice",
      ])
    }
  })
})

describe("log-probabilities", () => {
  const bytesOf = (tokens: Answer[]) => Buffer.from(tokens.flatMap((t) => t.bytes)).toString()
  const more = { logprobs: true, top_logprobs: 3 }

  test("their bytes join to the content; greedy choices are the likeliest", async () => {
    for (const body of [
      PLAIN,
      { messages: QUESTION, temperature: 0 },
      { ...PLAIN, stop: [" is P"] },
    ]) {
      const {
        choices: [choice],
      } = await server.ask("/v1/chat/completions", { ...body, ...more })
      const { content: tokens } = choice.logprobs
      expect(bytesOf(tokens)).toBe(choice.message.content)
      for (const { logprob, token, top_logprobs } of tokens) {
        expect(top_logprobs.length).toBe(3)
        expect(logprob).toBeLessThanOrEqual(0)
        expect(top_logprobs[0].logprob).toBeGreaterThanOrEqual(top_logprobs[1].logprob)
        if (!body.hasOwnProperty("stop")) expect(top_logprobs[0]).toMatchObject({ token, logprob })
        const sum = top_logprobs.reduce((a: number, t: Answer) => a + Math.exp(t.logprob), 0)
        expect(sum).toBeLessThan(1.0001)
      }
    }
  })

  test("a stream has the same ones", async () => {
    const whole = await server.ask("/v1/chat/completions", { ...PLAIN, ...more })
    const response = await server.post("/v1/chat/completions", { ...PLAIN, ...more, stream: true })
    const events = (await eventsOf(response)).slice(0, -1) as Answer[]
    const tokens = events.flatMap((e) => e.choices[0].logprobs?.content ?? [])
    expect(tokens).toEqual(whole.choices[0].logprobs.content)
  })

  test("Responses has them where include says so, in events and items", async () => {
    const include = ["message.output_text.logprobs"]
    const body = {
      input: "What is the capital of France?",
      temperature: 0,
      include,
      top_logprobs: 2,
    }
    const { output } = await server.ask("/v1/responses", body)
    const [part] = output.at(-1).content
    expect(bytesOf(part.logprobs)).toBe(part.text)
    const events = (await (await server.post("/v1/responses", { ...body, stream: true })).text())
      .split("\n")
      .flatMap((line) => (line.startsWith("data: ") ? [JSON.parse(line.slice(6)) as Answer] : []))
    const deltas = events.filter((e) => e.type === "response.output_text.delta")
    expect(deltas.flatMap((e) => e.logprobs)).toEqual(part.logprobs)
    expect(events.at(-1).response.output.at(-1).content[0].logprobs).toEqual(part.logprobs)
  })

  test("what the form forbids is no alternative", async () => {
    const schema = { enum: ["yes", "no"] }
    const response_format = { type: "json_schema", json_schema: { name: "x", schema } }
    const answer = await server.ask("/v1/chat/completions", { ...PLAIN, ...more, response_format })
    const [{ message, logprobs }] = answer.choices
    expect(bytesOf(logprobs.content)).toBe(message.content)
    for (const { top_logprobs } of logprobs.content)
      for (const { token } of top_logprobs) expect('"yes" "no"').toContain(token)
  })

  test("text completions have them in the older shape", async () => {
    const body = { prompt: "The capital", max_tokens: 6, temperature: 0, logprobs: 2 }
    const {
      choices: [{ text, logprobs }],
    } = await server.ask("/v1/completions", body)
    expect(logprobs.tokens.join("")).toBe(text)
    expect(logprobs.token_logprobs.length).toBe(logprobs.tokens.length)
    expect(Object.keys(logprobs.top_logprobs[0]).length).toBe(2)
    expect(logprobs.text_offset[1]).toBe(logprobs.tokens[0].length)
  })
})

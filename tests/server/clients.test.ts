/** The SDKs that people use, against mini: what they accumulate from a stream is what they get whole. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import Anthropic from "@anthropic-ai/sdk"
import OpenAI from "openai"
import { serveMini, type TestServer } from "./support.ts"

const QUESTION = { role: "user" as const, content: "What is the capital of France?" }
const WEATHER = { role: "user" as const, content: "What is the weather in Paris?" }
const CITY = {
  type: "object" as const,
  properties: { city: { type: "string" } },
  required: ["city"],
}
const TOOL = { name: "get_weather", description: "Get the weather of a city" }
const ANSWER = "The capital of France is Paris."

let server: TestServer
let openai: OpenAI
let anthropic: Anthropic
beforeAll(async () => {
  server = await serveMini()
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 })
  anthropic = new Anthropic({ baseURL: server.url, apiKey: "none", maxRetries: 0 })
})
afterAll(() => server.close())

/** What a request fails with; the SDKs' promises are promises only in part. */
async function failureOf(request: PromiseLike<unknown>): Promise<unknown> {
  try {
    await request
  } catch (error) {
    return error
  }
  throw new Error("the request was to fail")
}

describe("openai", () => {
  const model = "ds4-mini"

  test("chat: whole, streamed, models", async () => {
    const ids = (await openai.models.list()).data.map((m) => m.id)
    expect(ids).toEqual([model])
    const ask = { model, messages: [QUESTION], temperature: 0, reasoning_effort: "none" as const }
    const whole = await openai.chat.completions.create(ask)
    expect(whole.choices[0]!.message.content).toBe(ANSWER)
    const streamed = await openai.chat.completions.stream(ask).finalChatCompletion()
    expect(streamed.choices[0]!.message.content).toBe(ANSWER)
    expect(streamed.choices[0]!.finish_reason).toBe("stop")
  })

  test("chat: a tool is called, and its result answered", async () => {
    const tools = [{ type: "function" as const, function: { ...TOOL, parameters: CITY } }]
    const ask = { model, tools, temperature: 0, reasoning_effort: "none" as const }
    const one = await openai.chat.completions.create({ ...ask, messages: [WEATHER] })
    expect(one.choices[0]!.finish_reason).toBe("tool_calls")
    const [call] = one.choices[0]!.message.tool_calls!
    if (call?.type !== "function") throw new Error("a function was to be called")
    expect(call.function.name).toBe("get_weather")
    expect(JSON.parse(call.function.arguments)).toEqual({ city: "Paris" })
    const stream = openai.chat.completions.stream({ ...ask, messages: [WEATHER] })
    const { message } = (await stream.finalChatCompletion()).choices[0]!
    expect(message.tool_calls![0]).toMatchObject({ function: call.function })
    const result = { role: "tool" as const, tool_call_id: call.id, content: '{"sky": "rain"}' }
    const two = await openai.chat.completions.create({
      ...ask,
      messages: [WEATHER, one.choices[0]!.message, result],
    })
    expect(two.choices[0]!.message.content).not.toBe("")
    const cached = two.usage!.prompt_tokens_details!.cached_tokens!
    expect(cached).toBeGreaterThan(0.9 * one.usage!.prompt_tokens)
  })

  test("responses: whole, streamed, continued", async () => {
    const ask = { model, input: QUESTION.content, temperature: 0 }
    const whole = await openai.responses.create(ask)
    expect(whole.status).toBe("completed")
    expect(whole.output_text).toBe(ANSWER)
    expect(whole.output.map((item) => item.type)).toEqual(["reasoning", "message"])
    const events: string[] = []
    const stream = openai.responses.stream(ask)
    for await (const event of stream) {
      expect(event.sequence_number).toBe(events.length)
      events.push(event.type)
    }
    const streamed = await stream.finalResponse()
    expect(streamed.output_text).toBe(ANSWER)
    expect(streamed.usage).toMatchObject({ total_tokens: whole.usage!.total_tokens })
    const kinds = events.filter((type, i) => type !== events[i - 1])
    expect(kinds).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.reasoning_text.delta",
      "response.reasoning_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ])
    const metadata = { topic: "capitals" }
    const then = { input: "And of Italy?", previous_response_id: whole.id }
    const next = { model, temperature: 0, metadata, ...then }
    const two = await openai.responses.create(next)
    expect(two).toMatchObject({ metadata, previous_response_id: whole.id })
    expect(two.usage!.input_tokens).toBeGreaterThan(whole.usage!.input_tokens)
    expect(two.usage!.input_tokens_details.cached_tokens).toBeGreaterThan(0)
    const lost = openai.responses.create({ ...next, previous_response_id: "resp_none" })
    expect(await failureOf(lost)).toMatchObject({ status: 400, param: "previous_response_id" })
  })

  test("responses: a tool round trip in items, cut by length", async () => {
    const tools = [{ type: "function" as const, ...TOOL, parameters: CITY, strict: false }]
    const ask = { model, tools, temperature: 0, reasoning: { effort: "none" as const } }
    const one = await openai.responses.create({ ...ask, input: [WEATHER] })
    const call = one.output.find((item) => item.type === "function_call")!
    expect(JSON.parse(call.arguments)).toEqual({ city: "Paris" })
    const streamed = await openai.responses.stream({ ...ask, input: [WEATHER] }).finalResponse()
    expect(streamed.output.at(-1)).toMatchObject({ name: call.name, arguments: call.arguments })
    const output = { type: "function_call_output" as const, call_id: call.call_id, output: "rain" }
    const two = await openai.responses.create({ ...ask, input: [WEATHER, call, output] })
    expect(two.output_text).not.toBe("")
    const short = { model, input: QUESTION.content, temperature: 0, max_output_tokens: 3 }
    const cut = await openai.responses.create(short)
    expect(cut.status).toBe("incomplete")
    expect(cut.incomplete_details).toEqual({ reason: "max_output_tokens" })
  })

  test("errors are the SDK's own", async () => {
    const ask = { model, messages: [QUESTION], temperature: -1 }
    const error = await failureOf(openai.chat.completions.create(ask))
    expect(error).toBeInstanceOf(OpenAI.BadRequestError)
    expect(error).toMatchObject({ status: 400, param: "temperature" })
  })
})

describe("@anthropic-ai/sdk", () => {
  const base = { model: "ds4-mini", max_tokens: 200, temperature: 0 }

  test("messages: whole, streamed, counted", async () => {
    const ask = { ...base, system: "Answer in a sentence.", messages: [QUESTION] }
    const whole = await anthropic.messages.create(ask)
    expect(whole.stop_reason).toBe("end_turn")
    expect(whole.content.map((b) => b.type)).toEqual(["text"])
    const streamed = await anthropic.messages.stream(ask).finalMessage()
    expect(streamed.content).toEqual(whole.content as never)
    expect(streamed.usage.output_tokens).toBe(whole.usage.output_tokens)
    const { input_tokens } = await anthropic.messages.countTokens(ask)
    const { usage } = whole
    expect(input_tokens).toBe(usage.input_tokens + usage.cache_read_input_tokens!)
  })

  test("messages: thinking is a block of its own, and goes back", async () => {
    const thinking = { type: "enabled" as const, budget_tokens: 1024 }
    const ask = { ...base, thinking, messages: [QUESTION] }
    const whole = await anthropic.messages.create(ask)
    expect(whole.content.map((b) => b.type)).toEqual(["thinking", "text"])
    const streamed = await anthropic.messages.stream(ask).finalMessage()
    expect(streamed.content).toEqual(whole.content as never)
    const messages = [
      QUESTION,
      { role: "assistant" as const, content: whole.content },
      { role: "user" as const, content: "And of Italy?" },
    ]
    const next = await anthropic.messages.create({ ...ask, messages })
    expect(next.usage.cache_read_input_tokens).toBeGreaterThan(0)
  })

  test("messages: tools, results, and the ways to end", async () => {
    const tools = [{ ...TOOL, input_schema: CITY }]
    const ask = { ...base, tools }
    const one = await anthropic.messages.create({ ...ask, messages: [WEATHER] })
    expect(one.stop_reason).toBe("tool_use")
    const call = one.content.find((b) => b.type === "tool_use")!
    expect(call).toMatchObject({ name: "get_weather", input: { city: "Paris" } })
    const streamed = await anthropic.messages.stream({ ...ask, messages: [WEATHER] }).finalMessage()
    expect(streamed.content.at(-1)).toMatchObject({ name: call.name, input: call.input })
    const result = { type: "tool_result" as const, tool_use_id: call.id, content: "rain" }
    const two = await anthropic.messages.create({
      ...ask,
      messages: [
        WEATHER,
        { role: "assistant", content: one.content },
        { role: "user", content: [result] },
      ],
    })
    expect(two.content[0]).toMatchObject({ type: "text" })
    const cut = await anthropic.messages.create({ ...base, max_tokens: 2, messages: [QUESTION] })
    expect(cut.stop_reason).toBe("max_tokens")
    const stops = { ...base, messages: [QUESTION], stop_sequences: [" France"] }
    const stopped = await anthropic.messages.create(stops)
    expect(stopped).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: " France" })
    expect(stopped.content).toEqual([{ type: "text", text: "The capital of" }] as never)
  })

  test("errors are the SDK's own", async () => {
    const ask = { ...base, max_tokens: 0, messages: [QUESTION] }
    expect(await failureOf(anthropic.messages.create(ask))).toBeInstanceOf(
      Anthropic.BadRequestError,
    )
    const choice = { type: "any" as const }
    const forced = { ...base, messages: [QUESTION], tool_choice: choice, tools: [] }
    expect(await failureOf(anthropic.messages.create(forced))).toMatchObject({ status: 400 })
  })
})

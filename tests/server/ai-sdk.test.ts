/** Vercel's AI SDK against mini, through OpenAI's chat and through Anthropic's Messages. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createAnthropic } from "@ai-sdk/anthropic"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import {
  APICallError,
  generateText,
  type LanguageModel,
  Output,
  stepCountIs,
  streamText,
  tool,
} from "ai"
import { z } from "zod"
import { serveMini, type TestServer } from "./support.ts"

const QUESTION = "What is the capital of France?"
const ANSWER = "The capital of France is Paris."
const WEATHER = "What is the weather in Paris?"

let server: TestServer
const models: Record<string, LanguageModel> = {}
beforeAll(async () => {
  server = await serveMini()
  const baseURL = `${server.url}/v1`
  const compatible = createOpenAICompatible({
    name: "ds4",
    baseURL,
    includeUsage: true,
    supportsStructuredOutputs: true,
  })
  models["openai-compatible"] = compatible("ds4-mini")
  const anthropic = createAnthropic({ baseURL, apiKey: "none", fetch: coldFetch })
  models["anthropic"] = anthropic("ds4-mini")
})
afterAll(() => server.close())

/** With thinking the SDK leaves the temperature out; put back, two answers are alike. */
const coldFetch = Object.assign(
  (url: RequestInfo | URL, init?: RequestInit) => {
    const body = { temperature: 0, ...JSON.parse(init!.body as string) }
    return fetch(url, { ...init, body: JSON.stringify(body) })
  },
  { preconnect: fetch.preconnect },
)
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false })

const settings = (name: string) => ({
  model: models[name]!,
  temperature: 0,
  maxRetries: 0,
  maxOutputTokens: 200,
})

const tools = {
  get_weather: tool({
    description: "Get the weather of a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => ({ city, sky: "rain" }),
  }),
}

/** How each API has a model think. */
const THINKING = {
  "openai-compatible": { ds4: { reasoningEffort: "high" } },
  anthropic: { anthropic: { thinking: { type: "enabled" as const, budgetTokens: 1024 } } },
}

describe.each(["openai-compatible", "anthropic"] as const)("%s", (name) => {
  test("text: whole and streamed, with usage and the reason of its end", async () => {
    const whole = await generateText({ ...settings(name), prompt: QUESTION })
    expect(whole.text).toBe(ANSWER)
    expect(whole.finishReason).toBe("stop")
    expect(whole.warnings).toEqual([])
    const { inputTokens, outputTokens, totalTokens } = whole.usage
    expect(inputTokens! + outputTokens!).toBe(totalTokens!)
    const streamed = streamText({ ...settings(name), prompt: QUESTION })
    const parts: string[] = []
    for await (const part of streamed.textStream) parts.push(part)
    expect(parts.length).toBeGreaterThan(1)
    expect(parts.join("")).toBe(ANSWER)
    expect(await streamed.finishReason).toBe("stop")
    expect(await streamed.usage).toMatchObject({ inputTokens, outputTokens })
    expect((await streamed.usage).inputTokenDetails.cacheReadTokens).toBeGreaterThan(0)
  })

  test("a system text, a history, and a limit", async () => {
    const messages = [
      { role: "user" as const, content: QUESTION },
      { role: "assistant" as const, content: ANSWER },
      { role: "user" as const, content: "And of Italy?" },
    ]
    const instructions = "Answer in a sentence."
    const cut = { ...settings(name), instructions, messages, maxOutputTokens: 2 }
    const whole = await generateText(cut)
    expect(whole.finishReason).toBe("length")
    expect(whole.usage.outputTokens).toBe(2)
  })

  test("reasoning comes apart from the text, whole and streamed", async () => {
    const ask = { ...settings(name), prompt: QUESTION, providerOptions: THINKING[name] }
    const whole = await generateText(ask)
    expect(whole.reasoningText!.length).toBeGreaterThan(0)
    expect(whole.text).toBe(ANSWER)
    const kinds: string[] = []
    let reasoning = ""
    for await (const part of streamText(ask).fullStream) {
      if (kinds.at(-1) !== part.type) kinds.push(part.type)
      if (part.type === "reasoning-delta") reasoning += part.text
    }
    expect(reasoning).toBe(whole.reasoningText!)
    const order = [
      "reasoning-start",
      "reasoning-delta",
      "reasoning-end",
      "text-start",
      "text-delta",
    ]
    expect(kinds.filter((kind) => order.includes(kind)).slice(0, 5)).toEqual(order)
    expect(kinds).not.toContain("error")
  })

  test("a tool is called, run, and its result answered", async () => {
    const ask = { ...settings(name), tools, stopWhen: stepCountIs(2), prompt: WEATHER }
    const whole = await generateText(ask)
    expect(whole.steps.map((step) => step.finishReason)).toEqual(["tool-calls", "stop"])
    const [call] = whole.steps[0]!.toolCalls
    expect(call).toMatchObject({ toolName: "get_weather", input: { city: "Paris" } })
    expect(whole.steps[0]!.toolResults[0]!.output).toEqual({ city: "Paris", sky: "rain" })
    expect(whole.text).not.toBe("")
    const streamed = streamText(ask)
    for await (const part of streamed.fullStream) expect(part.type).not.toBe("error")
    const steps = await streamed.steps
    expect(steps.map((step) => step.finishReason)).toEqual(["tool-calls", "stop"])
    expect(steps[0]!.toolCalls[0]).toMatchObject({ toolName: "get_weather", input: call!.input })
    expect(await streamed.text).toBe(whole.text)
  })

  test("a call is forced, of any tool or of one, and holds to its schema", async () => {
    const inputSchema = z.object({ on: z.boolean(), level: z.enum(["low", "high"]) })
    const set_lamp = tool({ description: "Set a lamp", inputSchema, execute: async () => "done" })
    for (const toolChoice of ["required", { type: "tool", toolName: "set_lamp" }] as const) {
      const ask = { ...settings(name), tools: { set_lamp }, toolChoice, prompt: QUESTION }
      const whole = await generateText(ask)
      expect(whole.finishReason).toBe("tool-calls")
      const [call] = whole.toolCalls
      expect(call!.toolName).toBe("set_lamp")
      expect(inputSchema.safeParse(call!.input).success).toBe(true)
      const streamed = streamText(ask)
      expect((await streamed.toolCalls)[0]).toMatchObject({ input: call!.input })
    }
    const none = { ...settings(name), tools, toolChoice: "none" as const, prompt: WEATHER }
    expect((await generateText(none)).toolCalls).toEqual([])
  })

  test("objects, arrays and choices hold to their schema, whole and streamed", async () => {
    const schema = z.object({
      city: z.enum(["Paris", "Rome"]),
      inhabitants: z.number().int(),
      sights: z.array(z.string()).max(2),
    })
    const ask = { ...settings(name), prompt: QUESTION, maxOutputTokens: 400 }
    const { output } = await generateText({ ...ask, output: Output.object({ schema }) })
    expect(schema.parse(output)).toEqual(output)
    const streamed = streamText({ ...ask, output: Output.object({ schema }) })
    let last: unknown
    for await (const part of streamed.partialOutputStream) last = part
    expect(last).toEqual(output)
    expect(await streamed.output).toEqual(output)
    const options = ["Paris", "Rome"]
    const choice = await generateText({ ...ask, output: Output.choice({ options }) })
    expect(options).toContain(choice.output)
    const element = z.object({ n: z.number() })
    const array = await generateText({ ...ask, output: Output.array({ element }) })
    expect(z.array(element).parse(array.output)).toEqual(array.output)
  })

  test("errors are the SDK's own, with the server's words", async () => {
    const long = { ...settings(name), prompt: "word ".repeat(6000) }
    const error = await generateText(long).catch((e: unknown) => e)
    expect(APICallError.isInstance(error)).toBe(true)
    expect(error).toMatchObject({ statusCode: 400, isRetryable: false })
    expect((error as Error).message).toContain("the context holds 4096")
    let said: unknown
    const streamed = streamText({ ...long, onError: ({ error }) => void (said = error) })
    await streamed.consumeStream()
    expect(APICallError.isInstance(said)).toBe(true)
    const seed = await generateText({ ...settings(name), prompt: "x", topP: 7 }).catch((e) => e)
    expect(seed).toMatchObject({ statusCode: 400 })
  })

  test("a stream that is aborted ends the generation in the server", async () => {
    const going = new AbortController()
    const endless = { ...settings(name), temperature: 1, maxOutputTokens: 3000 }
    const { fullStream } = streamText({
      ...endless,
      prompt: "Tell me everything.",
      abortSignal: going.signal,
    })
    const kinds: string[] = []
    for await (const part of fullStream) {
      kinds.push(part.type)
      if (part.type === "text-delta" || part.type === "reasoning-delta") going.abort()
    }
    expect(["abort", "finish"]).toContain(kinds.at(-1)!)
    for (let i = 0; i < 100 && server.service.metrics.running > 0; i++) await Bun.sleep(20)
    expect(server.service.metrics.running).toBe(0)
  })
})

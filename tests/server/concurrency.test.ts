/** Many clients of all kinds at once: each gets what it gets alone, to the token and its probability. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { serveMini, type TestServer } from "./support.ts"

const CLIENTS = 64

let server: TestServer
beforeAll(async () => {
  server = await serveMini({ nSeqs: 8, maxRequests: 2 * CLIENTS })
})
afterAll(() => server.close())

type Fields = Record<string, unknown>

const SCHEMA = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 }, n: { type: "integer" } },
  required: ["city", "n"],
  additionalProperties: false,
}
const NOTE = {
  name: "note",
  description: "Save a note.",
  parameters: { type: "object", properties: { text: { type: "string", maxLength: 20 } } },
}
const TOPICS = ["France", "Italy", "Spain", "the sky", "a dog", "rain", "seven", "bread"]
/** Several pages of KV memory that some prompts begin with. */
const SHARED = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. ".repeat(24)

/** What a client asks, `i` making its words and seed its own. */
const KINDS: readonly ((i: number, words: string) => [path: string, body: Fields])[] = [
  (_, content) => chat({ content, temperature: 0, max_tokens: 30 }),
  (seed, content) => chat({ content, temperature: 1.2, seed, max_tokens: 30, thinks: true }),
  (_, content) =>
    chat({ content, temperature: 0, max_tokens: 12, logprobs: true, top_logprobs: 4 }),
  (seed, content) => chat({ content, seed, max_tokens: 80, response_format: formatOf(SCHEMA) }),
  (seed, content) =>
    chat({ content, seed, tools: [{ type: "function", function: NOTE }], tool_choice: "required" }),
  (seed, content) => chat({ content, temperature: 1, seed, n: 2, max_tokens: 16 }),
  (seed, words) => ["/v1/completions", { prompt: words, seed, max_tokens: 24, logprobs: 2 }],
  (_, words) => ["/v1/completions", { prompt: words, temperature: 0, stop: ["."], max_tokens: 40 }],
  (seed, input) => ["/v1/responses", { input, seed, max_output_tokens: 40 }],
  (seed, input) => ["/v1/responses", { input, seed, text: { format: textOf(SCHEMA) } }],
  (seed, content) => message({ content, seed, thinking: { type: "enabled", budget_tokens: 20 } }),
  (seed, content) => {
    const { parameters: input_schema, ...tool } = NOTE
    return message({
      content,
      seed,
      tools: [{ ...tool, input_schema }],
      tool_choice: { type: "any" },
    })
  },
]

const formatOf = (schema: object) => ({ type: "json_schema", json_schema: { name: "x", schema } })
const textOf = (schema: object) => ({ type: "json_schema", name: "x", schema })

function chat({ content, thinks, ...more }: Fields): [string, Fields] {
  const messages = [{ role: "user", content }]
  const effort = thinks ? {} : { reasoning_effort: "none" }
  return ["/v1/chat/completions", { messages, max_tokens: 60, ...effort, ...more }]
}

function message({ content, ...more }: Fields): [string, Fields] {
  return ["/v1/messages", { messages: [{ role: "user", content }], max_tokens: 60, ...more }]
}

interface Client {
  path: string
  body: Fields
  /** Events after which it goes away. */
  leavesAfter: number
}

const clients: Client[] = Array.from({ length: CLIENTS }, (_, i) => {
  const words = `${i % 3 === 0 ? SHARED : ""}Tell me of ${TOPICS[i % TOPICS.length]}, client ${i}.`
  const [path, body] = KINDS[i % KINDS.length]!(i, words)
  const stream = Math.floor(i / KINDS.length) % 2 === 0 || i % 11 === 0
  return { path, body: { ...body, stream }, leavesAfter: stream && i % 7 === 3 ? 5 : Infinity }
})

/** What differs from one time to the next: names that are drawn, times, and what was in the cache. */
const OWN = new Set([
  ...["id", "item_id", "call_id", "created", "created_at", "timings"],
  ...["prompt_tokens_details", "input_tokens_details", "cache_read_input_tokens"],
])

function withoutOwn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutOwn)
  if (typeof value !== "object" || value === null) return value
  const isAnthropic = "cache_read_input_tokens" in value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !OWN.has(key) && !(isAnthropic && key === "input_tokens"))
      .map(([key, item]) => [key, withoutOwn(item)]),
  )
}

/** Requests that were seen to be computed at once. */
let most = 0

/** An answer as its parts: events of a stream, of whose choices each has its own order; else one. */
async function ask({ path, body, leavesAfter }: Client): Promise<unknown[]> {
  const response = await server.post(path, body)
  expect([path, response.status]).toEqual([path, 200])
  most = Math.max(most, server.service.client.load.running)
  if (!body["stream"]) return [withoutOwn(await response.json())]
  const events: unknown[] = []
  for await (const data of dataOf(response)) {
    events.push(data === "[DONE]" ? data : withoutOwn(JSON.parse(data)))
    if (events.length >= leavesAfter) break // which closes the connection
  }
  const choice = (event: any) => event.choices?.[0]?.index ?? Infinity
  return events.toSorted((a, b) => (choice(a) > choice(b) ? 1 : choice(a) < choice(b) ? -1 : 0))
}

async function* dataOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let text = ""
  for await (const bytes of response.body!) {
    const events = (text + decoder.decode(bytes, { stream: true })).split("\n\n")
    text = events.pop()!
    for (const event of events) {
      const data = event.match(/^data: (.*)$/m)?.[1]
      if (data !== undefined) yield data
    }
  }
}

test(`${CLIENTS} clients at once are told what each is told alone`, async () => {
  const cold = await Promise.all(clients.map(ask))
  const alone: unknown[][] = []
  for (const client of clients) alone.push(await ask(client))
  const warm = await Promise.all(clients.toReversed().map(ask))
  for (const [i, client] of clients.entries()) {
    expect({ client, answer: cold[i]! }).toEqual({ client, answer: alone[i]! })
    expect({ client, answer: warm.at(-1 - i)! }).toEqual({ client, answer: alone[i]! })
  }
  expect(new Set(alone.map((answer) => JSON.stringify(answer))).size).toBeGreaterThan(CLIENTS / 2)
  expect(most).toBeGreaterThan(4)
  await server.idle()
  expect(server.service.client.load).toEqual({ running: 0, usedPages: 0 })
}, 120_000)

/** The proxy of scripts/clients.ts: what it changes, and that a call of the model's own gets nowhere. */
import { afterAll, beforeEach, expect, test } from "bun:test"
import { type Proxy, startProxy } from "../../scripts/clients/proxy.ts"

const CALL = { name: "read", args: { path: "/tmp/note.txt" } }
const TOOLS = [
  { type: "function", name: "read", parameters: { type: "object", properties: { path: {} } } },
  { type: "function", name: "shell", parameters: { type: "object" } },
]
const PATH = "/v1/responses"

/** What the server behind gets, and answers one after the other; the last again and again. */
const received: string[] = []
let answers: string[] = []
const upstream = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  async fetch(request) {
    received.push(await request.text())
    return new Response(answers.length > 1 ? answers.shift() : answers[0])
  },
})
let proxy: Proxy
beforeEach(() => {
  received.length = 0
  const url = `http://127.0.0.1:${upstream.port}`
  proxy = startProxy({ upstream: url, call: CALL, secret: "word-1" })
})
afterAll(() => upstream.stop(true))

const event = (fields: object) => `data: ${JSON.stringify(fields)}\n\n`
const text = event({ type: "response.output_text.delta", delta: "PONG" })
const usage = (cached: number) =>
  event({
    response: { usage: { input_tokens: 9, input_tokens_details: { cached_tokens: cached } } },
  })
const call = (name: string, args: object) =>
  event({
    type: "response.output_item.done",
    output_index: 0,
    item: { type: "function_call", name, arguments: JSON.stringify(args) },
  })

async function post(body: string): Promise<{ status: number; text: string }> {
  const response = await fetch(proxy.url + PATH, { method: "POST", body })
  await proxy.stop()
  return { status: response.status, text: await response.text() }
}

test("proxy: a request without the tool goes through byte for byte", async () => {
  answers = [text + usage(0)]
  const body = '{"input":"A é \\n","n":1.5,"tools":[]}'
  expect(await post(body)).toEqual({ status: 200, text: answers[0]! })
  expect(received).toEqual([body])
})

test("proxy: a body that JSON prints otherwise is refused", async () => {
  expect((await post('{ "input": "A" }')).status).toBe(400)
  expect(received).toEqual([])
})

test("proxy: only the tool's schema changes, and tool_choice when a call is wanted", async () => {
  answers = [call("read", CALL.args) + usage(8)]
  proxy.forceNext()
  const body = { input: "word-1", tool_choice: "auto", tools: TOOLS }
  expect(await post(JSON.stringify(body))).toEqual({ status: 200, text: answers[0]! })
  const path = { type: "string", enum: [CALL.args.path] }
  const narrow = { type: "object", properties: { path }, required: ["path"] }
  const parameters = { ...narrow, additionalProperties: false }
  const tools = [{ ...TOOLS[0], parameters }, TOOLS[1]]
  const tool_choice = { type: "function", name: "read" }
  expect(received).toEqual([JSON.stringify({ ...body, tool_choice, tools })])
  const [exchange] = proxy.exchanges
  expect(exchange).toMatchObject({ isMain: true, isForced: true, hasSecret: true, status: 200 })
  expect(exchange!.answer).toMatchObject({ promptTokens: 9, cachedTokens: 8 })
})

test("proxy: calls that nobody asked for never arrive", async () => {
  const body = JSON.stringify({ tools: TOOLS })
  answers = [
    call("shell", { cmd: "anything" }) + usage(0),
    call("read", CALL.args),
    text + usage(9),
  ]
  const last = answers[2]!
  expect(await post(body)).toEqual({ status: 200, text: last })
  expect(proxy.exchanges[0]!.answer).toMatchObject({ text: "PONG", cachedTokens: 0 })
})

test("proxy: a forced call with other arguments never arrives", async () => {
  answers = [call("read", { path: "/etc/passwd" })]
  proxy.forceNext()
  const { status, text: said } = await post(JSON.stringify({ tools: TOOLS }))
  expect([status, said.includes("passwd")]).toEqual([400, false])
  expect(proxy.failures).toHaveLength(1)
})

/** Requests that nobody should send: every one is answered with a 4xx (or well), and the server lives. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { connect } from "node:net"
import { Random } from "../../src/tools/synthetic-data.ts"
import { serveMini, type TestServer } from "./support.ts"

const N = 20_000
const AT_ONCE = 64

let server: TestServer
beforeAll(async () => {
  server = await serveMini()
})
afterAll(() => server.close())

const random = new Random(7)
const below = (n: number) => random.u32() % n
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!

/** Requests that are fine, and short to answer. */
const FINE: readonly [path: string, body: Record<string, unknown>][] = [
  [
    "/v1/chat/completions",
    {
      messages: [
        { role: "system", content: "s" },
        { role: "user", content: [{ type: "text", text: "hi" }] },
        { role: "assistant", tool_calls: [{ id: "1", function: { name: "f", arguments: "{}" } }] },
        { role: "tool", tool_call_id: "1", content: "x" },
      ],
      tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }],
      max_tokens: 1,
      stop: ["a"],
    },
  ],
  ["/v1/completions", { prompt: "hi", max_tokens: 1, stream: true }],
  [
    "/v1/responses",
    {
      input: [
        { role: "user", content: [{ type: "input_text", text: "hi" }] },
        { type: "function_call", call_id: "1", name: "f", arguments: "{}" },
        { type: "function_call_output", call_id: "1", output: "x" },
      ],
      reasoning: { effort: "none" },
      max_output_tokens: 1,
    },
  ],
  [
    "/v1/messages",
    {
      max_tokens: 1,
      system: [{ type: "text", text: "s" }],
      messages: [
        { role: "user", content: "hi" },
        { role: "assistant", content: [{ type: "tool_use", id: "1", name: "f", input: {} }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "1", content: "x" }] },
      ],
    },
  ],
  ["/tokenize", { content: "x" }],
  ["/detokenize", { tokens: [1, 2, 3] }],
  ["/apply-template", { messages: [{ role: "user", content: "x" }] }],
]

const ODD: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  "",
  "x",
  "\u0000",
  "<｜User｜>",
  [],
  {},
  [[]],
  [null],
  { __proto__: null, constructor: 1 },
  "9".repeat(400),
  [{ type: "image_url" }],
  { type: "text" },
]

/** A copy with one to three places changed. */
function mutated(value: unknown): unknown {
  const copy = structuredClone(value)
  for (let i = 0; i <= below(3); i++) change(copy)
  return copy
}

function change(root: unknown): void {
  let at = root as Record<string, unknown>
  for (;;) {
    const key = pick(Object.keys(at))
    if (key === undefined) return
    const inside = at[key]
    if (typeof inside === "object" && inside !== null && below(3) > 0) {
      at = inside as Record<string, unknown>
      continue
    }
    if (below(5) === 0) delete at[key]
    else at[key] = structuredClone(pick(ODD))
    return
  }
}

/** JSON text, sometimes cut or with a byte that does not belong. */
function bodyOf(value: unknown): string {
  const text = JSON.stringify(value)
  const how = below(12)
  if (how === 0) return text.slice(0, below(text.length))
  if (how === 1) return text.slice(0, below(text.length)) + pick(["\u0000", "}", "]", '"', "\\u12"])
  return text
}

test(`${N} broken requests: no 5xx, nothing left running`, async () => {
  const seen = new Map<number, number>()
  const one = async () => {
    const [path, body] = pick(FINE)
    const response = await server.post(path, bodyOf(mutated(body)))
    await response.arrayBuffer()
    seen.set(response.status, (seen.get(response.status) ?? 0) + 1)
  }
  for (let i = 0; i < N; i += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, one))
  const unexpected = [...seen.keys()].filter((status) => ![200, 400, 429].includes(status))
  expect(unexpected).toEqual([])
  expect(seen.get(400)!).toBeGreaterThan(N / 4)
  expect(server.log).toEqual([])
  for (let i = 0; i < 100 && server.service.metrics.running > 0; i++) await Bun.sleep(20)
  expect(server.service.metrics.running).toBe(0)
}, 240_000)

test("bytes that are no HTTP, and requests that never end, harm nobody", async () => {
  const { hostname, port } = new URL(server.url)
  const send = (bytes: string) =>
    new Promise<void>((resolve) => {
      const socket = connect(Number(port), hostname, () => socket.end(bytes))
      socket.on("error", () => resolve())
      socket.on("close", () => resolve())
      socket.resume()
      setTimeout(() => socket.destroy(), 300)
    })
  const head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
  await Promise.all([
    send("\u0000\u0001\u0002"),
    send("GET / HTTP/9.9\r\n\r\n"),
    send(`${head}Content-Length: 99999\r\n\r\n{`),
    send(`${head}Content-Length: -1\r\n\r\n`),
    send(`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`),
    send(`GET /${"a".repeat(100_000)} HTTP/1.1\r\n\r\n`),
  ])
  expect((await fetch(`${server.url}/health`)).status).toBe(200)
})

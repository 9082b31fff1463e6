/** Clients that go away at any moment: nothing goes on for them, and others are answered as ever. More of them
 *  with DS4_DISCONNECTS=1000. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { connect, type Socket } from "node:net"
import { Random } from "../../src/tools/synthetic-data.ts"
import { serveMini, type TestServer } from "./support.ts"

const N = Number(process.env["DS4_DISCONNECTS"] ?? 200)
const AT_ONCE = 16
const QUESTION = [{ role: "user", content: "What is the capital of France?" }]
const PLAIN = { messages: QUESTION, temperature: 0, reasoning_effort: "none", max_tokens: 20 }

let server: TestServer
beforeAll(async () => {
  server = await serveMini({ nSeqs: 4, maxRequests: 2 * AT_ONCE })
})
afterAll(() => server.close())

const random = new Random(11)
const below = (n: number) => random.u32() % n
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!

/** A request that would go on for long, its prompt short or of 3,000 tokens that nobody has read before. */
function bodyOf(stream: boolean): [path: string, body: string] {
  const isLong = below(3) === 0
  const content = isLong ? `${random.u32()} a word `.repeat(400) : `Tell me of ${random.u32()}.`
  const messages = [{ role: "user", content }]
  const sampling = { temperature: 1, seed: random.u32(), stream }
  const max_tokens = 1000
  const [path, body] = pick([
    ["/v1/chat/completions", { messages, max_tokens, n: pick([1, 1, 3]) }],
    ["/v1/completions", { prompt: content, max_tokens }],
    ["/v1/responses", { input: content, max_output_tokens: max_tokens }],
    ["/v1/messages", { messages, max_tokens }],
  ] as const)
  return [path, JSON.stringify({ ...sampling, ...body })]
}

/** How a client goes: after part of its head or body, some time after the request, or after so many
 *  bytes of the answer. */
type Leave = { sent: number } | { afterMs: number } | { afterBytes: number }

const leaves = (size: number, stream: boolean): Leave =>
  pick<() => Leave>([
    () => ({ sent: below(size) }),
    () => ({ afterMs: 0 }),
    () => ({ afterMs: below(10) }),
    () => ({ afterMs: below(150) }),
    () => (stream ? { afterBytes: 1 + below(4000) } : { afterMs: below(400) }),
  ])()

/** Whoever could not go as meant, because the answer was too short, goes after this. */
const LATEST_MS = 1500

/** Sends a request by hand and goes away, politely or with a reset. */
function vanish(): Promise<void> {
  const stream = below(3) > 0
  const [path, body] = bodyOf(stream)
  const head = [`POST ${path} HTTP/1.1`, "Host: localhost", `Content-Length: ${body.length}`]
  const bytes = `${head.join("\r\n")}\r\n\r\n${body}`
  const leave = leaves(bytes.length, stream)
  const { hostname, port } = new URL(server.url)
  return new Promise((resolve) => {
    const socket: Socket = connect(Number(port), hostname)
    const go = below(2) === 0 ? () => socket.destroy() : () => socket.resetAndDestroy()
    const latest = setTimeout(go, LATEST_MS)
    socket.on("close", () => {
      clearTimeout(latest)
      resolve()
    })
    socket.on("error", () => {}) // "close" follows
    socket.on("connect", () => {
      if ("sent" in leave) return void socket.write(bytes.slice(0, leave.sent), go)
      socket.write(bytes)
      if ("afterMs" in leave) setTimeout(go, leave.afterMs)
    })
    let got = 0
    socket.on("data", (data) => {
      got += data.length
      if ("afterBytes" in leave && got >= leave.afterBytes) go()
    })
  })
}

test(`${N} clients that go away leave no work running; others are answered as ever`, async () => {
  const answer = async () =>
    ((await (await server.post("/v1/chat/completions", PLAIN)).json()) as any).choices[0].message
  const alone = await answer()
  for (let done = 0; done < N; done += AT_ONCE) {
    const gone = Promise.all(Array.from({ length: Math.min(AT_ONCE, N - done) }, vanish))
    expect(await answer()).toEqual(alone)
    await gone
  }
  await server.idle()
  expect(server.service.metrics.running).toBe(0)
  expect(server.service.client.load).toEqual({ running: 0, usedPages: 0 })
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  expect(metrics).toMatch(/^vllm:num_requests_running\{.*\} 0$/m)
  expect(metrics).toMatch(/^vllm:num_requests_waiting\{.*\} 0$/m)
  expect(await answer()).toEqual(alone)
  expect(server.log).toEqual([])
}, 600_000)

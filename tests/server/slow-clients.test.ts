/** Clients that take or send nothing for long, and heads that are too large. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { connect, type Socket } from "node:net"
import { serveMini, type TestServer } from "./support.ts"

let server: TestServer
beforeAll(async () => {
  server = await serveMini({ patienceS: 1 })
})
afterAll(() => server.close())

const QUESTION = [{ role: "user", content: "What is the capital of France?" }]
const PLAIN = { messages: QUESTION, temperature: 0, reasoning_effort: "none" }

/** A connection on which `text` was sent. */
function open(text: string): Promise<Socket> {
  const { hostname, port } = new URL(server.url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(text)
      resolve(socket)
    })
    socket.on("error", reject)
  })
}

const post = (path: string, body: string, length = body.length) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n${body}`

/** All that comes until the server closes. */
function rest(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = ""
    socket.on("data", (bytes) => (text += bytes))
    socket.on("close", () => resolve(text))
    socket.on("error", () => {}) // "close" follows
    socket.resume()
  })
}

test("who takes nothing of a stream is dropped, and the generation with it", async () => {
  // More text than what connections hold by themselves.
  const more = { n: 4, max_tokens: 3900, logprobs: true, top_logprobs: 20, temperature: 2 }
  const body = { ...PLAIN, ...more, stream: true, logit_bias: neverEnds() }
  const socket = await open(post("/v1/chat/completions", JSON.stringify(body)))
  await new Promise((resolve) => socket.once("data", resolve))
  socket.pause()
  expect(server.service.metrics.running).toBeGreaterThan(0)
  await server.idle()
  expect(server.service.metrics.running).toBe(0)
  const text = await rest(socket)
  expect(text).toContain("chat.completion.chunk")
  expect(text).not.toContain("[DONE]")
  const answer = await (await server.post("/v1/chat/completions", PLAIN)).text()
  expect(answer).toContain("The capital of France is Paris.")
}, 60_000)

/** No token that ends an answer is chosen. */
function neverEnds(): Record<string, number> {
  const { tokenizer } = server.service
  const ends = ["<｜User｜>", "<｜Assistant｜>"].map((name) => tokenizer.id(name)!)
  return Object.fromEntries([...ends, tokenizer.eosId!, tokenizer.bosId!].map((id) => [id, -100]))
}

test("who sends the body slowly gets 408, and the connection ends", async () => {
  const text = await rest(await open(post("/tokenize", '{"content": ', 1000)))
  expect(text).toStartWith("HTTP/1.1 408")
  expect(text).toContain("did not arrive within 1 s")
}, 20_000)

test("a head of more than some KiB is refused, one of a browser with cookies is not", async () => {
  const head = (size: number) => ({ headers: { cookie: "a".repeat(size) } })
  expect((await fetch(`${server.url}/health`, head(8000))).status).toBe(200)
  expect((await fetch(`${server.url}/health`, head(200_000))).status).toBe(431)
  expect(server.log).toEqual([])
})

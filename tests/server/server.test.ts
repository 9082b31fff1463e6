/** The HTTP server from outside: answers, streams, refusals, and clients that go away. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { request as httpRequest } from "node:http"
import { deflateSync, gzipSync } from "node:zlib"
import { type Answer, eventsOf, PLAIN, QUESTION, serveMini, type TestServer } from "./support.ts"

let server: TestServer
beforeAll(async () => {
  server = await serveMini()
})
afterAll(() => server.close())

describe("/v1/chat/completions", () => {
  test("answers, with usage and the name of the model", async () => {
    const answer: Answer = await (await server.post("/v1/chat/completions", PLAIN)).json()
    expect(answer).toMatchObject({ object: "chat.completion", model: "ds4-mini" })
    const [choice] = answer.choices
    expect(choice.message).toEqual({
      role: "assistant",
      content: "The capital of France is Paris.",
    })
    expect(choice.finish_reason).toBe("stop")
    const { usage } = answer
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens)
  })

  test("a stream says the same in pieces, reasoning apart", async () => {
    const body = { messages: QUESTION, temperature: 0 }
    const whole: Answer = await (await server.post("/v1/chat/completions", body)).json()
    const { message } = whole.choices[0]
    expect(message.reasoning_content.length).toBeGreaterThan(0)
    const streamed = { ...body, stream: true, stream_options: { include_usage: true } }
    const response = await server.post("/v1/chat/completions", streamed)
    expect(response.headers.get("content-type")).toStartWith("text/event-stream")
    const events = (await eventsOf(response)) as Answer[]
    expect(events.pop()).toBe("[DONE]")
    const last = events.pop()
    expect(last).toMatchObject({ choices: [], usage: { total_tokens: whole.usage.total_tokens } })
    expect(new Set([...events, last].map((e) => e.id)).size).toBe(1)
    const join = (field: string) => events.map((e) => e.choices[0].delta[field] ?? "").join("")
    expect(join("content")).toBe(message.content)
    expect(join("reasoning_content")).toBe(message.reasoning_content)
    expect(events.map((e) => e.choices[0].finish_reason).filter(Boolean)).toEqual(["stop"])
  })

  test("max_completion_tokens wins over max_tokens, stop ends, null is absent", async () => {
    const ask = async (more: object): Promise<Answer> =>
      (await server.post("/v1/chat/completions", { ...PLAIN, ...more })).json()
    const short = await ask({ max_tokens: 50, max_completion_tokens: 2, seed: null })
    expect(short.choices[0].finish_reason).toBe("length")
    expect(short.usage.completion_tokens).toBe(2)
    const stopped = await ask({ stop: [" France"] })
    expect(stopped.choices[0]).toMatchObject({
      message: { content: "The capital of" },
      finish_reason: "stop",
    })
  })

  test("a second turn finds the first in the cache", async () => {
    const long = { role: "user", content: "Count from one to twenty. ".repeat(40) }
    const first = { ...PLAIN, messages: [long], max_tokens: 8 }
    const one: Answer = await (await server.post("/v1/chat/completions", first)).json()
    const turns = [long, one.choices[0].message, { role: "user", content: "Go on." }]
    const two: Answer = await (
      await server.post("/v1/chat/completions", { ...first, messages: turns })
    ).json()
    const cached = two.usage.prompt_tokens_details.cached_tokens
    expect(cached).toBeGreaterThan(0.9 * one.usage.prompt_tokens)
  })

  test("many at once say what each says alone", async () => {
    const questions = ["capital of France", "capital of Italy", "capital of Spain", "sky's colour"]
    const ask = async (what: string): Promise<string> => {
      const messages = [{ role: "user", content: `What is the ${what}?` }]
      const answer: Answer = await (
        await server.post("/v1/chat/completions", { ...PLAIN, messages, max_tokens: 30 })
      ).json()
      return answer.choices[0].message.content
    }
    const together = await Promise.all(questions.map(ask))
    const alone: string[] = []
    for (const question of questions) alone.push(await ask(question))
    expect(together).toEqual(alone)
  })

  test("a client that goes away leaves no work running", async () => {
    for (const wait of [0, 5, 20, 60]) {
      const going = new AbortController()
      const body = { ...PLAIN, messages: [{ role: "user", content: "Tell a long story." }] }
      const more = { ...body, temperature: 1, stream: wait % 2 === 0 }
      const answer = server.post("/v1/chat/completions", more, { signal: going.signal })
      setTimeout(() => going.abort(), wait)
      await answer.then((r) => r.text()).catch(() => {})
    }
    for (let i = 0; i < 100 && server.service.metrics.running > 0; i++) await Bun.sleep(20)
    expect(server.service.metrics.running).toBe(0)
  })

  test("what is not honoured is refused by name, what nobody knows is named in a header", async () => {
    const refused = [
      [{ n: 9 }, "n"],
      [{ suffix: "x" }, "suffix"],
      [{ top_logprobs: 21 }, "top_logprobs"],
      [{ response_format: { type: "json_schema", schema: {} } }, "response_format"],
      [{ presence_penalty: 1 }, "presence_penalty"],
      [{ temperature: -3 }, "temperature"],
      [{ messages: 5 }, "messages"],
      [{ messages: [] }, "messages"],
      [{ messages: [{ role: "wizard", content: "x" }] }, "messages[0]"],
      [{ max_tokens: 1.5 }, "max_tokens"],
      [{ stop: [""] }, "stop"],
      [{ tool_choice: "required" }, "tool_choice"],
    ] as const
    for (const [fields, param] of refused)
      for (const stream of [false, true]) {
        const response = await server.post("/v1/chat/completions", { ...PLAIN, ...fields, stream })
        const { error }: Answer = await response.json()
        expect([response.status, error.param]).toEqual([400, expect.stringContaining(param)])
        expect(error.message).not.toBe("")
      }
    const harmless = { n: 1, user: "me", store: false, next_big_thing: 1 }
    const response = await server.post("/v1/chat/completions", { ...PLAIN, ...harmless })
    expect(response.status).toBe(200)
    expect(response.headers.get("x-ds4-ignored")).toBe("next_big_thing")
  })

  test("thinking is switched by effort or by `thinking`", async () => {
    const thinks = async (fields: object): Promise<boolean> => {
      const body = { messages: QUESTION, temperature: 0, max_tokens: 4, ...fields }
      const answer: Answer = await (await server.post("/v1/chat/completions", body)).json()
      return answer.choices[0].message.reasoning_content !== undefined
    }
    expect(await thinks({})).toBe(true)
    expect(await thinks({ reasoning_effort: "low" })).toBe(true)
    expect(await thinks({ reasoning_effort: "minimal" })).toBe(false)
    expect(await thinks({ thinking: { type: "disabled" } })).toBe(false)
    expect(await thinks({ thinking: { type: "enabled" } })).toBe(true)
    const odd = { ...PLAIN, reasoning_effort: "banana" }
    expect((await server.post("/v1/chat/completions", odd)).status).toBe(400)
  })

  test("a prompt beyond the context is a 400 that says so", async () => {
    const messages = [{ role: "user", content: "word ".repeat(6000) }]
    const response = await server.post("/v1/chat/completions", { ...PLAIN, messages })
    expect(response.status).toBe(400)
    const { error }: Answer = await response.json()
    expect(error.code).toBe("context_length_exceeded")
  })
})

describe("/v1/completions", () => {
  test("goes on from a text or from ids, streamed or not", async () => {
    const body = { prompt: "Once", max_tokens: 4, temperature: 0 }
    const whole: Answer = await (await server.post("/v1/completions", body)).json()
    expect(whole.choices[0]).toMatchObject({ text: " upon a time there", finish_reason: "length" })
    const events = await eventsOf(await server.post("/v1/completions", { ...body, stream: true }))
    expect(events.pop()).toBe("[DONE]")
    expect(events.map((e: Answer) => e.choices[0].text).join("")).toBe(whole.choices[0].text)
    const { tokenizer } = server.service
    const ids = [tokenizer.bosId!, ...tokenizer.encode("Once")]
    const byIds: Answer = await (
      await server.post("/v1/completions", { ...body, prompt: ids })
    ).json()
    expect(byIds.choices[0].text).toBe(whole.choices[0].text)
    expect((await server.post("/v1/completions", { prompt: [2 ** 30] })).status).toBe(400)
  })
})

describe("tokens", () => {
  test("there and back; text never becomes a control token unless that is asked for", async () => {
    const tokens = async (body: object): Promise<number[]> =>
      ((await (await server.post("/tokenize", body)).json()) as Answer).tokens
    const text = "Zwölf Boxkämpfer 🥊 <｜User｜>"
    const ids = await tokens({ content: text })
    const back: Answer = await (await server.post("/detokenize", { tokens: ids })).json()
    expect(back.content).toBe(text)
    const user = server.service.tokenizer.id("<｜User｜>")!
    expect(ids).not.toContain(user)
    expect(await tokens({ content: text, parse_special: true })).toContain(user)
  })

  test("/apply-template renders a conversation", async () => {
    const { prompt }: Answer = await (
      await server.post("/apply-template", { messages: QUESTION })
    ).json()
    expect(prompt).toBe(
      "<｜begin▁of▁sentence｜><｜User｜>What is the capital of France?<｜Assistant｜><think>",
    )
  })
})

describe("the border", () => {
  test("health, models, metrics; wrong paths and methods", async () => {
    expect(await (await fetch(`${server.url}/health`)).json()).toEqual({ status: "ok" })
    const { data }: Answer = await (await fetch(`${server.url}/v1/models`)).json()
    expect(data.map((m: Answer) => m.id)).toEqual(["ds4-mini"])
    expect(await (await fetch(`${server.url}/v1/models/ds4-mini`)).json()).toEqual(data[0])
    expect((await fetch(`${server.url}/v1/models/gpt-9`)).status).toBe(404)
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toMatch(/^# TYPE ds4_generated_tokens_total counter$/m)
    expect((await fetch(`${server.url}/nowhere`)).status).toBe(404)
    const wrong = await fetch(`${server.url}/v1/chat/completions`)
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"])
  })

  test("bodies: compressed, broken, not UTF-8, too large", async () => {
    const body = JSON.stringify({ content: "x" })
    const send = async (bytes: Uint8Array | string, encoding?: string) => {
      const headers: Record<string, string> = encoding ? { "content-encoding": encoding } : {}
      return (
        await fetch(`${server.url}/tokenize`, { method: "POST", body: bytes as BodyInit, headers })
      ).status
    }
    expect(await send(gzipSync(body), "gzip")).toBe(200)
    expect(await send(deflateSync(body), "deflate")).toBe(415)
    expect(await send(body, "gzip")).toBe(400)
    expect(await send(gzipSync(Buffer.alloc(40 * 2 ** 20)), "gzip")).toBe(413)
    expect(await send("{")).toBe(400)
    expect(await send("[]")).toBe(400)
    expect(await send(new Uint8Array([0x7b, 0xff, 0x7d]))).toBe(400)
    expect(await send("[".repeat(100_000))).toBe(400)
  })

  test("other hosts and origins are turned away", async () => {
    expect(await statusOf("/v1/models", { host: "evil.example" })).toBe(403)
    expect(await statusOf("/v1/models", { host: "localhost:1" })).toBe(200)
    expect(await statusOf("/v1/models", { origin: "http://evil.example" })).toBe(403)
    expect(await statusOf("/v1/models", { origin: server.url })).toBe(200)
  })

  test("with a key, only who has it", async () => {
    const locked = await serveMini({ apiKey: "s3cret" })
    const status = async (headers: Record<string, string>) =>
      (await fetch(`${locked.url}/v1/models`, { headers })).status
    expect(await status({})).toBe(401)
    expect(await status({ authorization: "Bearer wrong!" })).toBe(401)
    expect(await status({ authorization: "Bearer s3cret" })).toBe(200)
    expect(await status({ "x-api-key": "s3cret" })).toBe(200)
    expect((await fetch(`${locked.url}/health`)).status).toBe(200)
    await locked.close()
  })

  test("nothing of this was a surprise to the server", () => {
    expect(server.log).toEqual(["ignored a field that is not known here: next_big_thing"])
  })
})

/** fetch() does not let a Host header through. */
function statusOf(path: string, headers: Record<string, string>): Promise<number> {
  const { hostname, port } = new URL(server.url)
  return new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, path, headers }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    })
    request.on("error", reject)
    request.end()
  })
}

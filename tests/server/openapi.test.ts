/** /openapi.json: valid by OpenAPI's own schema, whole, and true of what the server takes and says. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { Validator } from "@seriousme/openapi-schema-validator"
import Ajv from "ajv/dist/2020"
import { POSTS } from "../../src/server/app.ts"
import { OPERATIONS } from "../../src/server/openapi.ts"
import { eventsOf, serveMini, type TestServer } from "./support.ts"

let server: TestServer
let document: any
const ajv = new Ajv({ strict: false })
beforeAll(async () => {
  server = await serveMini()
  document = await (await fetch(`${server.url}/openapi.json`)).json()
  ajv.addSchema(document, "document")
})
afterAll(() => server.close())

/** What is wrong with a value by a schema of the document; nothing is null. */
function wrongBy(pointer: string, value: unknown): unknown {
  const check = ajv.compile({ $ref: `document#${pointer}` })
  return check(value) ? null : check.errors
}

const escaped = (path: string) => path.replaceAll("/", "~1")
const bodySchema = (path: string) =>
  `/paths/${escaped(path)}/post/requestBody/content/application~1json/schema`
const answerSchema = (name: string) => `/components/schemas/${name}`

test("the document is valid by the schema of OpenAPI 3.1", async () => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(structuredClone(document))
  expect(errors).toBeUndefined()
  expect(valid).toBe(true)
  expect(validator.version).toBe("3.1")
})

test("every route is in it, and nothing else", async () => {
  const posts = Object.keys(OPERATIONS).filter((path) => OPERATIONS[path]!.body)
  expect(posts.toSorted()).toEqual([...POSTS.keys()].toSorted())
  for (const [path, methods] of Object.entries<object>(document.paths)) {
    const real = path.replace("{id}", server.service.model)
    const [method] = Object.keys(methods)
    const response =
      method === "post" ? await server.post(real, {}) : await fetch(server.url + real)
    expect([path, response.status]).toEqual([path, method === "post" ? 400 : 200])
    await response.arrayBuffer()
  }
})

const USER = [{ role: "user", content: "What is the capital of France?" }]
const CHAT = { messages: USER, temperature: 0, max_tokens: 40 }
const TOOL = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: {} } },
}
const WEATHER = {
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  tools: [TOOL],
  temperature: 0,
  reasoning_effort: "none",
}

const ASKED: readonly [path: string, body: object, answer: string][] = [
  ["/v1/chat/completions", CHAT, "ChatCompletion"],
  ["/v1/chat/completions", WEATHER, "ChatCompletion"],
  ["/v1/completions", { prompt: "Once", max_tokens: 3, stop: ["x"] }, "Completion"],
  ["/v1/responses", { input: "Hello", max_output_tokens: 20 }, "Response"],
  ["/v1/messages", { messages: USER, max_tokens: 20 }, "Message"],
  ["/v1/messages/count_tokens", { messages: USER }, "MessageTokens"],
  ["/tokenize", { content: "x" }, "Tokens"],
  ["/tokenize", { content: "x", with_pieces: true }, "Tokens"],
  ["/detokenize", { tokens: [1, 2] }, "Text"],
  ["/apply-template", { messages: USER }, "Prompt"],
]

test("what is asked and what is answered are as it says", async () => {
  for (const [path, body, answer] of ASKED) {
    expect(wrongBy(bodySchema(path), body)).toBeNull()
    const response = await server.post(path, body)
    expect(response.status).toBe(200)
    expect(wrongBy(answerSchema(answer), await response.json())).toBeNull()
  }
  for (const [path, name] of [
    ["/v1/models", "ModelList"],
    ["/v1/models/ds4-mini", "Model"],
    ["/health", "Health"],
  ])
    expect(wrongBy(answerSchema(name!), await (await fetch(server.url + path)).json())).toBeNull()
})

test("events of streams are as it says", async () => {
  const streamed = [
    [
      "/v1/chat/completions",
      { ...CHAT, stream_options: { include_usage: true } },
      "ChatCompletionChunk",
    ],
    ["/v1/chat/completions", WEATHER, "ChatCompletionChunk"],
    ["/v1/completions", { prompt: "Once", max_tokens: 3 }, "Completion"],
    ["/v1/responses", { input: "Hello", max_output_tokens: 20 }, "ResponseEvent"],
    ["/v1/messages", { messages: USER, max_tokens: 20 }, "MessageEvent"],
  ] as const
  for (const [path, body, name] of streamed) {
    const events = await eventsOf(await server.post(path, { ...body, stream: true }))
    const data = events.filter((event) => event !== "[DONE]")
    expect(data.length).toBeGreaterThan(0)
    for (const event of data) expect(wrongBy(answerSchema(name), event)).toBeNull()
  }
})

test("what it forbids is refused, with an error as it says", async () => {
  const wrong = [
    ["/v1/chat/completions", { ...CHAT, temperature: -1 }],
    ["/v1/chat/completions", { ...CHAT, top_p: 2 }],
    ["/v1/chat/completions", { ...CHAT, max_tokens: 1.5 }],
    ["/v1/chat/completions", { ...CHAT, stop: [""] }],
    ["/v1/chat/completions", { ...CHAT, messages: [] }],
    ["/v1/chat/completions", { ...CHAT, messages: [{ content: "x" }] }],
    ["/v1/completions", { prompt: 5 }],
    ["/v1/responses", { input: [] }],
    ["/v1/messages", { messages: USER }],
    ["/v1/messages", { messages: USER, max_tokens: 0 }],
    ["/tokenize", {}],
    ["/detokenize", { tokens: [-1] }],
    ["/apply-template", { messages: [5] }],
  ] as const
  for (const [path, body] of wrong) {
    expect(wrongBy(bodySchema(path), body)).not.toBeNull()
    const response = await server.post(path, body)
    expect([path, response.status]).toEqual([path, 400])
    const name = path.startsWith("/v1/messages") ? "MessageError" : "Error"
    expect(wrongBy(answerSchema(name), await response.json())).toBeNull()
  }
})

test("every field of a shape has a type in it", () => {
  for (const [path, { body = {} }] of Object.entries(OPERATIONS)) {
    if (!document.paths[path].post) continue
    const schema = document.paths[path].post.requestBody.content["application/json"].schema
    expect(Object.keys(schema.properties)).toEqual(Object.keys(body))
    for (const [name, field] of Object.entries<object>(schema.properties))
      expect([name, Object.keys(field)]).not.toEqual([name, []])
  }
})

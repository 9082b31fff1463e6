/** Fields that nobody knows; and docs/server.md, which lists all that somebody does. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { headerList, REFUSED, WITHOUT_EFFECT } from "../../src/server/fields.ts"
import { OPERATIONS } from "../../src/server/openapi.ts"
import { ROOT } from "../support/models.ts"
import { serveMini, type TestServer } from "./support.ts"

const MESSAGES = [{ role: "user", content: "Hi" }]
/** The least that each API takes. */
const LEAST: Readonly<Record<string, object>> = {
  "/v1/chat/completions": { messages: MESSAGES, max_tokens: 1 },
  "/v1/responses": { input: "Hi", max_output_tokens: 1 },
  "/v1/completions": { prompt: "Hi", max_tokens: 1 },
  "/v1/messages": { messages: MESSAGES, max_tokens: 1 },
  "/v1/messages/count_tokens": { messages: MESSAGES },
  "/tokenize": { content: "Hi" },
  "/detokenize": { tokens: [1] },
  "/apply-template": { messages: MESSAGES },
}

describe("a field that nobody knows", () => {
  let lenient: TestServer
  let strict: TestServer
  beforeAll(async () => {
    ;[lenient, strict] = await Promise.all([serveMini(), serveMini({ strictFields: true })])
  })
  afterAll(() => Promise.all([lenient.close(), strict.close()]))

  test("is ignored, named in the header of every API, streamed or not, and once in the log", async () => {
    for (const [path, body] of Object.entries(LEAST))
      for (const stream of OPERATIONS[path]!.event ? [false, true] : [undefined]) {
        const odd = { ...body, stream, hint: 1, user: "me" }
        const response = await lenient.post(path, odd)
        await response.arrayBuffer()
        const ignored = response.headers.get("x-ds4-ignored")
        expect([path, response.status, ignored]).toEqual([path, 200, "hint"])
      }
    expect(lenient.log).toEqual(["ignored a field that is not known here: hint"])
  })

  test("is a 400 that names it with --strict-fields; what is known is not", async () => {
    for (const [path, body] of Object.entries(LEAST)) {
      const fine = await strict.post(path, { ...body, user: "me", hint: null })
      expect([path, fine.status]).toEqual([path, 200])
      const response = await strict.post(path, { ...body, hint: 1 })
      const { error } = (await response.json()) as { error: { message: string } }
      expect([path, response.status]).toEqual([path, 400])
      expect(error.message).toContain("hint")
    }
    const chat = { ...LEAST["/v1/chat/completions"], hint: 1 }
    const { error } = (await (await strict.post("/v1/chat/completions", chat)).json()) as any
    expect(error).toMatchObject({ param: "hint", code: "unknown_field" })
  })

  test("harms no header and no log, whatever its name is", async () => {
    const names = ["a\r\nset-cookie: x", "世界", "\ud800", "a, b", "", "x".repeat(100_000)]
    const odd = Object.fromEntries(names.map((name) => [name, 1]))
    const response = await lenient.post("/tokenize", { content: "x", ...odd })
    expect(response.status).toBe(200)
    expect(response.headers.get("set-cookie")).toBeNull()
    expect(lenient.log.every((line) => /^[\x20-\x7e]{1,300}$/.test(line))).toBe(true)
    expect(headerList(Array.from({ length: 9999 }, () => "x".repeat(999))).length).toBeLessThan(
      4096,
    )
  })
})

describe("docs/server.md", () => {
  let text = ""
  beforeAll(async () => {
    text = await Bun.file(join(ROOT, "docs/server.md")).text()
  })
  const namesOf = (part: string) =>
    [...part.replace(/\([^)]*\)/g, "").matchAll(/`(\w+)`/g)].map((m) => m[1]!)
  const fields = () => text.split("## Fields")[1]!
  /** Names in the second column of a row. */
  const row = (api: string) => {
    const line = fields()
      .split("\n")
      .find((l) => l.startsWith(`| ${api} |`))
    return namesOf(line!.split("|")[2]!)
  }
  const paragraph = (start: string) =>
    namesOf(
      fields()
        .split("\n\n")
        .find((p) => p.startsWith(start))!
        .split(": ")[1]!
        .split(". ")[0]!,
    )

  test("lists the fields of every API", () => {
    for (const [path, { body, event }] of Object.entries(OPERATIONS)) {
      if (!body) continue
      const listed = [...(event ? row("all that generate") : []), ...row(`\`${path}\``)]
      expect([path, ...listed.toSorted()]).toEqual([path, ...Object.keys(body).toSorted()])
    }
  })

  test("lists what is refused and what is without effect", () => {
    expect(paragraph("Refused").toSorted()).toEqual(Object.keys(REFUSED).toSorted())
    expect(paragraph("Known").toSorted()).toEqual([...WITHOUT_EFFECT].toSorted())
  })
})

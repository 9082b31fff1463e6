import { afterAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { History } from "../../src/cli/history.ts"
import { findCaller, resolveUserPath, type Start } from "../../src/cli/paths.ts"
import { jsonText, loadMessages, markdownText } from "../../src/cli/saved.ts"
import { OutputClosed, writeAll } from "../../src/cli/write.ts"
import type { Message } from "../../src/chat/index.ts"
import { ds4 } from "./support.ts"
import { ROOT } from "../support/models.ts"

const folder = mkdtempSync(join(tmpdir(), "ds4-files-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("findCaller()", () => {
  const start: Start = {
    cwd: "/pkg",
    initCwd: "/stale",
    isScript: true,
    parent: () => ({ cwd: "/caller", isBun: true }),
  }
  test("is where bun run was called, where npm was called, else the working directory", () => {
    expect(findCaller(start, "/pkg")).toBe("/caller")
    expect(findCaller({ ...start, parent: () => ({ cwd: "/pkg", isBun: false }) }, "/pkg")).toBe(
      "/stale",
    )
    expect(findCaller({ ...start, parent: () => undefined, initCwd: undefined }, "/pkg")).toBe(
      "/pkg",
    )
    expect(findCaller({ ...start, isScript: false }, "/pkg")).toBe("/pkg")
    expect(findCaller({ ...start, cwd: "/other" }, "/pkg")).toBe("/other")
  })

  test("paths are the user's, also below bun run", async () => {
    expect(resolveUserPath("~/x")).toBe(join(homedir(), "x"))
    expect(resolveUserPath("~x")).toBe(join(process.cwd(), "~x"))
    const below = join(ROOT, "tests/cli")
    const child = Bun.spawn([process.execPath, "ds4", "inspect", "not there ü.gguf"], {
      cwd: below,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    })
    expect(await new Response(child.stderr).text()).toContain(join(below, "not there ü.gguf"))
  })
})

describe("History", () => {
  test("keeps messages whole between runs, private, and bounded", () => {
    const at = join(folder, "home")
    const first = new History(at)
    for (const text of ["one", "two\nlines", "two\nlines", "three"])
      expect(first.add(text)).toBeUndefined()
    expect(new History(at).entries).toEqual(["one", "two\nlines", "three"])
    expect(statSync(at).mode % 0o1000).toBe(0o700)
    expect(statSync(join(at, "history")).mode % 0o1000).toBe(0o600)
    const lines = Array.from({ length: 2500 }, (_, i) => `"${i}"\n`)
    writeFileSync(join(at, "history"), `${lines.join("")}{broken\n`)
    expect(new History(at).entries.length).toBe(999)
    expect(readFileSync(join(at, "history"), "utf8").trim().split("\n").length).toBe(999)
  })

  test("says once that it cannot be kept", () => {
    const file = join(folder, "a file")
    writeFileSync(file, "")
    const history = new History(join(file, "below"))
    expect(history.add("one")).toContain("cannot be kept")
    expect(history.add("two")).toBeUndefined()
    expect(history.entries).toEqual(["one", "two"])
  })
})

describe("saved conversations", () => {
  const messages: Message[] = [
    { role: "system", content: "Be kind." },
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello.", reasoning_content: "A greeting." },
  ]
  const at = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }

  test("loadMessages() reads what jsonText() wrote", () => {
    expect(loadMessages(at("c.json", jsonText(messages)))).toEqual(messages)
  })

  test("loadMessages() refuses other files by name", () => {
    mkdirSync(join(folder, "d"))
    const refused = (path: string) => expect(() => loadMessages(path))
    refused(at("x.json", "{")).toThrow(/Cannot load .*x\.json: Cannot read JSON/)
    refused(at("y.json", "{}")).toThrow("messages")
    refused(at("z.json", '{"messages":[{"role":"user","content":[1]}]}')).toThrow("messages[0]")
    refused(join(folder, "none.json")).toThrow("there is no such file")
    refused(join(folder, "d")).toThrow("it is a folder")
  })

  test("markdownText() is for reading", () => {
    expect(markdownText(messages)).toBe(
      "## System\n\nBe kind.\n\n## You\n\nHi\n\n## ds4\n\n<details><summary>Reasoning</summary>\n\n" +
        "A greeting.\n\n</details>\n\nHello.\n",
    )
  })
})

describe("writeAll()", () => {
  test("a closed descriptor is OutputClosed, on stderr nothing", () => {
    expect(() => writeAll(999, "x")).toThrow(OutputClosed)
  })

  test("more than a pipe holds arrives whole before the end", async () => {
    const { out, code } = await ds4(["tokenize", "--json", "-"], { stdin: "word ".repeat(40_000) })
    expect(code).toBe(0)
    expect(JSON.parse(out).tokens.join("")).toBe("word ".repeat(40_000))
  })
})

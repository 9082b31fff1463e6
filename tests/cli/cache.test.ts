/** `ds4 cache`, and what `ds4 serve` and `ds4 chat` leave on disk. */
import { beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ago } from "../../src/tools/cache.ts"
import { objectsIn, temporaryFolder } from "../support/disk.ts"
import { MINI_Q2, ROOT } from "../support/models.ts"
import { cleanEnv, CLI, ds4, Pty } from "./support.ts"

/** A server of its own process. */
class Server {
  errors = ""
  url = ""
  readonly #child: Bun.Subprocess<"ignore", "ignore", "pipe">

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.#child = Bun.spawn(
      [...CLI, "serve", "-m", MINI_Q2, "--port", "0", "--ctx", "4096", "--parallel", "2", ...args],
      { cwd: ROOT, env: cleanEnv(env), stdin: "ignore", stdout: "ignore", stderr: "pipe" },
    )
  }

  async start(): Promise<this> {
    const decoder = new TextDecoder()
    const ready = Promise.withResolvers<void>()
    void (async () => {
      for await (const chunk of this.#child.stderr) {
        this.errors += decoder.decode(chunk, { stream: true })
        if (/ at http/.test(this.errors)) ready.resolve()
      }
      ready.reject(new Error(this.errors))
    })()
    await ready.promise
    this.url = this.errors.match(/ at (http\S+)/)![1]!
    return this
  }

  /** Asks; returns the answer and how many tokens of the prompt there were, and were there already. */
  async ask(messages: object[], maxTokens = 20) {
    const response = await fetch(`${this.url}/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ messages, temperature: 0, max_tokens: maxTokens }),
    })
    const body = (await response.json()) as {
      choices: { message: { content: string; reasoning_content?: string } }[]
      usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } }
    }
    const { prompt_tokens: total, prompt_tokens_details: details } = body.usage
    return { message: body.choices[0]!.message, total, cached: details.cached_tokens }
  }

  /** Ends it as a system does that shuts down. */
  async stop(): Promise<number> {
    this.#child.kill("SIGTERM")
    return this.#child.exited
  }
}

const LONG = Array.from({ length: 60 }, (_, i) => `The ${i}th sheep jumps over the fence.`).join(
  " ",
)
const QUESTION = { role: "user", content: `How many sheep are there? ${LONG}` }

describe("ds4 serve", () => {
  test("goes on after a restart, with what it had read before SIGTERM", async () => {
    const dir = temporaryFolder()
    const one = await new Server(["--kv-dir", dir]).start()
    const first = await one.ask([QUESTION])
    expect(first.cached).toBe(0)
    expect(await one.stop()).toBe(0)
    const two = await new Server(["--kv-dir", dir]).start()
    const again = await two.ask([QUESTION])
    expect(again.message).toEqual(first.message)
    // All whole pages before the last token.
    expect(again.cached).toBe(128 * Math.floor((again.total - 1) / 128))
    const next = [
      QUESTION,
      { role: "assistant", content: "Sixty." },
      { role: "user", content: "Sure?" },
    ]
    await two.stop()
    const three = await new Server(["--kv-dir", dir]).start()
    // The prompt's reasoning is not part of the history: the rest is reused up to the last whole page.
    expect((await three.ask(next)).cached).toBeGreaterThanOrEqual(again.cached)
    await three.stop()
    expect(two.errors + three.errors).not.toContain("Cannot write")
  }, 60_000)

  test("keeps nothing with --no-kv-disk, and says once that it cannot write", async () => {
    const cache = temporaryFolder()
    const file = join(cache, "file")
    writeFileSync(file, "")
    const [off, broken] = await Promise.all([
      new Server(["--no-kv-disk"], { XDG_CACHE_HOME: cache }).start(),
      new Server([], { DS4_KV_DIR: file }).start(),
    ])
    for (let i = 0; i < 2; i++)
      for (const server of [off, broken])
        expect((await server.ask([QUESTION])).total).toBeGreaterThan(400)
    expect(await Promise.all([off.stop(), broken.stop()])).toEqual([0, 0])
    expect(objectsIn(cache)).toEqual([])
    expect(broken.errors.match(/^ds4: Cannot write the KV cache in /gm)).toHaveLength(1)
  }, 60_000)
})

describe("ds4 cache", () => {
  const cache = mkdtempSync(join(tmpdir(), "ds4-cache-"))
  const env = { XDG_CACHE_HOME: cache }
  const dir = join(cache, "ds4/kv")
  const run = (...args: string[]) => ds4(["cache", ...args], { env })
  const json = async <T>(...args: string[]) => JSON.parse((await run(...args, "--json")).out) as T
  type Row = { key: string; tokens: number; bytes: number; text: string; model: string }

  beforeAll(async () => {
    const server = await new Server([], env).start()
    await server.ask([QUESTION])
    await server.ask([{ role: "user", content: `What is a cow? ${LONG}` }])
    await server.stop()
  }, 60_000)

  test("ls shows conversations with their first words, stats the sums", async () => {
    const rows = await json<Row[]>("ls")
    expect(rows.map((r) => r.text.slice(0, 14)).toSorted()).toEqual([
      "How many sheep",
      "What is a cow?",
    ])
    for (const { key, tokens, model } of rows) {
      expect(key).toMatch(/^[0-9a-f]{12}$/)
      expect(tokens % 128).toBe(0)
      expect(model).toBe("ds4-mini")
    }
    const table = (await run("ls")).out
    expect(table).toContain("How many sheep are there?")
    expect(table).toContain("just now")
    const stats = await json<{ dir: string; bytes: number; models: { pages: number }[] }>("stats")
    expect(stats.dir).toBe(dir)
    expect(stats.models).toHaveLength(1)
    expect(stats.models[0]!.pages).toBe(rows.reduce((n, r) => n + r.tokens / 128, 0))
    expect((await run("stats", "--kv-space", "1M")).out).toContain("of 1.05 MB")
    const doctor = await ds4(["doctor", "--json"], { env })
    const places = (
      JSON.parse(doctor.out) as { places: { what: string; path: string; bytes: number }[] }
    ).places
    const place = places.find((p) => p.what === "KV cache")!
    expect(place.path).toBe(dir)
    expect(place.bytes).toBeGreaterThan(100_000)
  })

  test("verify finds what is wrong, and --fix removes it with what needs it", async () => {
    expect((await run("verify")).out).toContain("all is well")
    const path = objectsIn(dir).find((p) => p.endsWith(".point"))!
    const bytes = readFileSync(path)
    bytes[5000]! ^= 1
    writeFileSync(path, bytes)
    const found = await run("verify")
    expect(found.code).toBe(1)
    expect(found.out).toContain(`${path}: its checksum does not match\n`)
    expect(found.out).toContain("1 wrong (--fix removes them)")
    const fixed = await run("verify", "--fix")
    expect([fixed.code, fixed.out.includes("1 wrong, removed")]).toEqual([0, true])
    expect((await run("verify")).code).toBe(0)
  })

  test("rm removes one conversation, a model's, or all; what is not ours stays", async () => {
    const [first, second] = await json<Row[]>("ls")
    expect((await run("rm", first!.key.slice(0, 8))).code).toBe(0)
    expect((await json<Row[]>("ls")).map((r) => r.key)).toEqual([second!.key])
    expect((await run("rm", "--model", "ds4-maxi")).err).toContain('Nothing of a model "ds4-maxi"')
    mkdirSync(join(dir, "mine"))
    writeFileSync(join(dir, "mine/notes.txt"), "x")
    expect((await run("rm", "--model", MINI_Q2)).code).toBe(0)
    expect(await json<Row[]>("ls")).toEqual([])
    expect((await run("ls")).out).toBe(`Nothing is kept in ${dir}\n`)
    expect((await run("rm", "--all")).code).toBe(0)
    expect(readFileSync(join(dir, "mine/notes.txt"), "utf8")).toBe("x")
  })

  test("says what is wrong in one line", async () => {
    const wrong: [string[], string][] = [
      [[], "needs one of ls, rm, verify, stats"],
      [["constructor"], "needs one of ls, rm, verify, stats"],
      [["ls", "x"], 'ds4 cache ls cannot use "x"'],
      [["rm"], "needs keys as ds4 cache ls shows them, --model or --all"],
      [["rm", "../x"], '"../x" is no key'],
      [["rm", "abcd"], "There is no conversation abcd"],
      [
        ["stats", "--kv-space", "4X"],
        '--kv-space is "4X": expected a size like 5000000, 500M or 4G',
      ],
    ]
    const got = await Promise.all(wrong.map(([args]) => run(...args)))
    got.forEach(({ out, err, code }, i) => {
      expect([code, out, err.trim().split("\n").length]).toEqual([2, "", 1])
      expect(err).toContain(wrong[i]![1])
    })
  })

  test("ago", () => {
    const times = [0, 59_999, 60_000, 7_200_000, 100_000_000].map(ago)
    expect(times).toEqual(["just now", "just now", "1 minute ago", "2 hours ago", "1 day ago"])
  })
})

describe("ds4 chat", () => {
  test("keeps a conversation in a terminal on disk, but not one question", async () => {
    const dir = temporaryFolder()
    const options = ["-m", MINI_Q2, "--temp", "0", "--no-think", "--kv-dir", dir, "--ctx", "2048"]
    await ds4(["chat", ...options, "-p", LONG, "-n", "4"])
    expect(objectsIn(dir)).toEqual([])
    const pty = new Pty(["chat", ...options, "-n", "4"])
    await pty.expect(/you > /)
    pty.type(`${LONG}\r`)
    await pty.expect(/tokens\/s|written/)
    await pty.expect(/you > /)
    pty.type("\x04")
    expect(await pty.exited).toBe(0)
    expect(objectsIn(dir).length).toBeGreaterThan(3)
  }, 60_000)
})

/** The page, driven in a browser where there is one (Debian's `chromium`). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type Browser, chromium, type Page } from "playwright-core"
import { serveMini, type TestServer } from "./support.ts"

const BROWSER = Bun.which("chromium") ?? Bun.which("google-chrome")
if (!BROWSER) console.log("No chromium here: the page is not driven (apt-get install chromium)")

let server: TestServer
beforeAll(async () => {
  server = await serveMini()
})
afterAll(() => server.close())

test("the page is one document that may talk to its server only", async () => {
  const response = await fetch(server.url)
  const html = await response.text()
  expect(html).toStartWith("<!doctype html>")
  expect(html.match(/(src|href)="(?!data:)/g)).toBeNull()
  const policy = response.headers.get("content-security-policy")!
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toMatch(/unsafe|https?:/)
  for (const tag of ["style", 'script type="module"']) {
    const inside = html.split(`<${tag}>`)[1]!.split(`</${tag.split(" ")[0]}>`)[0]!
    const hash = new Bun.CryptoHasher("sha256").update(inside).digest("base64")
    expect(policy).toContain(`'sha256-${hash}'`)
  }
})

describe.skipIf(!BROWSER)("in a browser", () => {
  let browser: Browser
  let page: Page
  const errors: string[] = []
  const answers = () => page.locator("article.assistant .body")

  beforeAll(async () => {
    const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    const quiet = [
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ]
    browser = await chromium.launch({ executablePath: BROWSER!, args: [...args, ...quiet] })
    page = await browser.newPage({ viewport: { width: 1000, height: 700 } })
    page.on("pageerror", (error) => errors.push(String(error)))
    page.on("console", (m) => m.type() === "error" && errors.push(m.text()))
    await page.goto(server.url)
    await page.click("#settings summary")
    await page.fill("#temperature", "0")
  }, 30_000)
  afterAll(() => browser.close())

  async function say(text: string, count: number): Promise<void> {
    await page.fill("#text", text)
    await page.press("#text", "Enter")
    await page.waitForFunction(
      (n) =>
        document.getElementById("send")!.textContent === "Send" &&
        document.querySelectorAll("article.assistant").length === n,
      count,
    )
  }

  /** Puts an answer into the conversation as if the model had said it. */
  async function show(content: string): Promise<void> {
    await page.evaluate((text) => {
      const all = JSON.parse(localStorage.getItem("ds4.conversations")!)
      const [{ messages }] = all
      const last = Object.values<{ role: string }>(messages).findLast((m) => m.role === "assistant")
      Object.assign(last!, { content: text })
      localStorage.setItem("ds4.conversations", JSON.stringify(all))
    }, content)
    await page.reload()
  }

  test("send: reasoning is folded, the answer and its speed are there", async () => {
    await say("What is the capital of France?", 1)
    expect(await answers().innerText()).toBe("The capital of France is Paris.")
    expect(await page.locator("article details").getAttribute("open")).toBeNull()
    expect(await page.locator("article summary").innerText()).toMatch(/^Thought for [\d.]+ s$/)
    const line = await page.locator("article.assistant .actions").innerText()
    expect(line).toMatch(/\d+ tokens, \d+ tokens\/s, \d+ of \d+ cached/)
    expect(await page.locator("#context").innerText()).toMatch(/^\s*\d+ of 4096$/)
  }, 20_000)

  test("edit and retry branch; one can go back", async () => {
    await page.locator("article.user").hover()
    await page.click("article.user >> text=Edit")
    expect(await page.inputValue("#text")).toBe("What is the capital of France?")
    await say("What is the capital of Italy?", 1)
    expect(await answers().innerText()).toBe("The capital of Italy is Rome.")
    expect(await page.locator("article.user .actions").innerText()).toContain("2 / 2")
    await page.click("article.user >> text=‹")
    expect(await answers().innerText()).toBe("The capital of France is Paris.")
    await page.locator("article.assistant").hover()
    await page.click("article.assistant >> text=Retry")
    await page.waitForFunction(() => document.body.innerText.includes("2 / 2\n›"))
    await page.waitForFunction(() => document.getElementById("send")!.textContent === "Send")
  }, 20_000)

  test("stop ends the generation here and in the server", async () => {
    // Any token is as likely as any other: it does not end by itself.
    await page.fill("#temperature", "100")
    await page.fill("#min_p", "0")
    await page.fill("#text", "Tell me everything you know about everything.")
    await page.press("#text", "Enter")
    await page.waitForFunction(() => document.getElementById("send")!.textContent === "Stop")
    await page.keyboard.press("Escape")
    await page.waitForFunction(() => document.getElementById("send")!.textContent === "Send")
    for (let i = 0; i < 100 && server.service.metrics.running > 0; i++) await Bun.sleep(20)
    expect(server.service.metrics.running).toBe(0)
    expect(await page.locator("article.assistant").last().innerText()).toContain("stopped")
    await page.fill("#min_p", "")
  }, 20_000)

  test("what people write is text, never markup", async () => {
    await page.click("#new")
    const evil = '<img src=x onerror="document.title=1"> **bold** `<b>`'
    await page.fill("#temperature", "0")
    await say(evil, 1)
    expect(await page.locator("article.user .body").innerText()).toBe(evil)
    expect(await page.locator("article img").count()).toBe(0)
  }, 20_000)

  test("settings become fields of requests, stay, and are left out when empty", async () => {
    await page.click("#new")
    const fields = {
      temperature: 0,
      top_p: 0.9,
      min_p: 0.1,
      seed: 7,
      max_tokens: 3,
    }
    for (const [id, value] of Object.entries(fields)) await page.fill(`#${id}`, `${value}`)
    await page.selectOption("#thinking", "none")
    await page.fill("#system", "Be brief.")
    const sent = async (what: string, n: number) => {
      const asked = page.waitForRequest((r) => r.url().endsWith("/v1/chat/completions"))
      await say(what, n)
      return (await asked).postDataJSON()
    }
    const first = await sent("Hello", 1)
    expect(first).toMatchObject({ ...fields, reasoning_effort: "none" })
    expect(first.messages[0]).toEqual({ role: "system", content: "Be brief." })
    expect(await page.locator("article.assistant .actions").innerText()).toContain("cut by")
    await page.press("#seed", "Tab") // a change is kept when it is left
    await page.reload()
    await page.click("#settings summary")
    expect(await page.inputValue("#seed")).toBe("7")
    for (const id of ["top_p", "min_p", "seed", "max_tokens", "system"])
      await page.fill(`#${id}`, "")
    await page.selectOption("#thinking", "high")
    const second = await sent("Hello again", 2)
    expect(Object.keys(second).toSorted()).toEqual(
      ["messages", "reasoning_effort", "stream", "stream_options", "temperature"].toSorted(),
    )
  }, 20_000)

  test("colours follow the system, or the setting", async () => {
    const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    await page.emulateMedia({ colorScheme: "light" })
    const light = await colour()
    await page.emulateMedia({ colorScheme: "dark" })
    const dark = await colour()
    expect(dark).not.toBe(light)
    await page.selectOption("#theme", "light")
    expect(await colour()).toBe(light)
    await page.selectOption("#theme", "")
    expect(await colour()).toBe(dark)
  })

  test("keys: ↑ edits what was said last, Ctrl+Enter sends, Shift+Enter does not, Esc goes back", async () => {
    await page.click("#new")
    await say("What is the capital of France?", 1)
    await page.press("#text", "ArrowUp")
    expect(await page.inputValue("#text")).toBe("What is the capital of France?")
    await page.press("#text", "Shift+Enter")
    expect(await page.inputValue("#text")).toBe("What is the capital of France?\n")
    await page.fill("#text", "What is the capital of Italy?")
    await page.press("#text", "Control+Enter")
    await page.waitForFunction(() => document.body.innerText.includes("Italy is Rome."))
    await page.focus("#new")
    await page.keyboard.press("Escape")
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("text")
    await page.keyboard.press("Alt+n")
    expect(await page.locator("article").count()).toBe(0)
  }, 20_000)

  test("a conversation is saved as Markdown and as JSON", async () => {
    await page.selectOption("#conversations", { label: "What is the capital of Italy?" })
    const saved = async (how: string) => {
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.selectOption("#more", how),
      ])
      const text = await Bun.file(await download.path()).text()
      return { name: download.suggestedFilename(), text }
    }
    const markdown = await saved("md")
    expect(markdown.name).toBe("What-is-the-capital-of-Italy.md")
    expect(markdown.text).toStartWith("# What is the capital of Italy?\n\n## User\n\n")
    expect(markdown.text).toEndWith("\n\nThe capital of Italy is Rome.\n")
    const json = await saved("json")
    const { messages } = JSON.parse(json.text)
    expect(messages.map((m: { role: string }) => m.role)).toEqual(["user", "assistant"])
    expect(messages[1].content).toBe("The capital of Italy is Rome.")
    expect(await page.inputValue("#more")).toBe("")
  }, 20_000)

  test("Markdown: code with a button that copies it, tables, quotes; no markup gets through", async () => {
    const text = [
      "```html\n<b>1 | 2</b>\n```",
      "| a | *b* |\n|---|:-:|\n| `1` | <i>2</i> |\n| x \\| y | |",
      "> quoted",
      "[here](javascript:alert(1)) [there](https://example.com)",
    ].join("\n\n")
    await show(text)
    const body = answers().last()
    expect(await body.locator("pre code").innerText()).toBe("<b>1 | 2</b>")
    const cells = await body
      .locator("tr")
      .evaluateAll((rows) => rows.map((r) => [...r.children].map((c) => c.textContent)))
    expect(cells).toEqual([
      ["a", "b"],
      ["1", "<i>2</i>"],
      ["x | y", ""],
    ])
    expect(await body.locator("blockquote").innerText()).toBe("quoted")
    expect(
      await body.locator("a").evaluateAll((a) => a.map((x) => x.getAttribute("href"))),
    ).toEqual(["https://example.com"])
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"])
    await body.locator("pre button").click()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("<b>1 | 2</b>")
  }, 20_000)

  test("a server with a key asks for it", async () => {
    const locked = await serveMini({ apiKey: "s3cret" })
    const other = await browser.newPage()
    await other.goto(locked.url)
    await other.waitForFunction(() => document.body.innerText.includes("wants its API key"))
    await other.fill("#key", "s3cret")
    await other.press("#key", "Tab")
    await other.waitForFunction(() => document.getElementById("model")!.textContent === "ds4-mini")
    expect(await other.locator("#status").innerText()).toBe("")
    await other.fill("#text", "What is the capital of France?")
    await other.press("#text", "Enter")
    await other.waitForFunction(() => document.body.innerText.includes("France is Paris."))
    const kept = await other.evaluate(() => JSON.stringify(localStorage))
    expect(kept).not.toContain("s3cret")
    await other.close()
    await locked.close()
  }, 20_000)

  test("conversations survive a reload; a narrow screen does not scroll sideways", async () => {
    await page.selectOption("#conversations", { label: "What is the capital of Italy?" })
    const before = await page.locator("main").innerText()
    await page.reload()
    await page.waitForSelector("article.assistant")
    await page.selectOption("#conversations", { label: "What is the capital of Italy?" })
    expect(await page.locator("main").innerText()).toBe(before)
    await page.setViewportSize({ width: 360, height: 640 })
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
  }, 20_000)

  test("nothing went wrong in the browser, and nothing was asked of anybody else", () => {
    expect(errors).toEqual([])
  })
})

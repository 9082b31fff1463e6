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

  test("send: reasoning is folded, the answer and its speed are there", async () => {
    await say("What is the capital of France?", 1)
    expect(await answers().innerText()).toBe("The capital of France is Paris.")
    expect(await page.locator("details").getAttribute("open")).toBeNull()
    expect(await page.locator("summary").innerText()).toMatch(/^Thought for [\d.]+ s$/)
    expect(await page.locator("article.assistant .actions").innerText()).toMatch(/tokens\/s/)
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
    await page.fill("#temperature", "2")
    await page.fill("#text", "Tell me everything you know about everything.")
    await page.press("#text", "Enter")
    await page.waitForFunction(() => document.getElementById("send")!.textContent === "Stop")
    await page.keyboard.press("Escape")
    await page.waitForFunction(() => document.getElementById("send")!.textContent === "Send")
    for (let i = 0; i < 100 && server.service.metrics.running > 0; i++) await Bun.sleep(20)
    expect(server.service.metrics.running).toBe(0)
  }, 20_000)

  test("what people write is text, never markup", async () => {
    await page.click("#new")
    const evil = '<img src=x onerror="document.title=1"> **bold** `<b>`'
    await page.fill("#temperature", "0")
    await say(evil, 1)
    expect(await page.locator("article.user .body").innerText()).toBe(evil)
    expect(await page.locator("article img").count()).toBe(0)
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

/** A compiled executable serves the model and the page, away from the sources. */
import { afterAll, expect, test } from "bun:test"
import { copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { ensureNativeLibrary } from "../../ffi/build.ts"
import { page } from "../../src/server/page.ts"
import { MINI_Q8, ROOT } from "../support/models.ts"

const folder = mkdtempSync(join(tmpdir(), "ds4-compiled-"))
const executable = join(folder, "ds4")
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function compile(): Promise<void> {
  const entries = ["src/cli.ts", "src/worker.ts"].map((entry) => join(ROOT, entry))
  const flags = ["--compile", "--minify", "--no-compile-autoload-dotenv"]
  const command = [process.execPath, "build", ...flags, ...entries, "--outfile", executable]
  const made = Bun.spawnSync(command, { cwd: folder, stdout: "ignore", stderr: "pipe" })
  if (!made.success) throw new Error(`${made.stderr}`)
  const library = await ensureNativeLibrary()
  copyFileSync(library, join(folder, basename(library)))
}

/** The address that a server says once it has its model. */
async function addressOf(stderr: ReadableStream<Uint8Array>): Promise<string> {
  let said = ""
  const decoder = new TextDecoder()
  for await (const bytes of stderr) {
    said += decoder.decode(bytes, { stream: true })
    const url = said.match(/at (http:\S+)\/v1 /)?.[1]
    if (url) return url
  }
  throw new Error(`It ended: ${said}`)
}

test("the page of an executable is the page of the checkout, and its model answers", async () => {
  await compile()
  const flags = ["--port", "0", "--ctx", "512", "--strict-fields", "-m", MINI_Q8]
  const server = Bun.spawn([executable, "serve", ...flags], {
    cwd: folder,
    stdout: "ignore",
    stderr: "pipe",
  })
  try {
    const url = await addressOf(server.stderr)
    const [there, here] = await Promise.all([fetch(url), page()])
    expect(await there.text()).toBe(await here.text())
    const policy = "content-security-policy"
    expect(there.headers.get(policy)).toBe(here.headers.get(policy)!)
    const messages = [{ role: "user", content: "What is the capital of France?" }]
    const ask = (more: object = {}) => {
      const body = { messages, temperature: 0, reasoning_effort: "none", ...more }
      const chat = `${url}/v1/chat/completions`
      return fetch(chat, { method: "POST", body: JSON.stringify(body) })
    }
    expect(await (await ask()).text()).toContain("The capital of France is Paris.")
    expect((await ask({ hint: 1 })).status).toBe(400)
    expect((await fetch(`${url}/openapi.json`)).status).toBe(200)
  } finally {
    server.kill()
    await server.exited
  }
}, 60_000)

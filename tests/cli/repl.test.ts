import { expect, test } from "bun:test"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Pty, screenOf, temporary } from "./support.ts"

const PROMPT = /you > /
const STATS = /tokens read.*tokens\/s/

/** A conversation with a home of its own. */
async function talk(name: string, args: string[] = [], env: Record<string, string> = {}) {
  const HOME = temporary(name)
  mkdirSync(HOME, { recursive: true })
  const pty = new Pty(["chat", "--temp", "0", ...args], { HOME, NO_COLOR: "1", ...env })
  await pty.expect(PROMPT)
  const send = async (text: string, pattern: RegExp) => {
    pty.type(`${text}\r`)
    const found = await pty.expect(pattern)
    await pty.expect(PROMPT)
    return found
  }
  return { pty, send, HOME }
}

test("a conversation: answers, reuse of what was read, commands, history", async () => {
  const { pty, send, HOME } = await talk("talk", ["--no-think"])
  const file = (name: string) => join(HOME, name)
  await send("What is the capital of France?", /The capital of France is Paris\.[^]*tokens\/s/)
  await send("And of Italy?", /\([0-9]+ cached\)/)
  await send("/stats", /thinking: off/)
  await send("/think", /Thinking before answering/)
  await send("/think-max", /needs a context of 393216 tokens/)
  await send("/nothink", /Answering at once/)
  await send("/ctx", /[1-9][0-9]* of 32768 tokens/)
  await send("/copy", /\x1b\]52;c;[A-Za-z0-9+/=]+\x07/)
  await send(`/save ${file("c.json")}`, /\n/)
  await send(`/export ${file("c.md")}`, /\n/)
  await send("/new", /\n/)
  await send("/ctx 4096", /0 of 4096 tokens/)
  await send(`/load "${file("c.json")}"`, /4 messages/)
  await send("/retry", STATS)
  await send("/rtry", /did you mean \/retry/)
  await send("/save", /needs the name of a file: \/save FILE/)
  await send("/load nowhere.json", /there is no such file/)
  await send("/ctx lots", /expected a whole number/)
  await send("/help", /\/export FILE/)
  writeFileSync(file("q.txt"), "What is the capital of France?\n")
  await send(`/read ${file("q.txt")}`, /Paris/)
  pty.type("/qu\t\r")
  expect(await pty.exited).toBe(0)
  const saved = JSON.parse(readFileSync(file("c.json"), "utf8"))
  expect(saved.messages.map((m: { role: string }) => m.role)).toEqual([
    "user",
    "assistant",
    "user",
    "assistant",
  ])
  expect(readFileSync(file("c.md"), "utf8")).toContain("## ds4\n\nThe capital of France is Paris.")
  const history = readFileSync(file(".ds4/history"), "utf8").trim().split("\n")
  expect(history[0]).toBe('"What is the capital of France?"')
  expect(history.at(-1)).toBe('"/quit"')
}, 30_000)

test("Ctrl-C stops the answer and not the program; twice at the prompt it leaves", async () => {
  const { pty, send } = await talk("stop", ["--backend", "reference"])
  pty.type("Tell me a long story about a sheep.\r")
  await pty.expect(/user/) // the reasoning has begun
  pty.type("\x03")
  await pty.expect(/Stopped\./)
  await pty.expect(PROMPT)
  pty.type("/retry\r")
  await pty.expect(/user/)
  pty.signal("SIGINT")
  pty.signal("SIGINT") // as `bun run` passes it on once more
  await pty.expect(/Stopped\./)
  await pty.expect(PROMPT)
  await send("/stats", /thinking: on/)
  pty.type("something\x03")
  pty.type("\x03")
  await pty.expect(/Ctrl-C again/)
  await pty.expect(PROMPT)
  pty.type("\x03")
  expect(await pty.exited).toBe(0)
}, 30_000)

test("messages of several lines: Alt-Enter, Ctrl-J, backslash, quotes, paste", async () => {
  const { pty, HOME } = await talk("lines", ["--no-think", "-n", "1"])
  const typed = [
    "a\x1b\rb\r",
    "c\nd\r",
    "e\\\rf\r",
    '"""g\rh"""\r',
    "\x1b[200~i\r\nj\x1b[31m\x1b[201~\r",
    "\x1b[A\x1b[A\x1b[A!\r", // to the last line of the message before last, and one further back
  ]
  for (const keys of typed) {
    pty.type(keys)
    await pty.expect(/tokens read/)
    await pty.expect(PROMPT)
  }
  pty.type("\x04")
  expect(await pty.exited).toBe(0)
  const history = readFileSync(join(HOME, ".ds4/history"), "utf8").trim().split("\n")
  const messages = history.map((line) => JSON.parse(line) as string)
  expect(messages.slice(0, 5)).toEqual(["a\nb", "c\nd", "e\nf", "g\nh", "i\nj[31m"])
  expect(messages[5]).toMatch(/^g!?\nh!?$/)
}, 30_000)

test("earlier messages come back in the next run", async () => {
  const first = await talk("again", ["--no-think", "-n", "1"])
  first.pty.type("one\x1b\rtwo\r")
  await first.pty.expect(/tokens read/)
  await first.pty.expect(PROMPT)
  first.pty.type("\x04")
  await first.pty.exited
  const { pty } = await talk("again", ["--no-think", "-n", "1"])
  pty.type("\x1b[A")
  await pty.expect(/one[^]*two/)
  pty.type("\x03\x04")
  expect(await pty.exited).toBe(0)
}, 30_000)

test("the screen shows prompt, answer and figures, and no escape of the model's", async () => {
  const { pty, send } = await talk("screen", ["--no-think"])
  await send("What is the capital of France?", STATS)
  pty.type("/quit\r")
  await pty.exited
  const screen = screenOf(pty.output, 80)
  const at = screen.findIndex((line) => line.startsWith("you > What is"))
  expect(screen.slice(at, at + 2)).toEqual([
    "you > What is the capital of France?",
    "The capital of France is Paris.",
  ])
  expect(screen[at + 2]).toMatch(/^\d+ tokens read, first token after .* tokens\/s$/)
  expect(pty.output).toEndWith("\x1b[?2004l")
}, 30_000)

test("a terminal that cannot move its cursor gets plain lines", async () => {
  const { pty, send } = await talk("dumb", ["--no-think"], { TERM: "dumb" })
  await send("What is the capital of France?", /The capital of France is Paris\.\r?\n/)
  pty.type("\x04")
  expect(await pty.exited).toBe(0)
  expect(pty.output).not.toContain("\x1b")
}, 30_000)

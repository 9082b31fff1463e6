/** Lets one agent make two turns and says what came of them. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { env } from "../../src/env.ts"
import type { Agent } from "./agents.ts"
import { type Ended, run } from "./processes.ts"
import { type Exchange, type Proxy, startProxy, startWall } from "./proxy.ts"

const TURN_DEADLINE = 60_000
const LEAST_CACHED = 0.9
const FILE = "note.txt"

/** What came of an agent; `failures` is empty if all went well. */
export interface Outcome {
  /** The answer of the text turn, and the one that follows the result of the tool. */
  said: [string, string]
  tool: string
  /** Tokens of the prompts of all requests with tools, and how many of them were cached. */
  prompts: { tokens: number; cached: number }[]
  notes: string[]
  failures: string[]
}

/** @param home an empty directory; @param packages the node_modules that the agent is in */
export async function check(
  agent: Agent,
  upstream: string,
  home: string,
  packages: string,
): Promise<Outcome> {
  const work = join(home, "work")
  const file = join(work, FILE)
  const secret = `word-${crypto.randomUUID()}`
  mkdirSync(work, { recursive: true })
  await Bun.write(file, `The word is ${secret}.\n`)
  const proxy = startProxy({ upstream, call: agent.call(file), secret })
  const wall = startWall()
  const place = { home, work, url: proxy.url }
  for (const [path, content] of Object.entries(agent.files(place)))
    await Bun.write(path, typeof content === "string" ? content : JSON.stringify(content, null, 2))
  const bin = join(packages, agent.bin)
  const command = {
    cmd: bin.endsWith(".js") ? [process.execPath, bin] : [bin],
    cwd: work,
    env: { ...environment(home, wall.url), ...agent.env(place) },
    deadline: TURN_DEADLINE,
  }
  const turn = (args: string[]) => run({ ...command, cmd: [...command.cmd, ...args] })
  try {
    const first = await turn([...agent.begin, "Reply with PONG"])
    const nFirst = proxy.exchanges.length
    proxy.forceNext()
    const second = await turn([...agent.goOn, `Read the file ${FILE}`])
    const asked = [...wall.asked].map((target) => `wanted to reach ${target}`)
    return outcomeOf(agent, proxy, [first, second], nFirst, asked)
  } finally {
    wall.stop()
    await proxy.stop()
  }
}

/** Nothing of the user's own: neither settings nor keys. Only this machine is reached without the wall. */
function environment(home: string, wall: string): Record<string, string> {
  const own = { HOME: home, TMPDIR: home, XDG_CONFIG_HOME: `${home}/.config` }
  const more = { XDG_CACHE_HOME: `${home}/.cache`, XDG_DATA_HOME: `${home}/.local/share` }
  const direct = "127.0.0.1,localhost"
  const proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [
    [name, wall],
    [name.toLowerCase(), wall],
  ])
  return {
    ...{ PATH: env("PATH") ?? "/usr/bin:/bin", TERM: "dumb", LANG: "C.UTF-8" },
    ...{ ...own, ...more, XDG_STATE_HOME: `${home}/.local/state` },
    ...(Object.fromEntries(proxies) as Record<string, string>),
    ...{ NO_PROXY: direct, no_proxy: direct, DO_NOT_TRACK: "1" },
  }
}

function outcomeOf(
  agent: Agent,
  { exchanges, others, failures: refused }: Proxy,
  [first, second]: [Ended, Ended],
  nFirst: number,
  asked: string[],
): Outcome {
  const main = exchanges.filter((e) => e.isMain && e.status === 200)
  const forced = exchanges.find((e) => e.isForced)
  const after = main.filter((e) => e.hasSecret && !e.isForced)
  const name = agent.call("").name
  const [text, answer] = [exchanges.slice(0, nFirst), after].map(textOf) as [string, string]
  const prompts = main.map(({ answer: a }) => ({ tokens: a.promptTokens, cached: a.cachedTokens }))
  const failures = refused.map((why) => `the proxy: ${why}`)
  const must = (isTrue: boolean, what: string) => isTrue || failures.push(what)
  for (const { path, status, failure } of exchanges)
    must(status === 200, `${path} was answered with ${status}: ${failure.slice(0, 300)}`)
  must(text !== "" && shows(first, text), `the text turn: ${endOf(first)}`)
  must(forced !== undefined, `it never offered ${name}`)
  must(after.length > 0, `${name} sent no result back: ${endOf(second)}`)
  must(second.code === 0 && shows(second, answer), `the tool turn: ${endOf(second)}`)
  for (const { tokens, cached } of prompts.slice(1))
    must(cached >= LEAST_CACHED * tokens, `only ${cached} of ${tokens} tokens were cached`)
  const notes = [...others, ...asked]
  return { said: [text, answer], tool: after.length > 0 ? name : "", prompts, notes, failures }
}

const textOf = (exchanges: Exchange[]): string =>
  exchanges.findLast((e) => e.isMain && !e.isForced)?.answer.text.trim() ?? ""

/** Whether the agent ended well and shows the answer; some break its lines or draw its Markdown. */
function shows({ code, out }: Ended, answer: string): boolean {
  const letters = (text: string) => text.replaceAll(/[^a-zA-Z0-9]/g, "")
  return code === 0 && letters(out).includes(letters(answer))
}

function endOf({ code, out, err }: Ended): string {
  const how = code === null ? "the time was over" : `it ended with ${code}`
  return `${how}: ${`${out}\n${err}`.trim().slice(-600)}`
}

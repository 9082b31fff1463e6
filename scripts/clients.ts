/** Do the agents that people use work with the server? `bun scripts/clients.ts [codex claude opencode pi]`.
 *
 *  Installs them from npm beside ds4's other caches, serves ds4-mini on a free port of this machine, and
 *  lets each one, in a home and a directory of its own, (a) answer a text and (b) in the same conversation
 *  read a file with its own tool and send the result back. It passes if both turns end well, the secret
 *  of the file arrives at the server, and from the second request on 90 % of the prompt is cached.
 *  What heeds proxy variables can reach this machine only. scripts/clients/proxy.ts says why the model
 *  cannot run anything but the one harmless call. */
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { env } from "../src/env.ts"
import { type Agent, AGENTS, CONTEXT } from "./clients/agents.ts"
import { check, type Outcome } from "./clients/check.ts"
import { killAll, run, start } from "./clients/processes.ts"

const ROOT = join(import.meta.dir, "..")
const CACHE = join(env("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "ds4", "clients")
const MINI = join(ROOT, "models", "ds4-mini", "ds4-mini-q8.gguf")
const folderOf = (name: string, { version }: Agent) => join(CACHE, `${name}-${version}`)
const DEADLINE = { install: 240_000, serve: 120_000 }

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(AGENTS)
const unknown = names.filter((name) => !Object.hasOwn(AGENTS, name))
if (unknown.length > 0) {
  console.error(`There is no ${unknown.join(", ")}; there are ${Object.keys(AGENTS).join(", ")}`)
  process.exit(2)
}
const temporary = realpathSync(mkdtempSync(join(tmpdir(), "ds4-clients-")))
process.once("SIGINT", () => process.exit(130))
process.once("SIGTERM", () => process.exit(143))
process.once("exit", () => {
  killAll()
  rmSync(temporary, { recursive: true, force: true })
})
const outcomes = await checkAll()
report(outcomes)
process.exit([...outcomes.values()].some(({ failures }) => failures.length > 0) ? 1 : 0)

async function checkAll(): Promise<Map<string, Outcome>> {
  for (const name of names) await install(name, AGENTS[name]!)
  const upstream = await serve()
  const all = new Map<string, Outcome>()
  for (const name of names) {
    console.error(`— ${name}`)
    const agent = AGENTS[name]!
    const packages = join(folderOf(name, agent), "node_modules")
    all.set(name, await check(agent, upstream, join(temporary, name), packages))
  }
  return all
}

async function install(name: string, agent: Agent): Promise<void> {
  const cwd = folderOf(name, agent)
  if (existsSync(join(cwd, "node_modules", agent.bin))) return
  const wanted = `${agent.package}@${agent.version}`
  console.error(`— installing ${wanted}`)
  mkdirSync(cwd, { recursive: true })
  await Bun.write(join(cwd, "package.json"), '{ "private": true }\n')
  const cmd = [process.execPath, "add", "--exact", wanted]
  const { code, err } = await run({ cmd, cwd, deadline: DEADLINE.install })
  if (code !== 0) throw new Error(`Cannot install ${wanted}: ${err}`)
}

/** Serves ds4-mini with no settings of the user's and an empty cache; says where. */
async function serve(): Promise<string> {
  const flags = ["-m", MINI, "--port", "0", "--ctx", String(CONTEXT)]
  const cmd = [process.execPath, "src/cli.ts", "serve", ...flags]
  const own = { PATH: env("PATH") ?? "", HOME: homedir(), XDG_CACHE_HOME: join(temporary, "cache") }
  const command = { cmd, cwd: ROOT, env: own, deadline: DEADLINE.serve }
  const match = await start(command, / at (http:\S+?)\/v1 /)
  return match[1]!
}

function report(all: ReadonlyMap<string, Outcome>): void {
  const head = ["client", "version", "text turn", "tool ran", "prompts", "cached", "result"]
  const rows = [...all].map(([name, { said, tool, prompts, failures }]) => [
    name,
    AGENTS[name]!.version,
    said[0] === "" ? "none" : "ok",
    tool === "" ? "none" : tool,
    prompts.map((p) => p.tokens).join(" "),
    prompts.map((p) => `${Math.floor((100 * p.cached) / p.tokens)}%`).join(" "),
    failures.length === 0 ? "passed" : "FAILED",
  ])
  const table = [head, ...rows]
  const widths = head.map((_, i) => Math.max(...table.map((row) => row[i]!.length)))
  for (const row of table)
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join("  ")
        .trimEnd(),
    )
  console.log()
  for (const [name, { said, notes, failures }] of all) {
    console.log(
      `${name} said ${JSON.stringify(said[0])}, and after the tool ${JSON.stringify(said[1])}`,
    )
    for (const note of notes) console.log(`${name}: ${note}`)
    for (const failure of failures) console.log(`${name} FAILED: ${failure}`)
  }
}

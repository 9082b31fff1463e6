/** Commands of the conversation, such as /help and /retry. */
import { readFileSync, writeFileSync } from "node:fs"
import type { Message } from "../chat/index.ts"
import { CliError } from "../errors.ts"
import { nearest } from "./options.ts"
import { statsLine } from "./render.ts"
import type { ReplState } from "./repl.ts"

interface Slash {
  usage: string
  help: string
  run(state: ReplState, argument: string): void | Promise<void>
}

const SLASHES: Record<string, Slash> = {
  help: {
    usage: "/help",
    help: "this list",
    run: ({ io }) => {
      for (const s of Object.values(SLASHES)) io.out(`  ${s.usage.padEnd(16)} ${s.help}\n`)
      io.out('  """              begins and ends a message of several lines; so does a final \\\n')
    },
  },
  think: { usage: "/think", help: "think before answering", run: (s) => setMode(s, "think") },
  nothink: { usage: "/nothink", help: "answer at once", run: (s) => setMode(s, "none") },
  "think-max": {
    usage: "/think-max",
    help: "think as hard as possible",
    run: (s) => setMode(s, "max"),
  },
  ctx: {
    usage: "/ctx",
    help: "tokens used, of how many",
    run: ({ io, conversation, info }) =>
      io.out(`${conversation.promptIds().length} of ${info.context} tokens\n`),
  },
  read: {
    usage: "/read FILE",
    help: "ask with the text of a file",
    run: (s, path) => s.ask(readFileSync(s.io.resolvePath(need(path, "/read FILE")), "utf8")),
  },
  save: {
    usage: "/save FILE",
    help: "keep the conversation",
    run: ({ io, conversation }, path) => {
      const text = JSON.stringify({ messages: conversation.messages }, null, 2)
      writeFileSync(io.resolvePath(need(path, "/save FILE")), `${text}\n`)
    },
  },
  load: {
    usage: "/load FILE",
    help: "go on with a saved conversation",
    run: ({ io, conversation }, path) => {
      const text = readFileSync(io.resolvePath(need(path, "/load FILE")), "utf8")
      const { messages } = JSON.parse(text) as { messages: Message[] }
      if (!Array.isArray(messages)) throw new CliError(`${path} holds no conversation`)
      conversation.messages = messages
      io.out(`${messages.length} messages\n`)
    },
  },
  export: {
    usage: "/export FILE",
    help: "write the conversation as Markdown (or JSON by extension)",
    run: ({ io, conversation }, path) => {
      const file = io.resolvePath(need(path, "/export FILE"))
      writeFileSync(
        file,
        file.endsWith(".json")
          ? `${JSON.stringify(conversation.messages, null, 2)}\n`
          : conversation.messages.map((m) => `## ${m.role}\n\n${m.content}\n`).join("\n"),
      )
    },
  },
  retry: {
    usage: "/retry",
    help: "ask the last question again",
    run: async (s) => {
      const question = s.conversation.takeBack()
      if (question === undefined) throw new CliError("There is no question to ask again")
      await s.ask(question)
    },
  },
  copy: {
    usage: "/copy",
    help: "copy the last answer to the clipboard",
    run: ({ io, conversation }) => {
      const last = conversation.messages.findLast((m) => m.role === "assistant")
      const text = Buffer.from(String(last?.content ?? "")).toString("base64")
      io.out(`\x1b]52;c;${text}\x07`)
    },
  },
  stats: {
    usage: "/stats",
    help: "speed of the last answer",
    run: ({ io, lastEnd }) => io.out(`${lastEnd ? statsLine(lastEnd) : "No answer yet"}\n`),
  },
  quit: {
    usage: "/quit",
    help: "leave",
    run: (s) => {
      s.quit = true
    },
  },
}

/** Runs a line that begins with a slash. @throws CliError for an unknown one. */
export async function runSlash(state: ReplState, line: string): Promise<void> {
  const [, name = "", argument = ""] = line.match(/^\/(\S*)\s*(.*)$/s) ?? []
  const slash = SLASHES[name === "exit" ? "quit" : name]
  if (slash) return slash.run(state, argument.trim())
  const near = nearest(name, Object.keys(SLASHES))
  throw new CliError(
    `There is no /${name}${near ? `; did you mean /${near}?` : ""} (/help lists all)`,
  )
}

function setMode(state: ReplState, mode: "none" | "think" | "max"): void {
  if (mode === "max" && state.info.context < 393216)
    throw new CliError("/think-max needs a context of 393216 tokens (--ctx)")
  state.conversation.mode = mode
}

function need(argument: string, usage: string): string {
  if (argument === "") throw new CliError(`A file name is missing: ${usage}`)
  return argument
}

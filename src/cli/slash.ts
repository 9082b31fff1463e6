/** Commands of a conversation, such as /help and /retry. */
import { CliError } from "../errors.ts"
import type { ThinkMode } from "./conversation.ts"
import { statsLine } from "./answer.ts"
import { THINK_MAX_CONTEXT } from "./options.ts"
import { nearest } from "./parse.ts"
import { readText } from "./prompt.ts"
import type { Repl } from "./repl.ts"
import { jsonText, loadMessages, markdownText, writeText } from "./saved.ts"

interface Slash {
  /** What follows the name; in capitals what must. */
  argument?: string
  help: string
  run(repl: Repl, argument: string): void | Promise<void>
}

const SLASHES: Readonly<Record<string, Slash>> = {
  help: { help: "this list", run: printHelp },
  think: { help: "think before answering", run: (r) => setThink(r, "on") },
  nothink: { help: "answer at once", run: (r) => setThink(r, "off") },
  "think-max": { help: "think as hard as possible", run: (r) => setThink(r, "max") },
  ctx: {
    argument: "[N]",
    help: "tokens in use; with N, open the model with another context",
    run: showOrSetContext,
  },
  read: {
    argument: "FILE",
    help: "ask with the text of a file",
    run: (r, file) => r.ask(readText(file, r.io)),
  },
  save: {
    argument: "FILE",
    help: "keep the conversation",
    run: (r, file) => writeText(r.io.resolvePath(file), jsonText(r.conversation.messages)),
  },
  load: { argument: "FILE", help: "go on with a conversation that was kept", run: load },
  export: {
    argument: "FILE",
    help: "write the conversation as Markdown, or as JSON by the name's end",
    run: exportTo,
  },
  copy: { help: "copy the last answer to the clipboard", run: copy },
  retry: { help: "ask the last question again", run: retry },
  new: { help: "begin a new conversation", run: (r) => r.conversation.clear() },
  stats: { help: "speed of the last answer, state of the model", run: stats },
  quit: { help: "leave, as Ctrl-D does", run: (r) => void (r.isOver = true) },
}

const ALIASES: Readonly<Record<string, string>> = {
  exit: "quit",
  clear: "new",
  "no-think": "nothink",
}

/** Runs a line that begins with a slash. @throws CliError for an unknown one or a missing argument. */
export async function runSlash(repl: Repl, line: string): Promise<void> {
  const [, name = "", rest = ""] = line.match(/^\/(\S*)\s*(.*)$/s) ?? []
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name
  const slash = Object.hasOwn(SLASHES, known) ? SLASHES[known] : undefined
  if (!slash) {
    const near = nearest(name, Object.keys(SLASHES))
    throw new CliError(`There is no /${name}${near ? `; did you mean /${near}?` : " (/help)"}`)
  }
  const argument = rest.trim().replace(/^(["'])(.*)\1$/s, "$2")
  const { argument: wanted } = slash
  if (wanted && !wanted.startsWith("[") && argument === "")
    throw new CliError(`/${known} needs the name of a file: /${known} ${wanted}`)
  if (!wanted && argument !== "")
    throw new CliError(`/${known} takes nothing, "${argument}" was given`)
  await slash.run(repl, argument)
}

/** The rest of a command's name, if only one begins so. */
export function completeSlash(text: string): string | undefined {
  if (!/^\/\S*$/.test(text)) return undefined
  const found = Object.keys(SLASHES).filter((name) => name.startsWith(text.slice(1)))
  if (found.length !== 1) return undefined
  return found[0]!.slice(text.length - 1) + (SLASHES[found[0]!]!.argument ? " " : "")
}

function printHelp({ io }: Repl): void {
  const rows = Object.entries(SLASHES).map(([name, { argument, help }]) => {
    const usage = `/${name} ${argument ?? ""}`.padEnd(16)
    return `  ${io.colors.bold(usage)} ${help}\n`
  })
  io.out(rows.join(""))
  io.out(
    '  Alt-Enter, Ctrl-J or \\ at the end begins a new line; a message between """ and """ may\n' +
      "  hold many. Up and Down bring back earlier messages. Ctrl-C stops an answer.\n",
  )
}

function setThink(repl: Repl, mode: ThinkMode): void {
  const { conversation } = repl
  const { context } = conversation.engine.info
  const fits = mode !== "max" || context >= THINK_MAX_CONTEXT
  conversation.think = fits ? mode : "on"
  if (!fits)
    return repl.say(
      `That needs a context of ${THINK_MAX_CONTEXT} tokens, this one has ${context}: thinking as usual.`,
    )
  const words = {
    on: "Thinking before answering.",
    off: "Answering at once.",
    max: "Thinking hard.",
  }
  repl.say(words[mode])
}

async function showOrSetContext(repl: Repl, argument: string): Promise<void> {
  const { conversation } = repl
  if (argument !== "") {
    const context = /^[0-9]+$/.test(argument) ? Number(argument) : 0
    if (context < 1) throw new CliError(`/ctx is "${argument}": expected a whole number from 1 on`)
    await conversation.engine.setContext(context)
  }
  const used = conversation.messages.length > 0 ? conversation.promptIds().length : 0
  const { context } = conversation.engine.info
  repl.say(`${used} of ${context} tokens are in use (${Math.round((100 * used) / context)} %).`)
}

function load(repl: Repl, file: string): void {
  const { conversation, io } = repl
  const messages = loadMessages(io.resolvePath(file))
  conversation.promptIds(messages) // what cannot be rendered is refused here
  conversation.messages = messages
  repl.say(`${messages.length} messages.`)
}

function exportTo({ io, conversation }: Repl, file: string): void {
  const { messages } = conversation
  const text = /\.json$/i.test(file) ? jsonText(messages) : markdownText(messages)
  writeText(io.resolvePath(file), text)
}

async function retry(repl: Repl): Promise<void> {
  const question = repl.takeQuestion()
  if (question === undefined) throw new CliError("There is no question to ask again")
  await repl.ask(question)
}

/** By the escape sequence that asks the terminal to do it (OSC 52), which also works over SSH. */
function copy(repl: Repl): void {
  const last = repl.conversation.messages.findLast((m) => m.role === "assistant")
  if (!last) throw new CliError("There is no answer to copy")
  const text = String(last.content ?? "")
  repl.io.out(`\x1b]52;c;${Buffer.from(text).toString("base64")}\x07`)
  repl.say(`${text.length} characters, if the terminal allows it.`)
}

function stats(repl: Repl): void {
  const { engine, think } = repl.conversation
  const { name, backend, context } = engine.info
  repl.say(repl.last ? statsLine(repl.last) : "No answer yet.")
  repl.say(`${name} on ${backend}, context of ${context} tokens, thinking: ${think}`)
}

/** The conversation in a terminal: lines in, answers out, Ctrl-C stops the answer and not the program. */
import { createInterface, type Interface } from "node:readline"
import type { EngineInfo } from "../generate/engine.ts"
import type { GenerateEnd } from "../generate/types.ts"
import type { Conversation } from "./conversation.ts"
import { History } from "./history.ts"
import type { Io } from "./io.ts"
import { AnswerPrinter, statsLine } from "./render.ts"
import { runSlash } from "./slash.ts"

/** `bun run` passes an interrupt on a second time; two within this are one. */
const INTERRUPT_ECHO_MS = 100

export interface ReplState {
  conversation: Conversation
  info: EngineInfo
  io: Io
  lastEnd: GenerateEnd | undefined
  /** Asks the question and prints the answer. */
  ask(text: string): Promise<void>
  quit: boolean
}

/** Talks until the user leaves. Returns the exit code. */
export async function repl(conversation: Conversation, info: EngineInfo, io: Io): Promise<number> {
  const history = new History()
  const rl = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: io.colors.bold("you > "),
    history: history.entries.toReversed().map((e) => e.replaceAll("\n", " ")),
    historySize: 1000,
  })
  let abort: (() => void) | undefined
  const state: ReplState = {
    conversation,
    info,
    io,
    lastEnd: undefined,
    quit: false,
    async ask(text) {
      const running = conversation.ask(text)
      abort = running.abort
      const printer = new AnswerPrinter(io)
      for await (const event of running.events) printer.show(event)
      abort = undefined
      const answer = printer.finish()
      state.lastEnd = answer.end
      conversation.add(answer.text, answer.thinking)
      if (answer.end?.error) io.err(`ds4: ${answer.end.error.message}\n`)
      else if (answer.end) io.out(`${io.colors.dim(statsLine(answer.end))}\n`)
    },
  }
  onInterrupt(rl, io, () => abort)
  io.out(
    `${info.name} on ${info.backend}, ${info.context} tokens of context. /help lists commands.\n`,
  )
  rl.prompt()
  for await (const message of messages(rl)) {
    if (message.trim() !== "") {
      if (!history.add(message)) io.err("The history cannot be kept: ~/.ds4 is not writable\n")
      await answer(state, message)
    }
    if (state.quit) break
    rl.prompt()
  }
  rl.close()
  return 0
}

async function answer(state: ReplState, message: string): Promise<void> {
  try {
    if (message.startsWith("/")) await runSlash(state, message)
    else await state.ask(message)
  } catch (error) {
    state.io.err(`ds4: ${(error as Error).message}\n`)
  }
}

/** Ctrl-C: stops the answer, else clears the line; twice at an empty prompt leaves. */
function onInterrupt(rl: Interface, io: Io, running: () => (() => void) | undefined): void {
  let last = 0
  let asked = false
  rl.on("line", () => {
    asked = false
  })
  const interrupt = () => {
    const now = performance.now()
    if (now - last < INTERRUPT_ECHO_MS) return
    last = now
    const stop = running()
    if (stop) return stop()
    if (asked) return rl.close()
    asked = rl.line === ""
    io.out(asked ? "\n(Ctrl-C again, Ctrl-D or /quit to leave)\n" : "\n")
    rl.write(null, { ctrl: true, name: "u" })
    rl.prompt()
  }
  rl.on("SIGINT", interrupt)
  process.on("SIGINT", interrupt)
}

/** Whole messages: lines, with a trailing backslash or between lines of `"""` joined. */
async function* messages(rl: Interface): AsyncGenerator<string> {
  let lines: string[] = []
  let quoted = false
  for await (const line of rl) {
    if (line.trim() === '"""' || (!quoted && line.startsWith('"""'))) {
      if (!quoted && line.length > 3) lines.push(line.slice(3))
      quoted = !quoted
    } else if (quoted && line.endsWith('"""')) {
      lines.push(line.slice(0, -3))
      quoted = false
    } else lines.push(!quoted && line.endsWith("\\") ? line.slice(0, -1) : line)
    if (quoted || line.endsWith("\\")) {
      process.stdout.write("... ")
      continue
    }
    yield lines.join("\n")
    lines = []
  }
}

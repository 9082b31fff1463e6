/** The conversation in a terminal: messages in, answers out; Ctrl-C stops the answer and not the
 *  program. */
import type { Message } from "../chat/index.ts"
import type { GenerateEnd } from "../generate/types.ts"
import { type Answer, AnswerPrinter, cutNotice, statsLine } from "./answer.ts"
import type { Conversation } from "./conversation.ts"
import { waitNotice } from "./estimate.ts"
import { History } from "./history.ts"
import type { Io } from "./io.ts"
import { completeSlash, runSlash } from "./slash.ts"
import { readMessage, Terminal } from "./terminal.ts"

/** `bun run` passes an interrupt on a second time; two within this are one. */
const INTERRUPT_ECHO_MS = 100
/** A prompt of fewer new tokens says little about speed. */
const MEASURED_TOKENS = 64

/** Talks until the user leaves. `rate` is how many prompt tokens a second can be expected. Returns the
 *  exit code. */
export async function repl(conversation: Conversation, rate: number, io: Io): Promise<number> {
  const terminal = new Terminal(io)
  const off = onSignals(terminal, conversation)
  try {
    await new Repl(conversation, rate, io, terminal).run()
    return 0
  } finally {
    off()
    terminal.close()
  }
}

/** Signals from outside; Ctrl-C is a key here. */
function onSignals(terminal: Terminal, { engine }: Conversation): () => void {
  let last = 0
  const interrupt = () => {
    const now = performance.now()
    if (now - last > INTERRUPT_ECHO_MS) terminal.interrupt()
    last = now
  }
  const leave = () => void engine.close().finally(() => process.exit(143))
  process.on("SIGINT", interrupt).on("SIGTERM", leave).on("SIGHUP", leave)
  return () => void process.off("SIGINT", interrupt).off("SIGTERM", leave).off("SIGHUP", leave)
}

/** What slash commands work on. */
export class Repl {
  readonly conversation: Conversation
  readonly io: Io
  /** The end of the last answer. */
  last: GenerateEnd | undefined
  isOver = false
  readonly #terminal: Terminal
  readonly #history = new History()
  /** Prompt tokens a second: expected, then measured. */
  #rate: number
  /** Weights that may have to come from the disk. */
  #coldBytes: number
  /** A question whose answer came to nothing. */
  #unanswered: string | undefined

  constructor(conversation: Conversation, rate: number, io: Io, terminal: Terminal) {
    this.conversation = conversation
    this.io = io
    this.#terminal = terminal
    this.#rate = rate
    this.#coldBytes = conversation.engine.info.modelBytes
  }

  async run(): Promise<void> {
    const { name, backend, context } = this.conversation.engine.info
    this.say(`${name} on ${backend}, context of ${context} tokens. /help lists commands.`)
    let wasInterrupt = false
    while (!this.isOver) {
      const typed = await readMessage(this.#terminal, {
        prompt: "you > ",
        history: this.#history.entries,
        complete: completeSlash,
      })
      if (typed.type === "quit" || (typed.type === "interrupt" && wasInterrupt)) return
      wasInterrupt = typed.type === "interrupt"
      if (wasInterrupt) this.say("Ctrl-C again, Ctrl-D or /quit leaves.")
      if (typed.type === "message" && typed.text.trim() !== "") await this.#take(typed.text)
    }
  }

  /** A dimmed line about the conversation, not of it. */
  say(line: string): void {
    this.io.out(`${this.io.colors.dim(line)}\n`)
  }

  async #take(text: string): Promise<void> {
    const problem = this.#history.add(text)
    if (problem) this.say(problem)
    try {
      if (text.startsWith("/")) await runSlash(this, text)
      else await this.ask(text)
    } catch (error) {
      this.io.err(`${this.io.errColors.red("ds4:")} ${(error as Error).message}\n`)
    }
  }

  /** Asks a question and prints the answer. @throws ContextError when it does not fit. */
  async ask(question: string): Promise<void> {
    const { engine } = this.conversation
    const request = this.conversation.request(question)
    const { promptTokens = 0, completionTokens = 0 } = this.last?.usage ?? {}
    const fresh = Math.max(0, request.ids.length - promptTokens - completionTokens)
    const notice = waitNotice(fresh, this.#rate, this.#coldBytes)
    if (notice) this.say(notice)
    const running = engine.generate(request)
    this.#terminal.onInterrupt = () => running.abort()
    const printer = new AnswerPrinter(this.io)
    try {
      for await (const event of running.events) printer.show(event)
    } finally {
      this.#terminal.onInterrupt = undefined
    }
    this.#keep(question, printer.answer)
  }

  #keep(question: string, answer: Answer): void {
    const end = answer.end!
    this.last = end
    this.#coldBytes = 0
    const read = end.usage.promptTokens - end.usage.cachedTokens
    if (read >= MEASURED_TOKENS && end.timings.prefillMs > 0)
      this.#rate = (1000 * read) / end.timings.prefillMs
    if (end.error) {
      this.#unanswered = question
      throw new Error(end.error.message)
    }
    const isEmpty = answer.text === "" && answer.calls.length === 0
    this.#unanswered = isEmpty ? question : undefined
    if (!isEmpty) this.conversation.add(question, messageOf(answer))
    const cut = cutNotice(end, this.conversation.engine.info.context)
    this.say([cut, isEmpty && "/retry asks again.", statsLine(end)].filter(Boolean).join(" "))
    this.io.out("\n")
  }

  /** The last question, taken out of the conversation. */
  takeQuestion(): string | undefined {
    const question = this.#unanswered ?? this.conversation.takeBack()
    this.#unanswered = undefined
    return question
  }
}

function messageOf({ text, reasoning, calls }: Answer): Message {
  return {
    role: "assistant",
    content: text,
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  }
}

/** `ds4 chat`: one question with -p or from stdin, else a conversation. The main thread renders and
 *  prints; the engine's Worker computes. */
import { availableParallelism } from "node:os"
import { revive } from "../engine/client.ts"
import { AnswerPrinter, cutNotice, jsonUsage, statsLine } from "./answer.ts"
import { Conversation, type ThinkMode } from "./conversation.ts"
import { ChatEngine } from "./engine.ts"
import { expectedRate, waitNotice } from "./estimate.ts"
import type { Io } from "./io.ts"
import { diskOptions, engineOptions, findModel } from "./models.ts"
import { type Args, THINK_MAX_CONTEXT } from "./options.ts"
import { promptOf } from "./prompt.ts"
import { samplingOf } from "./sampling.ts"

/** Exit code of a program that Ctrl-C ended. */
const INTERRUPTED = 130

export async function run(args: Args, io: Io): Promise<number> {
  const prompt = await promptOf(args, io)
  const { path } = findModel(args, io)
  // One question gains nothing from the disk: what it computes is rarely asked for again.
  const disk = prompt === undefined ? diskOptions(args, io) : undefined
  const warn = (text: string) => io.err(`ds4: ${text}\n`)
  const engine = await ChatEngine.open(path, { ...engineOptions(args), ...disk }, warn)
  const conversation = new Conversation(engine, {
    think: thinkMode(args, io, engine.info.context),
    system: args.text("system"),
    encoder: args.text("efforts") === "0731" ? "v4-0731" : "v4",
    maxTokens: args.number("tokens"),
    sampling: samplingOf(args),
    stop: args.all("stop"),
  })
  try {
    if (prompt !== undefined) return await askOnce(conversation, prompt, args, io)
    const { repl } = await import("./repl.ts")
    return await repl(conversation, rateOf(args, engine), io)
  } finally {
    await engine.close()
  }
}

function thinkMode(args: Args, io: Io, context: number): ThinkMode {
  const wanted = (args.text("think") ?? "on") as ThinkMode
  if (wanted !== "max" || context >= THINK_MAX_CONTEXT) return wanted
  io.err(
    `Thinking as hard as possible needs a context of ${THINK_MAX_CONTEXT} tokens, this one has ` +
      `${context} (--ctx): thinking as usual\n`,
  )
  return "on"
}

/** Prompt tokens a second, before any were measured. */
function rateOf(args: Args, { info }: ChatEngine): number {
  const threads = args.number("threads") ?? availableParallelism()
  return expectedRate(info.config, threads, args.text("backend"))
}

async function askOnce(c: Conversation, prompt: string, args: Args, io: Io): Promise<number> {
  const request = c.request(prompt)
  const { modelBytes, context } = c.engine.info
  const notice = waitNotice(request.ids.length, rateOf(args, c.engine), modelBytes)
  if (notice) io.err(`${notice}\n`)
  const running = c.engine.generate(request)
  let interrupted = false
  process.on("SIGINT", () => {
    interrupted = true
    running.abort()
  })
  const isJson = args.flag("json")
  const printer = new AnswerPrinter(io, isJson)
  for await (const event of running.events) printer.show(event)
  const end = printer.answer.end!
  if (end.error) throw revive(end.error)
  if (isJson) io.out(`${JSON.stringify(jsonAnswer(printer, c))}\n`)
  if (io.errTTY && !isJson) {
    const cut = cutNotice(end, context)
    if (!io.outTTY) io.err("\n")
    io.err(`${io.errColors.dim(cut ? `${cut} ${statsLine(end)}` : statsLine(end))}\n`)
  }
  return interrupted ? INTERRUPTED : 0
}

/** The answer for programs. Times are in milliseconds, from the request on. */
function jsonAnswer({ answer }: AnswerPrinter, { engine }: Conversation) {
  const { reason, ids, usage, timings } = answer.end!
  const rate = timings.decodeMs > 0 ? (1000 * (ids.length - 1)) / timings.decodeMs : null
  return {
    text: answer.text,
    reasoning: answer.reasoning,
    tool_calls: answer.calls,
    finish_reason: reason,
    usage: jsonUsage(usage),
    timings: {
      prefill_ms: round(timings.prefillMs),
      first_token_ms: round(timings.firstTokenMs),
      decode_ms: round(timings.decodeMs),
      tokens_per_second: rate === null ? null : round(rate),
    },
    model: engine.info.name,
    backend: engine.info.backend,
    context: engine.info.context,
  }
}

const round = (n: number) => Math.round(100 * n) / 100

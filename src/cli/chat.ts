/** `ds4 chat`: one question with -p or from stdin, else a conversation. The main thread renders and
 *  prints; the engine's Worker computes. */
import { fstatSync, readFileSync } from "node:fs"
import { EngineClient } from "../engine/client.ts"
import { CliError } from "../errors.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import { loadNative } from "../ops/open.ts"
import { openModelFile } from "../session/open.ts"
import { spawnEngine } from "../spawn.ts"
import { Conversation, type ThinkMode } from "./conversation.ts"
import type { Io } from "./io.ts"
import { engineOptions, findModel } from "./models.ts"
import type { Args } from "./options.ts"
import { samplingOf } from "./sampling.ts"
import { AnswerPrinter, statsLine } from "./render.ts"

/** Thinking at full effort needs room for it. */
const THINK_MAX_CONTEXT = 393216

export async function run(args: Args, io: Io): Promise<number> {
  const prompt = await promptOf(args, io)
  const { path } = findModel(args, io)
  const opening = EngineClient.open(spawnEngine(), { path }, engineOptions(args))
  opening.catch(() => {}) // awaited below
  await loadNative()
  const file = openModelFile({ path })
  const tokenizer = tokenizerOf(file)
  file.source.close()
  const client = await opening
  const mode = thinkMode(args, io, client.info.context)
  const conversation = new Conversation(client, tokenizer, {
    mode,
    system: args.text("system"),
    encoder: args.text("efforts") === "0731" ? "v4-0731" : "v4",
    maxTokens: args.number("tokens"),
    sampling: samplingOf(args),
    stop: args.text("stop"),
  })
  try {
    if (prompt !== undefined) return await askOnce(conversation, prompt, args, io)
    const { repl } = await import("./repl.ts")
    return await repl(conversation, client.info, io)
  } finally {
    client.close()
  }
}

/** The question to ask, or undefined for a conversation. With -p an inherited stdin is left alone
 *  unless it is a file: an open pipe would hang the program. */
async function promptOf(args: Args, io: Io): Promise<string | undefined> {
  const given = args.text("prompt")
  const file = args.text("promptFile")
  const typed = file !== undefined ? readPrompt(io.resolvePath(file)) : given
  if (typed === "-") return nonEmpty(await Bun.stdin.text())
  if (typed !== undefined) {
    const extra = fstatSync(0, { throwIfNoEntry: false } as never)?.isFile()
      ? await Bun.stdin.text()
      : ""
    return nonEmpty(extra.trim() === "" ? typed : `${typed}\n\n${extra}`)
  }
  if (args.positional.length > 0) return nonEmpty(args.positional.join(" "))
  return process.stdin.isTTY ? undefined : nonEmpty(await Bun.stdin.text())
}

function readPrompt(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    throw new CliError(`Cannot read ${path}: ${(error as Error).message}`)
  }
}

function nonEmpty(text: string): string {
  if (text.trim() === "")
    throw new CliError(
      "There is no question: give one with -p, on stdin, or start ds4 chat in a terminal",
    )
  return text
}

function thinkMode(args: Args, io: Io, context: number): ThinkMode {
  if (args.flag("noThink")) return "none"
  if (!args.flag("thinkMax")) return "think"
  if (context >= THINK_MAX_CONTEXT) return "max"
  io.err(
    `--think-max needs a context of ${THINK_MAX_CONTEXT} tokens, here are ${context}: thinking as usual\n`,
  )
  return "think"
}

async function askOnce(
  conversation: Conversation,
  prompt: string,
  args: Args,
  io: Io,
): Promise<number> {
  const answer = conversation.ask(prompt)
  let interrupted = false
  const onSignal = () => {
    interrupted = true
    answer.abort()
  }
  process.on("SIGINT", onSignal)
  const printer = new AnswerPrinter(io, { silent: args.flag("json") })
  for await (const event of answer.events) printer.show(event)
  process.off("SIGINT", onSignal)
  const { end, text, thinking, calls } = printer.finish()
  if (end?.error) throw new CliError(end.error.message)
  if (args.flag("json"))
    io.out(
      `${JSON.stringify({
        text,
        reasoning: thinking,
        tool_calls: calls,
        finish_reason: end?.reason,
        usage: end?.usage,
        timings: end?.timings,
      })}\n`,
    )
  else if (io.errTTY && end) io.err(`${statsLine(end)}\n`)
  return interrupted ? 130 : 0
}

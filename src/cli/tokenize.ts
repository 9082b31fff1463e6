/** `ds4 tokenize`: the tokens of a text (argument or stdin), or of rendered conversations. */
import { encodePrompt, parseConversations, render, spansToText } from "../chat/index.ts"
import { CliError } from "../errors.ts"
import { readModelText } from "./engine.ts"
import type { Io } from "./io.ts"
import { findModel } from "./models.ts"
import type { Args } from "./options.ts"
import { readText } from "./prompt.ts"

export async function run(args: Args, io: Io): Promise<number> {
  const chat = args.text("chat")
  if (chat !== undefined && args.positional.length > 0)
    throw new CliError("ds4 tokenize takes a text or --chat FILE, not both")
  const text = chat === undefined ? await textOf(args, io) : await conversationText(chat, io)
  const { tokenizer } = await readModelText(findModel(args, io).path)
  const isJson = args.flag("json")
  if (chat === undefined) {
    const ids = args.flag("special") ? tokenizer.encodeSpecial(text) : tokenizer.encode(text)
    const tokens = ids.map((id) => tokenizer.decode([id]))
    if (isJson) io.out(`${JSON.stringify({ ids, tokens })}\n`)
    else io.out(ids.map((id, i) => `${id}\t${JSON.stringify(tokens[i])}\n`).join(""))
    if (io.errTTY && !isJson) io.err(`${ids.length} tokens\n`)
    return 0
  }
  const encoder = args.text("efforts") === "0731" ? "v4-0731" : "v4"
  const prompts = parseConversations(text).map((conversation) => {
    const spans = render(conversation, { encoder })
    return { ids: encodePrompt(tokenizer, spans), text: spansToText(spans) }
  })
  for (const prompt of prompts) {
    io.out(isJson ? `${JSON.stringify(prompt)}\n` : `${prompt.text}\n`)
    if (!isJson) io.err(`${prompt.ids.length} tokens\n`)
  }
  return 0
}

const conversationText = (name: string, io: Io): string | Promise<string> =>
  name === "-" ? io.readInput() : readText(name, io)

async function textOf({ positional }: Args, io: Io): Promise<string> {
  if (positional.length > 0 && positional[0] !== "-") return positional.join(" ")
  if (io.input === "terminal") io.err("Type the text; Ctrl-D on a line of its own ends it.\n")
  return io.readInput()
}

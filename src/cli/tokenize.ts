/** `ds4 tokenize`: token ids of a text (argument or stdin), or of rendered conversations. */
import { readFileSync } from "node:fs"
import { encodePrompt, parseConversations, render, spansToText } from "../chat/index.ts"
import { CliError } from "../errors.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import { loadNative } from "../ops/open.ts"
import { openModelFile } from "../session/open.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import type { Io } from "./io.ts"
import { findModel } from "./models.ts"
import type { Args } from "./options.ts"

export async function run(args: Args, io: Io): Promise<number> {
  const { path } = findModel(args, io)
  await loadNative()
  const file = openModelFile({ path })
  const tokenizer = tokenizerOf(file)
  file.source.close()
  const chat = args.text("chat")
  if (chat !== undefined) return tokenizeChat(args, io, tokenizer, io.resolvePath(chat))
  const text = args.positional.length > 0 ? args.positional.join(" ") : await Bun.stdin.text()
  const ids = args.flag("special") ? tokenizer.encodeSpecial(text) : tokenizer.encode(text)
  const tokens = ids.map((id) => tokenizer.decode([id]))
  if (args.flag("json")) io.out(`${JSON.stringify({ ids, tokens })}\n`)
  else io.out(ids.map((id, i) => `${id}\t${JSON.stringify(tokens[i])}\n`).join(""))
  return 0
}

function tokenizeChat(args: Args, io: Io, tokenizer: Tokenizer, path: string): number {
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (error) {
    throw new CliError(`Cannot read ${path}: ${(error as Error).message}`)
  }
  const encoder = args.text("efforts") === "0731" ? "v4-0731" : "v4"
  for (const conversation of parseConversations(text)) {
    const spans = render(conversation, { encoder })
    const ids = encodePrompt(tokenizer, spans)
    if (args.flag("json")) io.out(`${JSON.stringify({ ids, text: spansToText(spans) })}\n`)
    else io.out(`${spansToText(spans)}\n${ids.length} tokens\n`)
  }
  return 0
}

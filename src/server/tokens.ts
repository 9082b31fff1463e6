/** POST /tokenize, /detokenize and /apply-template, as llama-server has them. */
import * as v from "valibot"
import { conversationOf, render, spansToText } from "../chat/index.ts"
import type { Body } from "./body.ts"
import { badRequest } from "./errors.ts"
import { objectOf, readFields, tokenIds } from "./fields.ts"
import type { Service } from "./generate.ts"

export const TOKENIZE = {
  content: v.string(),
  add_special: v.optional(v.boolean()),
  parse_special: v.optional(v.boolean()),
  with_pieces: v.optional(v.boolean()),
}
export const DETOKENIZE = { tokens: tokenIds }
export const TEMPLATE = {
  messages: v.array(objectOf({ role: v.string() })),
  tools: v.optional(v.array(objectOf({}))),
  thinking: v.optional(v.boolean()),
  effort: v.optional(v.string()),
  drop_thinking: v.optional(v.boolean()),
}

/** Text is text unless `parse_special` says that control tokens are meant (llama-server's default is the
 *  other way round). */
export async function tokenize({ tokenizer }: Service, body: Body): Promise<Response> {
  const { fields, headers } = readFields(TOKENIZE, body)
  const { content, add_special = false, parse_special = false, with_pieces = false } = fields
  const text = parse_special ? tokenizer.encodeSpecial(content) : tokenizer.encode(content)
  const bos = add_special && tokenizer.bosId !== undefined ? [tokenizer.bosId] : []
  const ids = [...bos, ...text]
  const tokens = with_pieces ? ids.map((id) => ({ id, piece: tokenizer.decode([id]) })) : ids
  return Response.json({ tokens }, { headers })
}

export async function detokenize({ tokenizer }: Service, body: Body): Promise<Response> {
  const { fields, headers } = readFields(DETOKENIZE, body)
  const wrong = fields.tokens.find((id) => id >= tokenizer.vocabSize)
  if (wrong !== undefined) throw badRequest(`There is no token ${wrong}`, "tokens")
  return Response.json({ content: tokenizer.decode(fields.tokens) }, { headers })
}

export async function applyTemplate(_: Service, body: Body): Promise<Response> {
  const { headers } = readFields(TEMPLATE, body)
  const spans = render(conversationOf(body.tree), { openAssistant: true })
  return Response.json({ prompt: spansToText(spans) }, { headers })
}

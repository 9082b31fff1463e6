/** Conversations on disk: chains of pages that end in a resume point, and how they begin in words. */
import { readFileSync } from "node:fs"
import { USER } from "../chat/index.ts"
import { scrub } from "../cli/scrub.ts"
import { tokenizerOf } from "../generate/vocabulary.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import { type ChainNode, chainsOf } from "../session/disk/evict.ts"
import type { Entry, KvFolder } from "../session/disk/folder.ts"
import { decodeObject } from "../session/disk/format.ts"
import { openModelFile } from "../session/open.ts"
import type { Tokenizer } from "../tokenizer/index.ts"

export interface Conversation {
  /** Key of its last page. */
  key: string
  model: string
  tokens: number
  /** Bytes that no other conversation needs, and their objects, last page first. */
  bytes: number
  entries: Entry[]
  usedAt: number
  /** Its first pages. */
  first: Entry[]
}

/** Pages in which the first words of the user are looked for. */
const FIRST_PAGES = 8
/** Characters of them that are shown. */
const WORDS = 60

/** Every chain that no other one goes on from. */
export function conversationsOf(entries: readonly Entry[]): Conversation[] {
  const { nodes } = chainsOf(entries)
  return nodes.filter((n) => n.children.length === 0).map(conversation)
}

function conversation(end: ChainNode): Conversation {
  const alone: Entry[] = []
  const pages: Entry[] = []
  let isShared = false
  let usedAt = 0
  for (let n: ChainNode | null = end; n; n = n.parent) {
    pages.push(n.page)
    isShared ||= n.children.length > 1
    if (isShared) continue
    alone.push(...(n.point ? [n.point] : []), n.page)
    usedAt = Math.max(usedAt, n.page.usedAt, n.point?.usedAt ?? 0)
  }
  return {
    key: end.key,
    model: end.model,
    tokens: end.depth * PAGE_TOKENS,
    bytes: alone.reduce((sum, e) => sum + e.bytes, 0),
    entries: alone,
    usedAt,
    first: pages.slice(-FIRST_PAGES).toReversed(),
  }
}

/** What the user said first in a conversation; empty where the model's file is not there any more. */
export function openTexts(folder: KvFolder): (c: Conversation) => string {
  const tokenizers = new Map<string, Tokenizer | null>()
  return (c) => {
    const tokenizer = tokenizers.getOrInsertComputed(c.model, () => readTokenizer(folder, c.model))
    return tokenizer ? firstWords(c, tokenizer) : ""
  }
}

function readTokenizer(folder: KvFolder, model: string): Tokenizer | null {
  const { file: path, name } = folder.about(model)
  if (typeof path !== "string") return null
  try {
    const file = openModelFile({ path })
    try {
      const isSame = (file.metadata.maybeStr("general.name") ?? "unnamed") === name
      return isSame ? tokenizerOf(file) : null
    } finally {
      file.source.close()
    }
  } catch {
    return null // moved, or another file now
  }
}

function firstWords({ first }: Conversation, tokenizer: Tokenizer): string {
  const ids: number[] = []
  const user = tokenizer.id(USER)
  for (const { path } of first) {
    ids.push(...tokensIn(path))
    const at = ids.indexOf(user ?? -1)
    if (at >= 0 && ids.length - at > WORDS) break
  }
  const from = ids.indexOf(user ?? -1) + 1
  const text = tokenizer.decode(ids.slice(from, from + WORDS))
  const line = scrub(text).replace(/\s+/g, " ").trim()
  const end = line.search(/<｜/) // the turn's end
  return [...(end > 0 ? line.slice(0, end) : line)].slice(0, WORDS).join("")
}

function tokensIn(path: string): Iterable<number> {
  try {
    const object = decodeObject(readFileSync(path))
    return typeof object === "string" ? [] : object.tokens
  } catch {
    return []
  }
}

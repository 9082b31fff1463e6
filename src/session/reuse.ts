/** Where the reused part of a prompt came from, and why it was not more. */
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import type { PageTree } from "./pages.ts"
import type { Sequence } from "./sequence.ts"

export interface Reuse {
  /** Tokens of the prompt that were in memory. */
  memory: number
  /** Tokens that came from disk. */
  disk: number
  /** What kept more of what is known from being reused; absent where the prompt only goes on. */
  miss?: string
}

/** Looks at what is known of `ids` before a sequence takes it up; the function returned is to be called
 *  with the tokens reused, once it has. */
export function watchReuse(
  tree: PageTree,
  seq: Sequence,
  ids: readonly number[],
): (cached: number) => Reuse {
  const inMemory = seq.reach(ids)
  const live = { length: seq.length, common: sameTokens(seq.tokens, ids, 0) }
  return (cached) => {
    const memory = Math.min(inMemory, cached)
    const miss = missOf(tree, ids, cached, live)
    return { memory, disk: cached - memory, ...(miss !== undefined && { miss }) }
  }
}

function missOf(
  tree: PageTree,
  ids: readonly number[],
  cached: number,
  live: { length: number; common: number },
): string | undefined {
  if (tree.cachedPages === 0 && live.length === 0) return "no pages"
  const path = tree.path(ids, ids.length)
  const from = path.length * PAGE_TOKENS
  const next = [...(path.at(-1) ?? tree.root).children.values()].flat()
  const inTree = from + Math.max(0, ...next.map((node) => sameTokens(node.tokens, ids, from)))
  const known = Math.max(inTree, live.common)
  const goesOn = known === inTree ? next.length > 0 : live.length > known
  const said: string[] = []
  if (known < ids.length && goesOn) said.push(`differs at token ${known} of ${ids.length}`)
  if (Math.min(known, ids.length - 1) - cached >= PAGE_TOKENS)
    said.push(`no resume point between tokens ${cached} and ${known}`)
  return said.length > 0 ? said.join(", ") : undefined
}

/** How many of `tokens` equal ids[from] …. */
function sameTokens(tokens: ArrayLike<number>, ids: readonly number[], from: number): number {
  const n = Math.min(tokens.length, ids.length - from)
  let i = 0
  while (i < n && tokens[i] === ids[from + i]) i++
  return i
}

/** What to remove from the KV cache on disk when it is full. Resume points are ranked; a page goes when
 *  no point below it needs it any more, so that a page never loses the pages before it. */
import { PAGE_TOKENS } from "../../ops/kv-ops.ts"
import type { Entry } from "./folder.ts"
import { rootKey } from "./format.ts"

/** A page of a chain on disk. */
export interface ChainNode {
  key: string
  model: string
  parent: ChainNode | null
  page: Entry
  point: Entry | null
  children: ChainNode[]
  /** Pages from the root. */
  depth: number
}

export interface Chains {
  /** Every page that can be reached from its model's root, parents first. */
  nodes: ChainNode[]
  /** Objects that nobody can find: a page before them is missing. */
  orphans: Entry[]
}

/** Links objects to chains. */
export function chainsOf(entries: readonly Entry[]): Chains {
  const id = (model: string, key: string) => `${model} ${key}`
  const points = new Map<string, Entry>()
  const below = new Map<string, Entry[]>()
  for (const e of entries)
    if (e.kind === "point") points.set(id(e.model, e.key), e)
    else below.getOrInsertComputed(id(e.model, e.parent), () => []).push(e)
  const nodes: ChainNode[] = []
  const grow = (parent: ChainNode | null, model: string, key: string) => {
    for (const page of below.get(id(model, key)) ?? []) {
      const point = points.get(id(model, page.key)) ?? null
      const depth = (parent?.depth ?? 0) + 1
      const node = { key: page.key, model, parent, page, point, children: [], depth }
      parent?.children.push(node)
      nodes.push(node)
    }
  }
  for (const model of new Set(entries.map((e) => e.model))) grow(null, model, rootKey(model))
  for (let i = 0; i < nodes.length; i++) grow(nodes[i]!, nodes[i]!.model, nodes[i]!.key)
  const found = new Set<Entry>()
  for (const { page, point } of nodes) {
    found.add(page)
    if (point) found.add(point)
  }
  return { nodes, orphans: entries.filter((e) => !found.has(e)) }
}

/** A use counts half after this time. */
const HALF_LIFE_MS = 24 * 3_600_000
/** Pages without a point below them may be on their way to one for so long. */
const YOUNG_MS = 600_000

/** Whether an object that nobody can use is of no use to come either. */
export const isSettled = (e: Entry, now = Date.now()): boolean => now - e.usedAt >= YOUNG_MS

/** Objects to remove, in order, so that at most `target` bytes of `entries` are left: first what cannot
 *  be found or resumed, then resume points by the tokens that they save for their bytes, halved for every
 *  day without use. The pages that only a removed point made useful go with it. */
export function chooseVictims(
  entries: readonly Entry[],
  target: number,
  now = Date.now(),
): Entry[] {
  const choice = new Choice(entries, target, now)
  choice.takeUseless((e) => isSettled(e, now))
  while (choice.isOver && choice.takeRound());
  choice.takeUseless(() => true)
  return choice.victims
}

class Choice {
  readonly victims: Entry[] = []
  readonly #orphans: Entry[]
  readonly #nodes: ChainNode[]
  readonly #gone = new Set<Entry>()
  readonly #target: number
  readonly #now: number
  #bytes: number

  constructor(entries: readonly Entry[], target: number, now: number) {
    const { nodes, orphans } = chainsOf(entries)
    this.#nodes = nodes
    this.#orphans = orphans
    this.#target = target
    this.#now = now
    this.#bytes = entries.reduce((sum, e) => sum + e.bytes, 0)
  }

  get isOver(): boolean {
    return this.#bytes > this.#target
  }

  take(entry: Entry): void {
    this.victims.push(entry)
    this.#gone.add(entry)
    this.#bytes -= entry.bytes
  }

  /** Orphans, and pages with neither a point nor a page below them, from the ends of the chains on. */
  takeUseless(may: (e: Entry) => boolean): void {
    for (const orphan of this.#orphans)
      if (this.isOver && !this.#gone.has(orphan) && may(orphan)) this.take(orphan)
    for (let i = this.#nodes.length - 1; i >= 0 && this.isOver; i--) {
      const node = this.#nodes[i]!
      if (this.#isUseless(node) && may(node.page)) this.take(node.page)
    }
  }

  /** Removes the least valuable points, except those that became more valuable by it: they are looked
   *  at again in the next round. Returns whether there was any. */
  takeRound(): boolean {
    const above = new Map<ChainNode, ChainNode | null>()
    const has = (n: ChainNode) => n.point !== null && !this.#gone.has(n.point)
    for (const n of this.#nodes) {
      const p = n.parent
      above.set(n, p === null ? null : has(p) ? p : above.get(p)!)
    }
    const ranked = this.#nodes
      .filter(has)
      .map((node) => ({ node, value: this.#value(node, above.get(node) ?? null) }))
      .toSorted((a, b) => a.value - b.value)
    const removed = new Set<ChainNode | null>()
    for (const { node } of ranked) {
      if (!this.isOver) break
      if (removed.has(above.get(node) ?? null)) continue
      removed.add(node)
      this.take(node.point!)
      for (let n: ChainNode | null = node; n && this.#isUseless(n); n = n.parent) this.take(n.page)
    }
    return removed.size > 0
  }

  /** Tokens that are computed again without this point, per byte that goes with it. */
  #value(node: ChainNode, above: ChainNode | null): number {
    let bytes = node.point!.bytes
    if (this.#childrenOf(node) === 0)
      for (let n: ChainNode | null = node; n && n !== above; n = n.parent) {
        bytes += n.page.bytes
        if (n.parent && this.#childrenOf(n.parent) > 1) break
      }
    const tokens = (node.depth - (above?.depth ?? 0)) * PAGE_TOKENS
    const age = Math.max(0, this.#now - node.point!.usedAt)
    return (tokens / bytes) * 2 ** (-age / HALF_LIFE_MS)
  }

  #childrenOf(node: ChainNode): number {
    return node.children.filter((n) => !this.#gone.has(n.page)).length
  }

  #isUseless(node: ChainNode): boolean {
    if (this.#gone.has(node.page)) return false
    return (!node.point || this.#gone.has(node.point)) && this.#childrenOf(node) === 0
  }
}

/** One timeline of token ids on the KV cache. Knows which pages hold it, how far back it can go, and
 *  where it can resume; knows nothing of text. Its rows are computed by Runtime.step. */
import { assert } from "../errors.ts"
import { REWIND_SLACK } from "../model/kv-cache.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import type { PageNode } from "./pages.ts"
import type { ResumePoint } from "./resume.ts"
import type { Runtime } from "./runtime.ts"

/** Resume points are kept for good at every so many pages. */
export const RESUME_EVERY_PAGES = 16
/** … and at the last pages of a live sequence. */
export const RESUME_LIVE_PAGES = 2

/** A full page whose logits nobody has looked at yet. */
interface PendingPage {
  page: number
  resume: ResumePoint | null
}

export class Sequence {
  /** Its line of the rings and of the page table. */
  readonly slot: number
  /** Ids evaluated so far; position i holds tokens[i]. */
  readonly tokens: number[] = []
  readonly #runtime: Runtime
  readonly #nodes: PageNode[] = []
  readonly #pending: PendingPage[] = []
  /** The page being filled. */
  #tail: number | null = null
  /** Pages taken by reserve beyond the one being filled, in order. */
  readonly #extra: number[] = []
  /** The rings hold nothing older than this minus their slots. */
  #high = 0
  /** Positions (turn starts and the like) whose page boundary keeps its resume point. */
  readonly #marks = new Set<number>()

  constructor(runtime: Runtime, slot: number) {
    this.#runtime = runtime
    this.slot = slot
  }

  get length(): number {
    return this.tokens.length
  }

  /** The physical pages that it holds, shared or not. */
  get pages(): number[] {
    const own = this.#tail === null ? this.#extra : [this.#tail, ...this.#extra]
    return [...this.#nodes.map((n) => n.page), ...this.#pending.map((p) => p.page), ...own]
  }

  get pageCount(): number {
    const own = this.#extra.length + (this.#tail === null ? 0 : 1)
    return this.#nodes.length + this.#pending.length + own
  }

  /** Whether going back to n tokens costs nothing. */
  canRewind(n: number): boolean {
    return n <= this.length && n >= this.#high - REWIND_SLACK
  }

  /** Keeps the resume point at the page boundary at or before `pos`: a turn's start, the end of the
   *  system text. */
  mark(pos: number): void {
    const boundary = pos - (pos % PAGE_TOKENS)
    if (boundary > 0) this.#marks.add(boundary)
  }

  /** Tokens of `ids` that `sync` would find. */
  reach(ids: readonly number[], atMost = ids.length - 1): number {
    const { live, resumable } = this.#reusable(ids, atMost)
    return Math.max(live, resumable.length * PAGE_TOKENS)
  }

  /** Makes the sequence a prefix of `ids`, as long as can be had without computing, but at most
   *  `atMost` tokens: from what is live, else from the tree. Returns its length. */
  sync(ids: readonly number[], atMost = ids.length - 1): number {
    const { live, resumable } = this.#reusable(ids, atMost)
    if (live >= resumable.length * PAGE_TOKENS && this.canRewind(live)) this.rewind(live)
    else this.#restore(ids, resumable)
    return this.length
  }

  /** What can be had of `ids`: tokens that are live (0 if one cannot go back to them), and the pages in
   *  the tree up to the last with a resume point. */
  #reusable(ids: readonly number[], atMost: number) {
    const common = Math.min(commonPrefix(this.tokens, ids), Math.max(atMost, 0))
    const path = this.#runtime.tree.path(ids, atMost)
    const resumable = path.slice(0, path.findLastIndex((node) => node.resume !== null) + 1)
    return { live: this.canRewind(common) ? common : 0, resumable }
  }

  /** Goes back to n tokens. @throws AssertionError unless canRewind(n). */
  rewind(n: number): void {
    assert(this.canRewind(n), `a sequence of ${this.length} tokens cannot go back to ${n}`)
    if (n === this.length) return
    const full = Math.floor(n / PAGE_TOKENS)
    const keepsPart = n % PAGE_TOKENS !== 0
    let tail: number | null = null
    if (keepsPart) tail = this.#takePartial(full)
    while (this.#nodes.length > full) this.#runtime.tree.unuse(this.#nodes.pop()!)
    while (this.#nodes.length + this.#pending.length > full)
      this.#runtime.tree.release(this.#pending.pop()!.page)
    if (this.#tail !== null && this.#tail !== tail) this.#runtime.tree.release(this.#tail)
    this.#tail = tail
    if (tail !== null) this.#runtime.setPage(this.slot, full, tail)
    this.tokens.length = n
  }

  /** Takes pages for nRows more tokens. @throws ContextError when there are none, or no room. */
  reserve(nRows: number): void {
    this.#runtime.checkRoom(this.length + nRows)
    const last = Math.floor((this.length + nRows - 1) / PAGE_TOKENS)
    const first = this.#nodes.length + this.#pending.length
    if (this.#tail === null && last >= first) this.#tail = this.#newPage(first)
    for (let p = first + 1 + this.#extra.length; p <= last; p++) this.#extra.push(this.#newPage(p))
  }

  /** Says that rows up to length + nRows are about to be written: older ring slots are lost. */
  begin(nRows: number): void {
    this.#high = Math.max(this.#high, this.length + nRows)
  }

  /** Takes up the tokens of a finished step on the way to `end`. Full pages wait for `verify`. */
  advance(ids: readonly number[], end: number): void {
    for (const id of ids) {
      this.tokens.push(id)
      if (this.length % PAGE_TOKENS !== 0) continue
      this.#pending.push({ page: this.#tail!, resume: null })
      this.#tail = this.#extra.shift() ?? null
    }
    const last = this.#pending.at(-1)
    if (last && this.length % PAGE_TOKENS === 0 && this.#keepsResume(this.length, end))
      last.resume = this.#runtime.saveResume(this.slot, this.length)
  }

  /** Shares the full pages: their step's logits were finite. */
  verify(): void {
    while (this.#pending.length > 0) {
      const { page, resume } = this.#pending.shift()!
      const index = this.#nodes.length
      const parent = this.#nodes.at(-1) ?? this.#runtime.tree.root
      const from = index * PAGE_TOKENS
      const node = this.#runtime.tree.publish(parent, this.tokens, from, page, resume)
      if (node.page !== page) this.#runtime.setPage(this.slot, index, node.page)
      this.#nodes.push(node)
      if (this.#isMark(node.depth * PAGE_TOKENS)) this.#runtime.disk?.writer.keep(node)
      this.#dropOldResume()
    }
  }

  /** Wants on disk what is needed to go on from here. */
  settle(): void {
    const last = this.#nodes.findLast((node) => node.resume !== null)
    if (last) this.#runtime.disk?.writer.keep(last)
  }

  /** Where a step that starts at `from` on its way to `end` must stop so that a resume point can be
   *  taken there. */
  nextCut(from: number, end: number): number {
    for (let b = from - (from % PAGE_TOKENS) + PAGE_TOKENS; b < end; b += PAGE_TOKENS)
      if (this.#keepsResume(b, end)) return b
    return end
  }

  /** Gives up everything; the shared pages stay in the tree. */
  reset(): void {
    for (const node of this.#nodes) this.#runtime.tree.unuse(node)
    for (const { page } of this.#pending) this.#runtime.tree.release(page)
    for (const page of this.#extra) this.#runtime.tree.release(page)
    if (this.#tail !== null) this.#runtime.tree.release(this.#tail)
    this.#nodes.length = 0
    this.#pending.length = 0
    this.#extra.length = 0
    this.#tail = null
    this.tokens.length = 0
    this.#high = 0
    this.#marks.clear()
  }

  #restore(ids: readonly number[], path: readonly PageNode[]): void {
    const tree = this.#runtime.tree
    for (const node of path) tree.use(node) // before reset, lest they be freed
    this.reset()
    this.#nodes.push(...path)
    path.forEach((node, i) => this.#runtime.setPage(this.slot, i, node.page))
    const length = path.length * PAGE_TOKENS
    if (length > 0) this.#runtime.restoreResume(this.slot, length, path.at(-1)!.resume!)
    for (let i = 0; i < length; i++) this.tokens.push(ids[i]!)
    this.#high = length
  }

  /** The private page of index `index` that a rewind cuts in two. */
  #takePartial(index: number): number | null {
    if (index < this.#nodes.length) {
      const copy = this.#runtime.tree.allocate()
      this.#runtime.copyPage(this.#nodes[index]!.page, copy)
      return copy
    }
    const pending = this.#pending[index - this.#nodes.length]
    if (!pending) return this.#tail
    this.#pending.splice(index - this.#nodes.length, 1)
    return pending.page
  }

  #newPage(index: number): number {
    const page = this.#runtime.tree.allocate()
    this.#runtime.setPage(this.slot, index, page)
    return page
  }

  #keepsResume(boundary: number, end: number): boolean {
    return this.#isMark(boundary) || boundary > end - RESUME_LIVE_PAGES * PAGE_TOKENS
  }

  /** Whether a resume point at this boundary is kept for good. */
  #isMark(boundary: number): boolean {
    return (boundary / PAGE_TOKENS) % RESUME_EVERY_PAGES === 0 || this.#marks.has(boundary)
  }

  /** The page that falls out of the last few loses its point unless it is kept for good. */
  #dropOldResume(): void {
    const node = this.#nodes.at(-1 - RESUME_LIVE_PAGES)
    if (!node || node.users > 1 || node.children.size > 1) return
    if (!this.#isMark(node.depth * PAGE_TOKENS)) this.#runtime.tree.dropResume(node)
  }
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  const n = Math.min(a.length, b.length)
  let i = 0
  while (i < n && a[i] === b[i]) i++
  return i
}

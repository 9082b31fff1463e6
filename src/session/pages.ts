/** One prefix tree of KV pages (design D7). A page holds 128 tokens of a sequence; once full and
 *  verified it is immutable, and every sequence that begins with the same tokens shares it. A node may
 *  carry a resume point: the rings' contents at its end, without which its end cannot be continued. */
import { assert, ContextError } from "../errors.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import type { ResumePoint } from "./resume.ts"

export interface PageNode {
  readonly parent: PageNode | null
  /** Tokens of the page; empty at the root. */
  readonly tokens: Int32Array
  /** Physical page; -1 at the root. */
  readonly page: number
  /** Pages from the root: this one covers positions (depth - 1) · 128 … depth · 128 - 1. */
  readonly depth: number
  readonly children: Map<number, PageNode[]>
  resume: ResumePoint | null
  /** Sequences that hold this page. */
  users: number
  lastUsed: number
  /** Its page was given to someone else. */
  isGone: boolean
}

export class PageTree {
  readonly root: PageNode = {
    parent: null,
    tokens: new Int32Array(0),
    page: -1,
    depth: 0,
    children: new Map(),
    resume: null,
    users: 1,
    lastUsed: 0,
    isGone: false,
  }
  readonly #free: number[]
  readonly #nodes = new Set<PageNode>()
  readonly #resumeBudget: number
  #resumeBytes = 0
  #clock = 0

  /** `nPages` physical pages; resume points of nodes may take `resumeBudget` bytes in all. */
  constructor(nPages: number, resumeBudget: number) {
    this.#free = Array.from({ length: nPages }, (_, i) => nPages - 1 - i)
    this.#resumeBudget = resumeBudget
  }

  get freePages(): number {
    return this.#free.length
  }

  get cachedPages(): number {
    return this.#nodes.size
  }

  /** A physical page, if need be that of the node unused for longest.
   *  @throws ContextError when every page is held by a live sequence. */
  allocate(): number {
    const page = this.tryAllocate()
    if (page === null)
      throw new ContextError("The KV cache is full: every page belongs to a live sequence")
    return page
  }

  /** The same, or null when there is none. */
  tryAllocate(): number | null {
    const page = this.#free.pop()
    if (page !== undefined) return page
    const victim = this.#oldestLeaf()
    if (!victim) return null
    this.#remove(victim)
    return this.#free.pop()!
  }

  /** Gives back a page that was never published. */
  release(page: number): void {
    this.#free.push(page)
  }

  /** The child of `parent` with these tokens (ids[from] … ids[from + 127]). */
  find(parent: PageNode, ids: ArrayLike<number>, from: number): PageNode | undefined {
    return parent.children.get(hashTokens(ids, from))?.find((n) => sameTokens(n.tokens, ids, from))
  }

  /** Puts a full page under its parent and counts one user. If the same tokens are there already,
   *  `page` is freed and the node that was there is returned. */
  publish(
    parent: PageNode,
    ids: ArrayLike<number>,
    from: number,
    page: number,
    resume: ResumePoint | null,
  ): PageNode {
    const known = this.find(parent, ids, from)
    if (known) {
      this.release(page)
      if (resume && !known.resume) this.attach(known, resume)
      return this.use(known)
    }
    const tokens = Int32Array.from({ length: PAGE_TOKENS }, (_, i) => ids[from + i]!)
    const node: PageNode = {
      parent,
      tokens,
      page,
      depth: parent.depth + 1,
      children: new Map(),
      resume: null,
      users: 0,
      lastUsed: 0,
      isGone: false,
    }
    const hash = hashTokens(ids, from)
    const siblings = parent.children.get(hash)
    if (siblings) siblings.push(node)
    else parent.children.set(hash, [node])
    this.#nodes.add(node)
    this.use(node)
    if (resume) this.attach(node, resume)
    return node
  }

  /** One more sequence holds this page. */
  use(node: PageNode): PageNode {
    node.users++
    node.lastUsed = ++this.#clock
    return node
  }

  /** A sequence lets go of a page; it stays in the tree until its memory is wanted. */
  unuse(node: PageNode): void {
    assert(node.users > 0, "a page is given back more often than taken")
    node.users--
  }

  /** The nodes that hold a prefix of ids, from the root's child on, whole pages only. */
  path(ids: ArrayLike<number>, length: number): PageNode[] {
    const path: PageNode[] = []
    let node = this.root
    while ((node.depth + 1) * PAGE_TOKENS <= length) {
      const next = this.find(node, ids, node.depth * PAGE_TOKENS)
      if (!next) break
      path.push(next)
      node = next
    }
    return path
  }

  /** Drops a node's resume point, for example because the live end has moved on. */
  dropResume(node: PageNode): void {
    if (!node.resume) return
    this.#resumeBytes -= node.resume.bytes
    node.resume = null
  }

  /** Gives a node its resume point; others lose theirs when the budget is spent. */
  attach(node: PageNode, resume: ResumePoint): void {
    this.dropResume(node)
    node.resume = resume
    this.#resumeBytes += resume.bytes
    while (this.#resumeBytes > this.#resumeBudget) {
      let oldest: PageNode | null = null
      for (const n of this.#nodes)
        if (n.resume && n !== node && (!oldest || n.lastUsed < oldest.lastUsed)) oldest = n
      if (!oldest) return
      this.dropResume(oldest)
    }
  }

  #oldestLeaf(): PageNode | null {
    let oldest: PageNode | null = null
    for (const n of this.#nodes)
      if (n.users === 0 && n.children.size === 0 && (!oldest || n.lastUsed < oldest.lastUsed))
        oldest = n
    return oldest
  }

  #remove(node: PageNode): void {
    this.dropResume(node)
    const hash = hashTokens(node.tokens, 0)
    const siblings = node.parent!.children.get(hash)!.filter((n) => n !== node)
    if (siblings.length > 0) node.parent!.children.set(hash, siblings)
    else node.parent!.children.delete(hash)
    this.#nodes.delete(node)
    node.isGone = true
    this.#free.push(node.page)
  }
}

/** FNV-1a over the ids of a page; collisions are resolved by comparing. */
function hashTokens(ids: ArrayLike<number>, from: number): number {
  let h = 0x811c9dc5
  for (let i = 0; i < PAGE_TOKENS; i++) h = Math.imul(h ^ ids[from + i]!, 0x01000193)
  return h
}

function sameTokens(tokens: Int32Array, ids: ArrayLike<number>, from: number): boolean {
  for (let i = 0; i < PAGE_TOKENS; i++) if (tokens[i] !== ids[from + i]) return false
  return true
}

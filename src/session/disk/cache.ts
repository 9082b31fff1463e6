/** The KV cache on disk of one runtime: what a request finds there, and what is put there. Nothing that
 *  goes wrong here is more than a miss. */
import { PAGE_TOKENS } from "../../ops/kv-ops.ts"
import type { PageNode } from "../pages.ts"
import type { Runtime } from "../runtime.ts"
import type { Sequence } from "../sequence.ts"
import { discard, isThere, KvFolder, readExactly, touch } from "./folder.ts"
import { decodeObject, type DiskObject, isObject, type ObjectKind, pageKey } from "./format.ts"
import { ObjectNames } from "./names.ts"
import { DiskWriter } from "./writer.ts"

export interface DiskOptions {
  dir: string
  /** Bytes that the folder may take, all models together. */
  budget: number
}

export class DiskCache {
  readonly writer: DiskWriter
  readonly #runtime: Runtime
  readonly #folder: KvFolder
  readonly #names: ObjectNames

  constructor(runtime: Runtime, { dir, budget }: DiskOptions) {
    this.#runtime = runtime
    this.#folder = new KvFolder(dir)
    this.#names = new ObjectNames(runtime, this.#folder)
    this.writer = new DiskWriter(runtime, this.#folder, this.#names, budget)
  }

  /** Loads what the disk has of `ids` beyond what memory gives `seq`, into the tree: a chain of pages
   *  that ends in a resume point. The next `seq.sync(ids)` finds it. Yields after every page. */
  *fetch(seq: Sequence, ids: readonly number[]): Generator<void, void> {
    const { tree } = this.#runtime
    const path = tree.path(ids, ids.length - 1)
    const memory = seq.reach(ids)
    const chain = this.#look(path, ids)
    if (chain.length * PAGE_TOKENS <= memory) return
    const held = path.slice(0, chain.length)
    for (const node of held) tree.use(node)
    seq.reset() // its pages may be needed
    try {
      while (held.length < chain.length) {
        const node = this.#loadPage(held.at(-1) ?? tree.root, chain[held.length]!, ids)
        if (!node) break
        held.push(node)
        yield
      }
      for (let n = held.length; n * PAGE_TOKENS > memory; n--)
        if (this.#loadPoint(held[n - 1]!)) break
    } finally {
      for (const node of held) tree.unuse(node)
    }
  }

  /** Keys of the pages of `ids` that are in memory or on disk, up to the last with a resume point. */
  #look(path: readonly PageNode[], ids: readonly number[]): string[] {
    const keys: string[] = []
    let parent = this.#names.rootKey
    let resumable = 0
    for (let end = PAGE_TOKENS; end < ids.length; end += PAGE_TOKENS) {
      const node = path[keys.length]
      const key = node
        ? this.#names.keyOf(node)
        : pageKey(parent, Int32Array.from(ids.slice(end - PAGE_TOKENS, end)))
      if (!node && !isThere(this.#names.path("page", key, parent))) break
      keys.push(key)
      if (node?.resume || isThere(this.#names.path("point", key, parent))) resumable = keys.length
      parent = key
    }
    return keys.slice(0, resumable)
  }

  /** Reads the page after `parent` into a free page of the tree and counts one user; null if it is not
   *  there, not what it should be, or if there is no room. */
  #loadPage(parent: PageNode, key: string, ids: readonly number[]): PageNode | null {
    const { tree } = this.#runtime
    const object = this.#read("page", key, parent)
    const from = parent.depth * PAGE_TOKENS
    if (!object || object.tokens.some((token, i) => token !== ids[from + i])) return null
    const page = tree.tryAllocate()
    if (page === null) return null
    this.#runtime.writePage(page, object.data)
    return tree.publish(parent, ids, from, page, null)
  }

  /** Gives a node its resume point from disk. Returns whether it has one then. */
  #loadPoint(node: PageNode): boolean {
    if (!node.resume) {
      const object = this.#read("point", this.#names.keyOf(node), node.parent!)
      if (!object) return false
      this.#runtime.tree.attach(node, { bytes: object.data.length, data: object.data })
    }
    touch(this.#names.pathOf("point", node))
    return true
  }

  /** An object that is what its name says; one that is not is removed. */
  #read(kind: ObjectKind, key: string, parent: PageNode): DiskObject | null {
    const id = this.#names.id(kind, key, parent)
    const path = this.#folder.pathOf(id)
    const bytes = readExactly(path, this.#names.fileBytes(kind))
    if (bytes === "absent") return null
    const object = bytes === "wrong" ? bytes : decodeObject(bytes)
    if (typeof object !== "string" && isObject(object, id)) return object
    discard(path)
    return null
  }
}

/** The KV cache on disk of one runtime. Resume points that are worth keeping are queued with the pages
 *  before them, and written one file at a time while the engine's Worker goes on stepping: only the copy
 *  out of KV memory (0.45 MB a page in the full model) takes the Worker's time. Reading happens when a
 *  request begins. Nothing that goes wrong here is more than a miss. */
import { join } from "node:path"
import { kvSizes } from "../../model/kv-cache.ts"
import { PAGE_TOKENS } from "../../ops/kv-ops.ts"
import type { PageNode } from "../pages.ts"
import type { ResumePoint } from "../resume.ts"
import type { Runtime } from "../runtime.ts"
import type { Sequence } from "../sequence.ts"
import { chainsOf, chooseVictims, isSettled } from "./evict.ts"
import { modelFingerprint } from "./fingerprint.ts"
import { ABOUT, discard, isThere, KvFolder, readExactly, touch } from "./folder.ts"
import {
  decodeObject,
  type DiskObject,
  encodeObject,
  FOLDER_DIGITS,
  isObject,
  objectBytes,
  type ObjectId,
  type ObjectKind,
  pageKey,
  rootKey,
} from "./format.ts"

export interface DiskOptions {
  dir: string
  /** Bytes that the folder may take, all models together. */
  budget: number
}

/** A resume point on its way to disk. It is held here, since the tree may drop it meanwhile. */
interface Wanted {
  node: PageNode
  resume: ResumePoint
}

/** After a failed write, nothing is tried for so long. */
const PAUSE_MS = 60_000
/** Resume points that may wait, in bytes of host memory; beyond it the oldest are forgotten. */
const QUEUE_BYTES = 256 * 2 ** 20
/** The folder is looked through again when this part of the budget was written, for others write too. */
const RESCAN_PART = 1 / 16
/** A full folder is cleared to this part of the budget. */
const CLEAR_TO = 0.95
/** How long to wait for another process that evicts. */
const LOCK_TRIES = 20
const LOCK_PAUSE_MS = 50

export class DiskCache {
  readonly folder: KvFolder
  readonly fingerprint: string
  readonly budget: number
  /** Hears, once, that the cache cannot be written. */
  onWarning: (text: string) => void = () => {}
  readonly #runtime: Runtime
  readonly #pageBytes: number
  readonly #pointBytes: number
  readonly #keys = new WeakMap<PageNode, string>()
  readonly #queue: Wanted[] = []
  #draining: Promise<void> | null = null
  #isClosed = false
  /** Bytes in the folder as far as known; negative before the first scan. */
  #bytes = -1
  #sinceScan = 0
  #pausedAt = -Infinity
  #hasWarned = false

  constructor(runtime: Runtime, { dir, budget }: DiskOptions) {
    this.#runtime = runtime
    this.folder = new KvFolder(dir)
    this.budget = budget
    this.fingerprint = modelFingerprint(runtime.file, runtime.config, runtime.backend)
    const sizes = kvSizes(runtime.config, runtime.backend)
    this.#pageBytes = sizes.pageBytes
    this.#pointBytes = sizes.resumePointBytes
    this.#keys.set(runtime.tree.root, rootKey(this.fingerprint))
  }

  /** Wants a page with a resume point, and all before it, on disk. */
  keep(node: PageNode): void {
    const { resume } = node
    if (!resume || this.#isClosed || performance.now() - this.#pausedAt < PAUSE_MS) return
    if (this.#queue.some((w) => w.node === node)) return
    this.#queue.push({ node, resume })
    const most = Math.max(1, Math.floor(QUEUE_BYTES / this.#pointBytes))
    if (this.#queue.length > most) this.#queue.shift()
    this.#draining ??= this.#drain()
  }

  /** Waits until everything wanted is on disk, at most so long; what is left then is given up. */
  async flush(limitMs: number): Promise<void> {
    let timer: Timer | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)))
    await Promise.race([this.#draining, late])
    clearTimeout(timer)
  }

  /** Takes nothing more and gives up what waits. */
  close(): void {
    this.#isClosed = true
    this.#queue.length = 0
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
        if (this.#loadPoint(held[n - 1]!, chain[n - 1]!)) break
    } finally {
      for (const node of held) tree.unuse(node)
    }
  }

  /** Keys of the pages of `ids` that are in memory or on disk, up to the last with a resume point. */
  #look(path: readonly PageNode[], ids: readonly number[]): string[] {
    const keys: string[] = []
    let parent = rootKey(this.fingerprint)
    let resumable = 0
    for (let end = PAGE_TOKENS; end < ids.length; end += PAGE_TOKENS) {
      const node = path[keys.length]
      const key = node
        ? this.#keyOf(node)
        : pageKey(parent, Int32Array.from(ids.slice(end - PAGE_TOKENS, end)))
      if (!node && !isThere(this.#path("page", key, parent))) break
      keys.push(key)
      if (node?.resume || isThere(this.#path("point", key, parent))) resumable = keys.length
      parent = key
    }
    return keys.slice(0, resumable)
  }

  /** Reads the page after `parent` into a free page of the tree and counts one user; null if it is not
   *  there, not what it should be, or if there is no room. */
  #loadPage(parent: PageNode, key: string, ids: readonly number[]): PageNode | null {
    const { tree } = this.#runtime
    const object = this.#read("page", key, parent, parent.depth + 1)
    const from = parent.depth * PAGE_TOKENS
    if (!object || object.tokens.some((token, i) => token !== ids[from + i])) return null
    let page: number
    try {
      page = tree.allocate()
    } catch {
      return null // every page belongs to a live sequence
    }
    this.#runtime.writePage(page, object.data)
    const node = tree.publish(parent, ids, from, page, null)
    this.#keys.set(node, key)
    return node
  }

  /** Gives a node its resume point from disk. Returns whether it has one then. */
  #loadPoint(node: PageNode, key: string): boolean {
    const path = this.#path("point", key, this.#keyOf(node.parent!))
    if (!node.resume) {
      const object = this.#read("point", key, node.parent!, node.depth)
      if (!object) return false
      this.#runtime.tree.attach(node, { bytes: object.data.length, data: object.data })
    }
    touch(path)
    return true
  }

  /** An object that is what its name says; one that is not is removed. */
  #read(kind: ObjectKind, key: string, parent: PageNode, depth: number): DiskObject | null {
    const id = this.#id(kind, key, this.#keyOf(parent), depth)
    const path = this.folder.pathOf(id)
    const bytes = readExactly(path, objectBytes(kind, this.#dataBytes(kind)))
    const object = bytes && decodeObject(bytes)
    if (object && typeof object !== "string" && isObject(object, id)) return object
    discard(path)
    return null
  }

  #dataBytes(kind: ObjectKind): number {
    return kind === "page" ? this.#pageBytes : this.#pointBytes
  }

  #id(kind: ObjectKind, key: string, parent: string, depth: number): ObjectId {
    return { kind, fingerprint: this.fingerprint, key, parent, depth }
  }

  #path(kind: ObjectKind, key: string, parent: string): string {
    return this.folder.pathOf({ kind, fingerprint: this.fingerprint, key, parent })
  }

  #keyOf(node: PageNode): string {
    const unknown: PageNode[] = []
    let known: PageNode = node
    for (; !this.#keys.has(known); known = known.parent!) unknown.push(known)
    let key = this.#keys.get(known)!
    for (const n of unknown.toReversed()) this.#keys.set(n, (key = pageKey(key, n.tokens)))
    return key
  }

  async #drain(): Promise<void> {
    await Promise.resolve() // keep() returns first
    while (this.#queue.length > 0) {
      try {
        await this.#store(this.#queue.shift()!)
        this.#hasWarned = false
      } catch (error) {
        this.#pause(error)
      }
    }
    this.#draining = null
  }

  /** Writing failed: says so once and lets the disk rest. */
  #pause(error: unknown): void {
    this.#queue.length = 0
    this.#pausedAt = performance.now()
    if (!this.#hasWarned)
      this.onWarning(
        `The KV cache on disk is not written (${this.folder.dir}): ${(error as Error).message}`,
      )
    this.#hasWarned = true
  }

  /** Writes what is missing of a chain, its first page first, the resume point last. */
  async #store({ node, resume }: Wanted): Promise<void> {
    const chain: PageNode[] = []
    for (let n = node; n.depth > 0; n = n.parent!) chain.push(n)
    let wrote = false
    for (const n of chain.toReversed()) {
      if (this.#isThere("page", n)) continue
      if (!(await this.#makeRoom(objectBytes("page", this.#pageBytes)))) return
      if (this.#isClosed || node.isGone) return // its pages hold something else now
      const fill = (into: Uint8Array) => this.#runtime.readPage(n.page, into)
      await this.#write("page", n, fill)
      wrote = true
    }
    const path = this.#pathOf("point", node)
    if (isThere(path)) touch(path)
    else if (await this.#makeRoom(objectBytes("point", this.#pointBytes))) {
      await this.#write("point", node, (into) => into.set(resume.data))
      wrote = true
    }
    if (wrote) await this.folder.sync(this.fingerprint)
  }

  #pathOf(kind: ObjectKind, node: PageNode): string {
    return this.#path(kind, this.#keyOf(node), this.#keyOf(node.parent!))
  }

  #isThere(kind: ObjectKind, node: PageNode): boolean {
    return isThere(this.#pathOf(kind, node))
  }

  async #write(kind: ObjectKind, node: PageNode, fill: (into: Uint8Array) => void): Promise<void> {
    const id = this.#id(kind, this.#keyOf(node), this.#keyOf(node.parent!), node.depth)
    const tokens = kind === "page" ? node.tokens : new Int32Array(0)
    const bytes = encodeObject(id, tokens, this.#dataBytes(kind), fill)
    await this.folder.write(this.folder.pathOf(id), bytes)
    this.#bytes += bytes.length
    this.#sinceScan += bytes.length
  }

  /** Evicts until an object of this size fits. Returns whether it does. */
  async #makeRoom(bytes: number): Promise<boolean> {
    if (bytes > this.budget) return false
    if (this.#bytes < 0) await this.#begin()
    if (this.#sinceScan > this.budget * RESCAN_PART) await this.#scan()
    if (this.#bytes + bytes <= this.budget) return true
    for (let i = 0; i < LOCK_TRIES; i++) {
      if (await this.folder.locked(() => this.#evict(bytes))) break
      await Bun.sleep(LOCK_PAUSE_MS)
      await this.#scan()
      if (this.#bytes + bytes <= this.budget) return true
    }
    return this.#bytes + bytes <= this.budget
  }

  async #evict(bytes: number): Promise<void> {
    const contents = await this.#scan()
    const target = Math.min(this.budget * CLEAR_TO, this.budget - bytes)
    const other = contents.bytes - contents.entries.reduce((sum, e) => sum + e.bytes, 0)
    const victims = chooseVictims(contents.entries, target - other)
    this.#bytes -= await this.folder.remove(victims)
  }

  async #scan() {
    const contents = await this.folder.scan()
    this.#bytes = contents.bytes
    this.#sinceScan = 0
    return contents
  }

  /** What the first write finds: counts, clears away what a killed process left, and says in words what
   *  the model's subfolder holds. */
  async #begin(): Promise<void> {
    const about = join(this.folder.dir, this.fingerprint.slice(0, FOLDER_DIGITS), ABOUT)
    if (!isThere(about)) {
      const text = JSON.stringify(aboutModel(this.#runtime, this.fingerprint), null, 2)
      await this.folder.write(about, new TextEncoder().encode(`${text}\n`))
    }
    const contents = await this.#scan()
    this.#bytes -= await this.folder.sweepTemporary(contents)
    const { orphans } = chainsOf(contents.entries)
    this.#bytes -= await this.folder.remove(orphans.filter((e) => isSettled(e)))
  }
}

/** What `ds4 cache` says of a model. */
export interface AboutModel {
  fingerprint: string
  name: string
  /** Where the file was. */
  file: string
  backend: string
}

function aboutModel({ file, backend }: Runtime, fingerprint: string): AboutModel {
  const name = file.metadata.maybeStr("general.name") ?? "unnamed"
  return { fingerprint, name, file: file.source.name, backend: backend.name }
}

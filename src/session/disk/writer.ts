/** Writes resume points, and the pages before them, one file at a time while the engine's Worker goes on
 *  stepping: only the copy out of KV memory (0.45 MB a page in the full model) takes the Worker's time,
 *  the rest is done by Bun's thread pool. */
import type { PageNode } from "../pages.ts"
import type { ResumePoint } from "../resume.ts"
import type { Runtime } from "../runtime.ts"
import { chainsOf, chooseVictims, isSettled } from "./evict.ts"
import { type Contents, isThere, type KvFolder, touch } from "./folder.ts"
import { encodeObject, type ObjectKind } from "./format.ts"
import type { ObjectNames } from "./names.ts"

/** A resume point on its way to disk. It is held here, since the tree may drop it meanwhile. */
interface Wanted {
  node: PageNode
  resume: ResumePoint
}

/** After a failed write, nothing is tried for so long. */
const PAUSE_MS = 60_000
/** Resume points that may wait, in bytes of host memory; beyond it the oldest are forgotten. */
const QUEUE_BYTES = 64 * 2 ** 20
/** The folder is looked through again when this part of the budget was written, for others write too. */
const RESCAN_PART = 1 / 16
/** A full folder is cleared to this part of the budget. */
const CLEAR_TO = 0.95
/** How long to wait for another process that evicts. */
const LOCK_TRIES = 20
const LOCK_PAUSE_MS = 50

export class DiskWriter {
  /** Hears that the cache cannot be written: once, until it can be again. */
  onWarning: (text: string) => void = () => {}
  readonly #runtime: Runtime
  readonly #folder: KvFolder
  readonly #names: ObjectNames
  readonly #budget: number
  readonly #queue: Wanted[] = []
  #draining: Promise<void> | null = null
  #isClosed = false
  /** Bytes in the folder as far as known; negative before the first look. */
  #bytes = -1
  #sinceScan = 0
  #pausedAt = -Infinity
  #hasWarned = false

  constructor(runtime: Runtime, folder: KvFolder, names: ObjectNames, budget: number) {
    this.#runtime = runtime
    this.#folder = folder
    this.#names = names
    this.#budget = budget
  }

  /** Wants a page with a resume point, and all before it, on disk. */
  keep(node: PageNode): void {
    const { resume } = node
    if (!resume || this.#isClosed || performance.now() - this.#pausedAt < PAUSE_MS) return
    if (this.#queue.some((w) => w.node === node)) return
    this.#queue.push({ node, resume })
    const most = Math.max(1, Math.floor(QUEUE_BYTES / this.#names.dataBytes("point")))
    if (this.#queue.length > most) this.#queue.shift()
    this.#draining ??= this.#drain()
  }

  /** Waits until everything wanted is on disk, at most so long. */
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
    this.#bytes = -1
    if (!this.#hasWarned)
      this.onWarning(
        `Cannot write the KV cache in ${this.#folder.dir}, going on without: ${messageOf(error)}`,
      )
    this.#hasWarned = true
  }

  /** Writes what is missing of a chain, its first page first, the resume point last. */
  async #store({ node, resume }: Wanted): Promise<void> {
    const chain: PageNode[] = []
    for (let n = node; n.depth > 0; n = n.parent!) chain.push(n)
    chain.reverse()
    const missing = await this.#makeRoom(chain, node)
    if (!missing) return
    await this.#describe()
    for (const n of missing) {
      if (this.#isClosed || node.isGone) return // its pages hold something else now
      await this.#write("page", n, (into) => this.#runtime.readPage(n.page, into))
    }
    const path = this.#names.pathOf("point", node)
    if (isThere(path)) return touch(path)
    await this.#write("point", node, (into) => into.set(resume.data))
    await this.#folder.sync(this.#names.fingerprint)
  }

  async #write(kind: ObjectKind, node: PageNode, fill: (into: Uint8Array) => void): Promise<void> {
    const id = this.#names.idOf(kind, node)
    const tokens = kind === "page" ? node.tokens : new Int32Array(0)
    const bytes = encodeObject(id, tokens, this.#names.dataBytes(kind), fill)
    await this.#folder.write(this.#folder.pathOf(id), bytes)
    this.#bytes += bytes.length
    this.#sinceScan += bytes.length
  }

  /** Evicts until what is missing of a chain fits. Returns the pages to write; null if the chain is too
   *  large for the budget, or others take all room. */
  async #makeRoom(chain: readonly PageNode[], node: PageNode): Promise<PageNode[] | null> {
    const page = this.#names.fileBytes("page")
    const point = this.#names.fileBytes("point")
    if (chain.length * page + point > this.#budget * CLEAR_TO) return null
    if (this.#bytes < 0) await this.#begin()
    if (this.#sinceScan > this.#budget * RESCAN_PART) await this.#scan()
    for (let i = 0; i < LOCK_TRIES; i++) {
      const missing = chain.filter((n) => !isThere(this.#names.pathOf("page", n)))
      const bytes = missing.length * page + (isThere(this.#names.pathOf("point", node)) ? 0 : point)
      if (bytes === 0 || this.#bytes + bytes <= this.#budget) return missing
      if (await this.#folder.locked(() => this.#evict(bytes))) continue
      await Bun.sleep(LOCK_PAUSE_MS) // another process does the same
      await this.#scan()
    }
    return null
  }

  async #evict(bytes: number): Promise<void> {
    const contents = await this.#scan()
    const target = Math.min(this.#budget * CLEAR_TO, this.#budget - bytes)
    const objects = contents.entries.reduce((sum, e) => sum + e.bytes, 0)
    const victims = chooseVictims(contents.entries, target - (contents.bytes - objects))
    this.#bytes -= await this.#folder.remove(victims)
  }

  async #scan(): Promise<Contents> {
    const contents = await this.#folder.scan()
    this.#bytes = contents.bytes - (await this.#folder.sweepTemporary(contents))
    this.#sinceScan = 0
    return contents
  }

  /** Counts what is there, and clears away what nobody can find any more. */
  async #begin(): Promise<void> {
    const { orphans } = chainsOf((await this.#scan()).entries)
    this.#bytes -= await this.#folder.remove(orphans.filter((e) => isSettled(e)))
  }

  /** Says in words, for `ds4 cache`, what the subfolder holds. */
  async #describe(): Promise<void> {
    const { file, backend } = this.#runtime
    const { fingerprint } = this.#names
    const name = file.metadata.maybeStr("general.name") ?? "unnamed"
    await this.#folder.describe({
      fingerprint,
      name,
      file: file.source.name,
      backend: backend.name,
    })
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

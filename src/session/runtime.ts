/** A model that can be run: weights, backend, KV memory, scratch. One `step` computes rows of any
 *  number of sequences; which rows is the caller's decision (a session, or the scheduler). */
import { assert, ContextError } from "../errors.ts"
import type { GgufFile } from "../gguf/types.ts"
import { type Config, readConfig } from "../model/config.ts"
import { KvCache, kvSizes } from "../model/kv-cache.ts"
import { type Activations, Scratch } from "../model/scratch.ts"
import { beginStep, forwardLayer, makeModel, outputHead } from "../model/transformer.ts"
import type { Model, StepRows } from "../model/transformer.ts"
import { bindWeights, checkContext } from "../model/weights.ts"
import type { Backend } from "../ops/backend.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import { ROW_WORDS } from "../ops/shapes.ts"
import type { Tensor } from "../ops/tensor.ts"
import type { DiskCache } from "./disk/cache.ts"
import { PageTree } from "./pages.ts"
import { type ResumePoint, restoreResumePoint, saveResumePoint } from "./resume.ts"
import { Sequence } from "./sequence.ts"

export interface RuntimeOptions {
  /** Tokens a sequence can hold. */
  context: number
  /** Sequences live at once. */
  nSeqs?: number
  /** Rows of a step at most. */
  maxRows?: number
  /** Rows whose logits are computed at once. */
  maxOutputs?: number
  /** KV pages of 128 tokens in all; by default enough for every sequence's whole context. */
  nPages?: number
  /** Host memory for resume points. */
  resumeBytes?: number
}

/** Rows of one sequence in a step. */
export interface Work {
  seq: Sequence
  /** Ids of positions seq.length … */
  ids: readonly number[]
  /** Whether logits of the last row (or of every row) are wanted. */
  logits: "none" | "last" | "all"
  /** Where the prompt ends that this is a piece of; resume points are kept near it. */
  end?: number
}

export const DEFAULTS = { nSeqs: 1, maxRows: 512, maxOutputs: 32, resumeBytes: 256 * 2 ** 20 }

export class Runtime {
  readonly file: GgufFile
  readonly config: Config
  readonly model: Model
  readonly backend: Backend
  readonly kv: KvCache
  readonly scratch: Scratch
  readonly tree: PageTree
  readonly context: number
  /** Where pages outlive the process, if they do. */
  disk: DiskCache | null = null
  /** Tensors of the file that the model does not use. */
  readonly extraTensors: readonly string[]
  readonly #freeSlots: number[]
  readonly #staging: Int32Array

  /** Binds a file's weights to a backend and takes all memory that steps will need.
   *  @throws GgufError for a file that does not fit, ContextError when memory does not suffice. */
  constructor(file: GgufFile, backend: Backend, options: RuntimeOptions) {
    const o = { ...DEFAULTS, ...options }
    this.file = file
    this.backend = backend
    this.config = readConfig(file.metadata)
    checkContext(this.config, o.context)
    const { weights, extra } = bindWeights(file, backend.map(file.source), this.config)
    this.extraTensors = extra
    this.model = makeModel(this.config, weights, backend)
    this.context = o.context
    const tableLen = Math.ceil(o.context / PAGE_TOKENS)
    const shape = { nSeqs: o.nSeqs, nPages: o.nPages ?? tableLen * o.nSeqs, tableLen }
    this.kv = new KvCache(backend, this.config, shape)
    this.scratch = new Scratch(backend, this.config, o.maxRows, o.maxOutputs)
    this.tree = new PageTree(shape.nPages, o.resumeBytes)
    this.#freeSlots = Array.from({ length: o.nSeqs }, (_, i) => o.nSeqs - 1 - i)
    this.#staging = new Int32Array(o.maxRows * ROW_WORDS)
  }

  get freeSequences(): number {
    return this.#freeSlots.length
  }

  /** Bytes of KV memory that pages in use take. */
  get kvBytes(): number {
    const used = this.kv.shape.nPages - this.tree.freePages
    return used * kvSizes(this.config, this.backend).pageBytes
  }

  /** A new, empty sequence. @throws ContextError when all are taken. */
  sequence(): Sequence {
    const slot = this.#freeSlots.pop()
    if (slot === undefined)
      throw new ContextError(`All ${this.kv.shape.nSeqs} sequences are taken; end one first`)
    return new Sequence(this, slot)
  }

  /** Gives a sequence's slot back; its full pages stay shared. */
  release(seq: Sequence): void {
    seq.reset()
    this.#freeSlots.push(seq.slot)
  }

  /** Computes rows of one or more sequences and takes them up. `onLogits` gets the wanted rows a few
   *  at a time: logits [n, vocab] and, for each, the index of its work and row in it. */
  step(work: readonly Work[], onLogits?: LogitsReader): void {
    for (const _ of this.steps(work, onLogits)) void _
  }

  /** step() in pieces: yields after every layer, so that a caller can answer others or stop. A step
   *  that is not run to its end changes no sequence but may cost it the last tokens of its rings. */
  *steps(
    work: readonly Work[],
    onLogits?: LogitsReader,
    onLayer?: (layer: number, s: Activations) => void,
  ): Generator<number, void> {
    const { s, rows } = this.begin(work)
    beginStep(this.model, s)
    for (let l = 0; l < this.config.nLayers; l++) {
      forwardLayer(this.model, l, this.kv.layers[l]!, s, rows)
      onLayer?.(l, s)
      yield l
    }
    this.advance(work)
    if (onLogits) this.#logits(work, s, onLogits)
  }

  /** Takes room for the rows of a step and writes their table. With this begins a layer loop of one's
   *  own: `beginStep`, `forwardLayer` for each layer, `advance`, `logits` (examples/own-loop.ts). */
  begin(work: readonly Work[]): { s: Activations; rows: StepRows } {
    for (const { seq, ids } of work) seq.reserve(ids.length)
    for (const { seq, ids } of work) seq.begin(ids.length)
    const n = this.#writeRows(work)
    return { s: this.scratch.step(n), rows: { n, indexed: this.#indexed(work) } }
  }

  /** Takes up the rows of a finished step: their sequences are so much longer now. */
  advance(work: readonly Work[]): void {
    for (const { seq, ids, end } of work) seq.advance(ids, end ?? seq.length + ids.length)
  }

  /** Logits [rows.length, vocab] of at most maxOutputs rows of a step, from the streams as they are
   *  now. The memory is reused by the next call. */
  logits(s: Activations, rows: readonly number[]): Tensor {
    const o = this.scratch.output(rows.length)
    const index = new Uint8Array(Int32Array.from(rows).buffer)
    this.backend.write(o.index.buffer, o.index.offset, index)
    outputHead(this.model, s, o)
    return o.logits
  }

  /** Enters physical page `page` as page `index` of a sequence. */
  setPage(slot: number, index: number, page: number): void {
    const t: Tensor = this.kv.pageTable
    const at = t.offset + 4 * (slot * this.kv.shape.tableLen + index)
    this.backend.write(t.buffer, at, new Uint8Array(Int32Array.of(page).buffer))
  }

  /** Copies the compressed and index rows of a page in every layer. */
  copyPage(from: number, to: number): void {
    const bytes = new Uint8Array(kvSizes(this.config, this.backend).pageBytes)
    this.readPage(from, bytes)
    this.writePage(to, bytes)
  }

  /** The rows of a page, layer by layer. */
  readPage(page: number, into: Uint8Array): void {
    let at = 0
    for (const { buffer, offset, bytes } of this.#pageRows()) {
      this.backend.read(buffer, offset + page * bytes, into.subarray(at, at + bytes))
      at += bytes
    }
  }

  writePage(page: number, from: Uint8Array): void {
    let at = 0
    for (const { buffer, offset, bytes } of this.#pageRows()) {
      this.backend.write(buffer, offset + page * bytes, from.subarray(at, at + bytes))
      at += bytes
    }
  }

  /** Where the rows of page 0 lie, and how many bytes a page has there. */
  *#pageRows() {
    for (const layer of this.kv.layers)
      for (const pages of [layer.pages, layer.indexPages]) {
        if (!pages) continue
        const { buffer, offset, bytes } = pages.rows
        yield { buffer, offset, bytes: bytes / this.kv.shape.nPages }
      }
  }

  saveResume(slot: number, pos: number): ResumePoint {
    return saveResumePoint(this.backend, this.config, this.kv, slot, pos)
  }

  restoreResume(slot: number, pos: number, point: ResumePoint): void {
    restoreResumePoint(this.backend, this.config, this.kv, slot, pos, point)
  }

  /** @throws ContextError when a sequence would outgrow the context. */
  checkRoom(length: number): void {
    if (length > this.context)
      throw new ContextError(`The context of ${this.context} tokens is full (${length} are wanted)`)
  }

  close(): void {
    this.scratch.close()
    this.kv.close()
    this.backend.close()
    this.file.source.close()
  }

  /** Fills the row table. Returns the number of rows. */
  #writeRows(work: readonly Work[]): number {
    const t = this.#staging
    const n = work.reduce((sum, w) => sum + w.ids.length, 0)
    assert(n > 0 && n <= this.scratch.maxRows, `a step of ${n} rows; ${this.scratch.maxRows} fit`)
    let at = 0
    for (const { seq, ids } of work)
      for (let i = 0; i < ids.length; i++) {
        t[at++] = seq.slot
        t[at++] = seq.length + i
        t[at++] = ids[i]!
        t[at++] = i
        t[at++] = ids.length - 1 - i
      }
    const { buffer, offset } = this.scratch.step(n).rows
    this.backend.write(buffer, offset, new Uint8Array(t.buffer, 0, 4 * at))
    return n
  }

  #indexed(work: readonly Work[]): boolean {
    const rowsSeen = (w: Work) => Math.floor((w.seq.length + w.ids.length) / 4)
    return work.some((w) => rowsSeen(w) > this.config.indexTopK)
  }

  #logits(work: readonly Work[], s: Activations, onLogits: LogitsReader): void {
    const wanted: LogitsRow[] = []
    let row = 0
    work.forEach((w, index) => {
      for (let i = 0; i < w.ids.length; i++, row++)
        if (w.logits === "all" || (w.logits === "last" && i === w.ids.length - 1))
          wanted.push({ row, work: index, at: i })
    })
    for (let from = 0; from < wanted.length; from += this.scratch.maxOutputs) {
      const part = wanted.slice(from, from + this.scratch.maxOutputs)
      const rows = part.map((p) => p.row)
      onLogits(this.logits(s, rows), part)
    }
  }
}

/** Where a row of logits comes from: row of the step, index of the work, row in it. */
export interface LogitsRow {
  row: number
  work: number
  at: number
}
/** Gets logits [part.length, vocab]; the memory is reused afterwards. */
export type LogitsReader = (logits: Tensor, part: readonly LogitsRow[]) => void

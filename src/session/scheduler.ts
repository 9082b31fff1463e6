/** Continuous batching: jobs join at the next step, every decoding sequence adds one row to a step, and
 *  prompts fill the rest. A job's tokens do not depend on its neighbours (design D9). */
import { Ds4Error, NumericalError } from "../errors.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import type { Tensor } from "../ops/tensor.ts"
import { Candidates, type CandidateRow, type LogitBias, type TokenMask } from "./candidates.ts"
import { type Reuse, watchReuse } from "./reuse.ts"
import type { LogitsRow, Runtime, Work } from "./runtime.ts"
import type { Sampler } from "./sampler.ts"
import type { Sequence } from "./sequence.ts"

export type FinishReason = "stop" | "length" | "abort"

export interface Job {
  /** The prompt, at least one id. */
  ids: readonly number[]
  /** Tokens to generate at most. */
  maxTokens: number
  sampler: Sampler
  /** Ids that end the generation; the one that does is reported by onToken too. */
  stopIds: ReadonlySet<number>
  /** Positions whose page boundary is worth resuming at. */
  marks?: readonly number[]
  /** Ids and what is added to their logits before anything else. */
  bias?: readonly LogitBias[]
  /** What the next token may be, and whether the likeliest of it is taken whatever the sampler says. */
  constraint?(): { mask: TokenMask; isSyntax: boolean }
  /** Prompt tokens done, of how many; `cached` of them were there already. The first call, before any
   *  is computed, says how `cached` came about. */
  onPrefill?(done: number, total: number, cached: number, reuse?: Reuse): void
  /** A token was chosen. Returning false ends the job with reason "stop". */
  onToken(id: number, row: CandidateRow): boolean
  onEnd(reason: FinishReason, error?: Ds4Error): void
}

/** How much there is to do, for who watches or spreads requests. */
export interface Load {
  /** Jobs that have a sequence. */
  running: number
  /** KV pages of running jobs, each counted once. What ended jobs left can be taken at any time. */
  usedPages: number
}

interface Active {
  job: Job
  seq: Sequence
  /** The prompt and what was generated; those from seq.length on are not evaluated yet. */
  ids: number[]
  /** Length of the prompt. */
  promptEnd: number
  generated: number
  cached: number
}

/** Rows that prompts may add to a step while others are decoding. */
const MIXED_PREFILL_ROWS = PAGE_TOKENS

export class Scheduler {
  readonly #runtime: Runtime
  readonly #candidates: Candidates
  readonly #queue: Job[] = []
  readonly #active: Active[] = []
  /** Sequences of ended jobs, most recent last, kept for what they hold. */
  readonly #idle: Sequence[] = []
  readonly #aborted = new Set<Job>()
  /** Pages of running jobs in all, where shared ones count for each, when they were last gone through;
   *  negative when jobs have come or gone since. */
  #pageCount = -1
  #usedPages = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
    const { vocabSize } = runtime.config
    this.#candidates = new Candidates(runtime.model.ops, runtime.scratch.maxOutputs, vocabSize)
  }

  get busy(): boolean {
    return this.#active.length > 0 || this.#queue.length > 0
  }

  get load(): Load {
    const count = this.#active.reduce((sum, { seq }) => sum + seq.pageCount, 0)
    // Asked for after every token: pages are gone through only when there are others.
    if (count !== this.#pageCount)
      this.#usedPages = new Set(this.#active.flatMap(({ seq }) => seq.pages)).size
    this.#pageCount = count
    return { running: this.#active.length, usedPages: this.#usedPages }
  }

  add(job: Job): void {
    this.#queue.push(job)
  }

  /** Ends a job at the next opportunity; its onEnd gets "abort". */
  abort(job: Job): void {
    this.#aborted.add(job)
  }

  /** Computes one step. Yields after every layer of it. */
  *step(): Generator<void, void> {
    this.#dropAborted()
    yield* this.#admit()
    const { work, actors } = this.#plan()
    if (work.length === 0) return
    const onLogits = (logits: Tensor, part: readonly LogitsRow[]) =>
      this.#take(logits, part, actors)
    try {
      for (const _ of this.#runtime.steps(work, onLogits)) {
        yield
        if (actors.every((a) => this.#aborted.has(a.job))) return this.#dropAborted()
      }
    } catch (error) {
      this.#fail(actors, error)
    }
  }

  /** Runs until nothing is left to do. */
  run(): void {
    while (this.busy) for (const _ of this.step()) void _
  }

  /** Forgets what ended jobs hold. */
  close(): void {
    for (const seq of this.#idle) this.#runtime.release(seq)
    this.#idle.length = 0
    this.#candidates.close()
  }

  #dropAborted(): void {
    if (this.#aborted.size === 0) return
    for (const job of this.#queue.filter((j) => this.#aborted.has(j))) {
      this.#queue.splice(this.#queue.indexOf(job), 1)
      job.onEnd("abort")
    }
    for (const a of this.#active.filter((x) => this.#aborted.has(x.job))) this.#end(a, "abort")
    this.#aborted.clear()
  }

  *#admit(): Generator<void, void> {
    while (this.#queue.length > 0) {
      const job = this.#queue[0]!
      const seq = this.#sequenceFor(job.ids)
      if (!seq) return
      this.#queue.shift()
      try {
        this.#runtime.checkRoom(job.ids.length)
        const reuseOf = watchReuse(this.#runtime.tree, seq, job.ids)
        if (this.#runtime.disk) yield* this.#runtime.disk.fetch(seq, job.ids)
        const cached = seq.sync(job.ids)
        for (const pos of job.marks ?? []) seq.mark(pos)
        const promptEnd = job.ids.length
        this.#pageCount = -1
        this.#active.push({ job, seq, ids: [...job.ids], promptEnd, generated: 0, cached })
        job.onPrefill?.(cached, promptEnd, cached, reuseOf(cached))
      } catch (error) {
        this.#idle.push(seq)
        job.onEnd("abort", asDs4Error(error))
      }
    }
  }

  /** The idle sequence that holds most of the prompt, else a fresh one, else the one idle longest. */
  #sequenceFor(ids: readonly number[]): Sequence | null {
    let best = -1
    let bestLength = 0
    this.#idle.forEach((seq, i) => {
      const live = livePrefix(seq, ids)
      if (live > bestLength) [best, bestLength] = [i, live]
    })
    if (best >= 0) return this.#idle.splice(best, 1)[0]!
    if (this.#runtime.freeSequences > 0) return this.#runtime.sequence()
    return this.#idle.shift() ?? null
  }

  #plan(): { work: Work[]; actors: Active[] } {
    const work: Work[] = []
    const actors: Active[] = []
    const add = (a: Active, n: number) => {
      const from = a.seq.length
      work.push({ seq: a.seq, ids: a.ids.slice(from, from + n), logits: "last", end: a.promptEnd })
      actors.push(a)
    }
    const decoding = this.#active.filter((a) => a.seq.length >= a.promptEnd)
    for (const a of decoding.slice(0, this.#runtime.scratch.maxRows)) add(a, 1)
    let room = this.#runtime.scratch.maxRows - work.length
    if (decoding.length > 0) room = Math.min(room, MIXED_PREFILL_ROWS)
    for (const a of this.#active) {
      if (a.seq.length >= a.promptEnd || room <= 0) continue
      const cut = a.seq.nextCut(a.seq.length, a.promptEnd) - a.seq.length
      const n = Math.min(cut, room)
      add(a, n)
      room -= n
    }
    return { work, actors }
  }

  #take(logits: Tensor, part: readonly LogitsRow[], actors: readonly Active[]): void {
    const jobs = part.map((p) => actors[p.work]!.job)
    const deltas = jobs.map((job) => job.sampler.delta)
    const masks = jobs.map((job) => job.constraint?.().mask ?? null)
    const biases = jobs.map((job) => job.bias ?? [])
    const rows = this.#candidates.read(logits, deltas, masks, biases)
    part.forEach((p, i) => this.#takeRow(actors[p.work]!, rows[i]!))
  }

  #takeRow(a: Active, row: CandidateRow): void {
    if (row.bad) {
      a.seq.reset()
      const error = new NumericalError("The model computed NaN or infinity; nothing of it was kept")
      return this.#end(a, "abort", error)
    }
    a.seq.verify()
    if (a.generated === 0) a.job.onPrefill?.(a.seq.length, a.promptEnd, a.cached)
    if (a.seq.length >= a.promptEnd) this.#choose(a, row)
  }

  #choose(a: Active, row: CandidateRow): void {
    if (a.job.maxTokens <= 0) return this.#end(a, "length")
    const id = a.job.constraint?.().isSyntax ? row.argmax : a.job.sampler.pick(row)
    a.generated++
    const goOn = a.job.onToken(id, row)
    if (!goOn || a.job.stopIds.has(id)) return this.#end(a, "stop")
    const full = a.seq.length + 1 > this.#runtime.context
    if (a.generated >= a.job.maxTokens || full) return this.#end(a, "length")
    a.ids.push(id)
  }

  #end(a: Active, reason: FinishReason, error?: Ds4Error): void {
    const at = this.#active.indexOf(a)
    if (at < 0) return
    this.#active.splice(at, 1)
    this.#pageCount = -1
    a.seq.settle()
    this.#idle.push(a.seq)
    a.job.onEnd(reason, error)
  }

  #fail(actors: readonly Active[], error: unknown): void {
    for (const a of actors) {
      a.seq.reset()
      this.#end(a, "abort", asDs4Error(error))
    }
  }
}

/** Tokens of `ids` that a sequence holds and could go on from at once. */
function livePrefix(seq: Sequence, ids: readonly number[]): number {
  let n = 0
  const end = Math.min(seq.length, ids.length - 1)
  while (n < end && seq.tokens[n] === ids[n]) n++
  return seq.canRewind(n) ? n : 0
}

function asDs4Error(error: unknown): Ds4Error {
  if (error instanceof Ds4Error) return error
  return new Ds4Error(error instanceof Error ? error.message : String(error), { cause: error })
}

/** Speed of a model at growing contexts, on the path that every answer takes: steps of the runtime,
 *  candidates, greedy sampling. A frontier is measured like this: the tokens that are new since the
 *  last one are read, some tokens are decoded from there, and then the sequence goes back, so that
 *  what was decoded is no part of the next interval. */
import { NumericalError } from "../errors.ts"
import { kvSizes } from "../model/kv-cache.ts"
import { PAGE_TOKENS } from "../ops/kv-ops.ts"
import { Candidates, type CandidateRow } from "../session/candidates.ts"
import type { Runtime } from "../session/runtime.ts"
import { Sampler } from "../session/sampler.ts"
import type { Sequence } from "../session/sequence.ts"
import { type LayerTimes, timeDecodeLayers, TIMED_TOKENS } from "./bench-layers.ts"

/** What was measured at one context. */
export interface Frontier {
  context: number
  /** Tokens read since the last frontier. */
  prefillTokens: number
  prefillMs: number
  genTokens: number
  genMs: number
  /** KV memory that a sequence of this length holds. */
  kvBytes: number
  /** 64 bits over the last logits and all chosen ids, in hexadecimal. */
  logitsHash: string
  /** Milliseconds of every layer in the interval, summed over its steps. */
  prefillLayerMs: readonly number[]
  /** Times of single decoded tokens, taken after the others; null where none is decoded. */
  layers: LayerTimes | null
}

/** Where a measurement stands. */
export interface Progress {
  phase: "warming up" | "going back" | "prefill" | "decode"
  done: number
  total: number
}

/** Tokens beyond the largest context that a runtime must have room for. */
export const roomBeyond = (genTokens: number): number => genTokens + TIMED_TOKENS + 1

const WARM_UP_ROWS = 32
const WARM_UP_TOKENS = 4
const NS_PER_MS = 1e6

export class ContextBench {
  readonly #runtime: Runtime
  readonly #ids: readonly number[]
  readonly #seq: Sequence
  readonly #candidates: Candidates
  readonly #sampler = new Sampler({ temperature: 0 })
  /** The last frontier. */
  #at = 0

  /** `ids` is what is read; there must be as many as the largest context has tokens. */
  constructor(runtime: Runtime, ids: readonly number[]) {
    this.#runtime = runtime
    this.#ids = ids
    this.#seq = runtime.sequence()
    this.#candidates = new Candidates(
      runtime.model.ops,
      runtime.scratch.maxOutputs,
      runtime.config.vocabSize,
    )
  }

  /** Runs a few tokens whose time is not counted: the first ones fetch weights from the disk and have
   *  code compiled. */
  *warmUp(): Generator<Progress, void> {
    const rows = Math.min(WARM_UP_ROWS, this.#runtime.scratch.maxRows, this.#ids.length)
    const state: Progress = { phase: "warming up", done: 0, total: rows + WARM_UP_TOKENS }
    let row = yield* this.#step(this.#ids.slice(0, rows), rows, state)
    for (let i = 0; i < WARM_UP_TOKENS; i++)
      row = yield* this.#step([this.#sampler.pick(row)], rows, { ...state, done: rows + i })
    this.#seq.reset()
  }

  /** Reads on to `context`, the next frontier, and decodes from there. Yields after every layer. */
  *measure(context: number, genTokens: number): Generator<Progress, Frontier> {
    yield* this.#goBack()
    const from = this.#at
    const prefillLayerNs = new Float64Array(this.#runtime.config.nLayers)
    this.#seq.mark(context) // lest decoding drop what going back needs
    const start = Bun.nanoseconds()
    const last = yield* this.#read(context, "prefill", prefillLayerNs)
    const prefillMs = (Bun.nanoseconds() - start) / NS_PER_MS
    this.#at = context
    const decoded = yield* this.#decode(last, context, genTokens)
    return {
      context,
      prefillTokens: context - from,
      prefillMs,
      genTokens,
      genMs: decoded.ms,
      kvBytes: sequenceBytes(this.#runtime, context),
      logitsHash: decoded.hash,
      prefillLayerMs: Array.from(prefillLayerNs, (ns) => ns / NS_PER_MS),
      layers: decoded.layers,
    }
  }

  close(): void {
    this.#runtime.release(this.#seq)
    this.#candidates.close()
  }

  *#decode(last: CandidateRow, context: number, genTokens: number) {
    let row = last
    const chosen: number[] = []
    const start = Bun.nanoseconds()
    for (let i = 0; i < genTokens; i++) {
      const id = this.#sampler.pick(row)
      chosen.push(id)
      row = yield* this.#step([id], context, { phase: "decode", done: i, total: genTokens })
    }
    const ms = (Bun.nanoseconds() - start) / NS_PER_MS
    const hash = hashOf(row.logits(), chosen)
    const tools = { seq: this.#seq, candidates: this.#candidates, sampler: this.#sampler }
    const first = this.#sampler.pick(row)
    const layers = genTokens > 0 ? timeDecodeLayers(this.#runtime, tools, first, context) : null
    return { ms, hash, layers }
  }

  /** Back to the last frontier: to the page boundary at or before it, and from there by reading. */
  *#goBack(): Generator<Progress, void> {
    if (this.#seq.length === this.#at) return
    const length = this.#seq.sync(this.#ids.slice(0, this.#at), this.#at)
    if (length < this.#at) yield* this.#read(this.#at, "going back")
  }

  /** Reads ids up to position `end` in the steps that a prompt is read in. */
  *#read(
    end: number,
    phase: Progress["phase"],
    layerNs?: Float64Array,
  ): Generator<Progress, CandidateRow> {
    const from = this.#seq.length
    for (;;) {
      const at = this.#seq.length
      const n = Math.min(this.#seq.nextCut(at, end) - at, this.#runtime.scratch.maxRows)
      const state = { phase, done: at - from, total: end - from }
      const row = yield* this.#step(this.#ids.slice(at, at + n), end, state, layerNs)
      if (at + n === end) return row
    }
  }

  /** One step of the engine. Returns the logits after its last row. */
  *#step(
    ids: readonly number[],
    end: number,
    state: Progress,
    layerNs?: Float64Array,
  ): Generator<Progress, CandidateRow> {
    const work = { seq: this.#seq, ids, logits: "last" as const, end }
    let row: CandidateRow | undefined
    const steps = this.#runtime.steps([work], (logits) => {
      row = this.#candidates.read(logits, [this.#sampler.delta])[0]
    })
    let before = Bun.nanoseconds()
    for (const layer of steps) {
      const now = Bun.nanoseconds()
      if (layerNs) layerNs[layer]! += now - before
      before = now
      yield state
    }
    if (row!.bad) throw new NumericalError("The model computed NaN or infinity")
    this.#seq.verify()
    return row!
  }
}

/** Pages, rings and frontiers of a sequence of `context` tokens. */
function sequenceBytes({ config, backend }: Runtime, context: number): number {
  const sizes = kvSizes(config, backend)
  return Math.ceil(context / PAGE_TOKENS) * sizes.pageBytes + sizes.sequenceBytes
}

function hashOf(logits: Float32Array, chosen: readonly number[]): string {
  const seed = Bun.hash.xxHash64(new Uint8Array(Int32Array.from(chosen).buffer))
  const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength)
  return Bun.hash.xxHash64(bytes, seed).toString(16).padStart(16, "0")
}

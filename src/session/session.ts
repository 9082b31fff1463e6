/** One timeline for scripts: give it ids, get logits, sample, go back. The chat and the server use the
 *  scheduler instead, which runs many timelines in one step. */
import { NumericalError } from "../errors.ts"
import { Candidates } from "./candidates.ts"
import type { Runtime } from "./runtime.ts"
import type { Sampler } from "./sampler.ts"
import type { Sequence } from "./sequence.ts"

export class Session {
  readonly runtime: Runtime
  readonly sequence: Sequence
  readonly #candidates: Candidates
  #logits: Float32Array | null = null

  constructor(runtime: Runtime) {
    this.runtime = runtime
    this.sequence = runtime.sequence()
    this.#candidates = new Candidates(runtime.model.ops, 1, runtime.config.vocabSize)
  }

  /** Ids evaluated so far. */
  get tokens(): readonly number[] {
    return this.sequence.tokens
  }

  /** Logits [vocab] after the last token; empty before the first. */
  get logits(): Float32Array {
    return this.#logits ?? new Float32Array(0)
  }

  /** Makes the timeline equal to `ids`, computing only what is not there yet. Returns how many ids
   *  were reused. @throws ContextError beyond the context. */
  sync(ids: readonly number[]): number {
    const reused = this.sequence.sync(ids)
    this.append(ids.slice(reused))
    return reused
  }

  /** Evaluates more ids. @throws NumericalError when the model computes NaN; nothing is kept then. */
  append(ids: readonly number[]): void {
    const end = this.sequence.length + ids.length
    for (let at = 0; at < ids.length;) {
      const from = this.sequence.length
      const n = Math.min(
        this.sequence.nextCut(from, end) - from,
        this.runtime.scratch.maxRows,
        ids.length - at,
      )
      const work = { seq: this.sequence, ids: ids.slice(at, at + n), logits: "last" as const, end }
      this.runtime.step([work], (logits) => this.#take(logits.f32()))
      at += n
    }
  }

  /** Chooses the next id from the current logits; does not evaluate it. */
  sample(sampler: Sampler): number {
    const vocab = this.runtime.config.vocabSize
    const tensor = this.runtime.scratch.output(1).logits
    this.runtime.backend.write(tensor.buffer, tensor.offset, bytesOf(this.logits))
    const row = this.#candidates.read(tensor.reshape(1, vocab), [sampler.delta])[0]!
    return sampler.pick(row)
  }

  /** Goes back to the first n tokens and evaluates the last of them again if the logits are wanted. */
  rewind(n: number): void {
    this.sync(this.tokens.slice(0, n))
  }

  close(): void {
    this.runtime.release(this.sequence)
    this.#candidates.close()
  }

  #take(logits: Float32Array): void {
    this.#logits = logits.slice()
    if (this.#logits.every(Number.isFinite)) return this.sequence.verify()
    this.sequence.reset()
    this.#logits = null
    throw new NumericalError("The model computed NaN or infinity; the timeline was emptied")
  }
}

const bytesOf = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength)

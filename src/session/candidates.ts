/** What sampling gets to see of the logits: on the hot path the few ids near the best, on demand the
 *  whole row (design D4). */
import { CANDIDATE_LIMIT, CANDIDATE_WORDS, type Ops } from "../ops/ops.ts"
import { type DeviceBuffer, Tensor } from "../ops/tensor.ts"

export interface CandidateRow {
  /** Most likely id; the lowest among equals. */
  readonly argmax: number
  readonly max: number
  /** Logarithm of the sum of exp(logit): `logit - lse` is a log-probability. */
  readonly lse: number
  /** NaN or infinity among the logits, or nothing allowed. */
  readonly bad: boolean
  /** Ids within `delta` of the best in ascending order, and their logits. Valid until the next step. */
  candidates(delta: number): { ids: ArrayLike<number>; values: Float32Array }
  /** All logits of the row. Valid until the next step. */
  logits(): Float32Array
}

/** Where the parts of the memory for maxRows rows lie, and how large it is. */
export function candidateLayout(maxRows: number) {
  const list = 4 * maxRows * CANDIDATE_LIMIT
  const ids = Math.ceil((4 * maxRows * CANDIDATE_WORDS) / 64) * 64
  return { ids, values: ids + list, delta: ids + 2 * list, bytes: ids + 2 * list + 4 * maxRows }
}

export class Candidates {
  readonly #ops: Ops
  readonly #buffer: DeviceBuffer
  readonly #maxRows: number
  readonly #info: Int32Array
  readonly #infoF32: Float32Array
  readonly #delta: Float32Array
  readonly #offsets: ReturnType<typeof candidateLayout>

  /** Memory for up to maxRows rows at a time. */
  constructor(ops: Ops, maxRows: number) {
    this.#ops = ops
    this.#maxRows = maxRows
    this.#offsets = candidateLayout(maxRows)
    this.#buffer = ops.backend.alloc(this.#offsets.bytes, "sampling candidates")
    this.#info = new Int32Array(maxRows * CANDIDATE_WORDS)
    this.#infoF32 = new Float32Array(this.#info.buffer)
    this.#delta = new Float32Array(maxRows)
  }

  /** Looks at logits [n, vocab], n ≤ maxRows; `deltas` has the wish of each row's sampler. */
  read(logits: Tensor, deltas: readonly number[]): CandidateRow[] {
    const n = logits.dims[0]!
    if (n > this.#maxRows) throw new RangeError(`${n} rows of candidates, ${this.#maxRows} fit`)
    const { backend } = this.#ops
    for (let r = 0; r < n; r++) this.#delta[r] = Number.isFinite(deltas[r]!) ? deltas[r]! : 0
    const at = this.#offsets
    backend.write(this.#buffer, at.delta, new Uint8Array(this.#delta.buffer, 0, 4 * n))
    const tensor = (offset: number, type: "I32" | "F32", ...dims: number[]) =>
      new Tensor(this.#buffer, offset, type, dims)
    this.#ops.candidates(
      tensor(0, "I32", n, CANDIDATE_WORDS),
      tensor(at.ids, "I32", n, CANDIDATE_LIMIT),
      tensor(at.values, "F32", n, CANDIDATE_LIMIT),
      logits,
      null,
      tensor(at.delta, "F32", n),
      null,
      0,
    )
    backend.read(this.#buffer, 0, new Uint8Array(this.#info.buffer, 0, 4 * n * CANDIDATE_WORDS))
    return Array.from({ length: n }, (_, r) => this.#row(logits, r))
  }

  #row(logits: Tensor, r: number): CandidateRow {
    const at = r * CANDIDATE_WORDS
    const passed = this.#info[at + 4]!
    const row: CandidateRow = {
      argmax: this.#info[at]!,
      max: this.#infoF32[at + 1]!,
      lse: this.#infoF32[at + 2]!,
      bad: this.#info[at + 3] !== 0,
      logits: () => this.#whole(logits, r),
      candidates: (delta) => {
        if (Number.isFinite(delta) && passed <= CANDIDATE_LIMIT) return this.#list(r, passed)
        const values = row.logits()
        return { ids: Array.from(values, (_, i) => i), values }
      },
    }
    return row
  }

  #list(r: number, n: number) {
    const ids = new Int32Array(n)
    const values = new Float32Array(n)
    const { backend } = this.#ops
    const at = 4 * r * CANDIDATE_LIMIT
    backend.read(this.#buffer, this.#offsets.ids + at, new Uint8Array(ids.buffer))
    backend.read(this.#buffer, this.#offsets.values + at, new Uint8Array(values.buffer))
    return { ids, values }
  }

  #whole(logits: Tensor, r: number): Float32Array {
    const vocab = logits.dims[1]!
    const values = new Float32Array(vocab)
    const offset = logits.offset + 4 * r * vocab
    this.#ops.backend.read(logits.buffer, offset, new Uint8Array(values.buffer))
    return values
  }

  close(): void {
    this.#ops.backend.free(this.#buffer)
  }
}

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
  /** Ids within `delta` of the best in ascending order, and their logits; none that the row's mask leaves
   *  out. Valid until the next step. */
  candidates(delta: number): { ids: ArrayLike<number>; values: Float32Array }
  /** All logits of the row. Valid until the next step. */
  logits(): Float32Array
}

/** A bit for every id that may be chosen, 32 to a word; null: all. */
export type TokenMask = Int32Array | null

export type LogitBias = readonly [id: number, bias: number]

const roundUp = (bytes: number) => Math.ceil(bytes / 64) * 64

/** Where the parts of the memory for maxRows rows lie, and how large it is. */
export function candidateLayout(maxRows: number, vocab: number) {
  const list = 4 * maxRows * CANDIDATE_LIMIT
  const ids = roundUp(4 * maxRows * CANDIDATE_WORDS)
  const delta = ids + 2 * list
  const mask = delta + roundUp(4 * maxRows)
  const bytes = mask + 4 * maxRows * Math.ceil(vocab / 32)
  return { ids, values: ids + list, delta, mask, bytes }
}

export class Candidates {
  readonly #ops: Ops
  readonly #buffer: DeviceBuffer
  readonly #maxRows: number
  readonly #info: Int32Array
  readonly #infoF32: Float32Array
  readonly #delta: Float32Array
  readonly #masks: Int32Array
  /** Memory of biases, as large as was ever needed. */
  #biases: DeviceBuffer | null = null
  #biasBytes = 0
  readonly #offsets: ReturnType<typeof candidateLayout>

  /** Memory for up to maxRows rows of `vocab` logits at a time. */
  constructor(ops: Ops, maxRows: number, vocab: number) {
    this.#ops = ops
    this.#maxRows = maxRows
    this.#masks = new Int32Array(maxRows * Math.ceil(vocab / 32))
    this.#offsets = candidateLayout(maxRows, vocab)
    this.#buffer = ops.backend.alloc(this.#offsets.bytes, "sampling candidates")
    this.#info = new Int32Array(maxRows * CANDIDATE_WORDS)
    this.#infoF32 = new Float32Array(this.#info.buffer)
    this.#delta = new Float32Array(maxRows)
  }

  /** Looks at logits [n, vocab], n ≤ maxRows; `deltas` has the wish of each row's sampler, `masks` what
   *  each row may be, `biases` what is added to the logits, in place. */
  read(
    logits: Tensor,
    deltas: readonly number[],
    masks: readonly TokenMask[] = [],
    biases: readonly (readonly LogitBias[])[] = [],
  ): CandidateRow[] {
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
      this.#writeMasks(masks, n)
        ? tensor(at.mask, "I32", n, this.#masks.length / this.#maxRows)
        : null,
      tensor(at.delta, "F32", n),
      this.#bias(biases),
      biases.reduce((total, row) => total + row.length, 0),
    )
    backend.read(this.#buffer, 0, new Uint8Array(this.#info.buffer, 0, 4 * n * CANDIDATE_WORDS))
    return Array.from({ length: n }, (_, r) => this.#row(logits, r, masks[r] ?? null))
  }

  /** ds4_logit_bias records (row, id, value) of all rows, if there are any. */
  #bias(biases: readonly (readonly LogitBias[])[]): Tensor | null {
    const all = biases.flatMap((row, r) => row.map(([id, value]) => [r, id, value] as const))
    if (all.length === 0) return null
    const bytes = new DataView(new ArrayBuffer(12 * all.length))
    all.forEach(([r, id, value], i) => {
      bytes.setUint32(12 * i, r, true)
      bytes.setUint32(12 * i + 4, id, true)
      bytes.setFloat32(12 * i + 8, value, true)
    })
    const { backend } = this.#ops
    if (this.#biasBytes < bytes.byteLength) {
      if (this.#biases) backend.free(this.#biases)
      this.#biases = backend.alloc(bytes.byteLength, "logit biases")
      this.#biasBytes = bytes.byteLength
    }
    backend.write(this.#biases!, 0, new Uint8Array(bytes.buffer))
    return new Tensor(this.#biases!, 0, "I32", [3 * all.length])
  }

  /** Masks of the rows side by side, if any row has one. */
  #writeMasks(masks: readonly TokenMask[], n: number): boolean {
    if (masks.every((mask) => mask === null)) return false
    const words = this.#masks.length / this.#maxRows
    for (let r = 0; r < n; r++) {
      const mask = masks[r] ?? null
      const row = this.#masks.subarray(r * words, (r + 1) * words).fill(mask ? 0 : -1)
      if (mask) row.set(mask.subarray(0, words))
    }
    const bytes = new Uint8Array(this.#masks.buffer, 0, 4 * n * words)
    this.#ops.backend.write(this.#buffer, this.#offsets.mask, bytes)
    return true
  }

  #row(logits: Tensor, r: number, mask: TokenMask): CandidateRow {
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
        return allowed(row.logits(), mask)
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
    if (this.#biases) this.#ops.backend.free(this.#biases)
  }
}

/** Ids that a mask allows, and their logits. Whole rows are long: no callbacks. */
function allowed(logits: Float32Array, mask: TokenMask) {
  const ids = new Int32Array(logits.length)
  if (!mask) {
    for (let i = 0; i < ids.length; i++) ids[i] = i
    return { ids, values: logits }
  }
  const values = new Float32Array(logits.length)
  let n = 0
  for (let i = 0; i < logits.length; i++) {
    if (((mask[i >> 5]! >>> (i & 31)) & 1) === 0) continue
    ids[n] = i
    values[n++] = logits[i]!
  }
  return { ids: ids.subarray(0, n), values: values.subarray(0, n) }
}

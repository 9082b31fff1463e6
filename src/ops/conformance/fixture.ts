/** Where a case runs: a backend, seeded numbers, and tensors that go when the case is over. */
import type { GgmlType } from "../../gguf/types.ts"
import { type Backend, packedIndexBytes, packedKvBytes } from "../backend.ts"
import { type Pages } from "../kv-ops.ts"
import { Ops } from "../ops.ts"
import { type DeviceBuffer, Tensor, type TensorType, type TypedView } from "../tensor.ts"
import { f32ToF16 } from "../../quant/tables.ts"
import { activationForm, roundActivations } from "./activations.ts"
import { Numbers } from "./numbers.ts"

/** A token of a step. */
export interface RowSpec {
  readonly seq: number
  readonly pos: number
  readonly token?: number
}

/** n tokens of a sequence from position `pos` on. */
export const run = (seq: number, pos: number, n: number): RowSpec[] =>
  Array.from({ length: n }, (_, i) => ({ seq, pos: pos + i }))

export class Fixture implements Disposable {
  readonly ops: Ops
  readonly rand: Numbers
  /** True: activations are rounded to 8 bits before an op sees them. */
  readonly rounded: boolean
  readonly #buffers: DeviceBuffer[] = []

  constructor(backend: Backend, seed: number, rounded = false) {
    this.ops = new Ops(backend)
    this.rand = new Numbers(seed)
    this.rounded = rounded
  }

  /** Zeroed. */
  tensor(type: TensorType, ...dims: number[]): Tensor {
    const { bytes } = new Tensor({ address: 0, bytes: Number.MAX_SAFE_INTEGER }, 0, type, dims)
    const buffer = this.ops.backend.alloc(bytes, "a conformance case")
    this.#buffers.push(buffer)
    return new Tensor(buffer, 0, type, dims)
  }

  bytes(type: TensorType, dims: number[], values: Uint8Array): Tensor {
    const t = this.tensor(type, ...dims)
    this.ops.backend.write(t.buffer, 0, values)
    return t
  }

  floats(dims: number[], values: ArrayLike<number>): Tensor {
    return this.bytes("F32", dims, new Uint8Array(Float32Array.from(values).buffer))
  }

  ints(dims: number[], values: ArrayLike<number>): Tensor {
    return this.bytes("I32", dims, new Uint8Array(Int32Array.from(values).buffer))
  }

  normals(dims: number[], scale = 1): Tensor {
    return this.floats(dims, this.rand.normals(product(dims), scale))
  }

  weights(type: GgmlType, dims: number[], scale?: number): Tensor {
    return this.bytes(type, dims, this.rand.weights(type, product(dims), scale))
  }

  /** Input of a product with weights of a type, rounded where the case asks for it. */
  activations(type: TensorType, dims: number[], values: Float32Array): Tensor {
    const form = this.rounded ? activationForm(type) : undefined
    return this.floats(dims, form ? roundActivations(form, values) : values)
  }

  /** The table of a step's rows; `before` and `after` are counted. */
  rows(specs: readonly RowSpec[]): Tensor {
    const words = specs.flatMap(({ seq, pos, token = 0 }, i) => {
      let before = 0
      let after = 0
      while (specs[i - before - 1]?.seq === seq) before++
      while (specs[i + after + 1]?.seq === seq) after++
      return [seq, pos, token, before, after]
    })
    return this.ints([specs.length, 5], words)
  }

  /** Pages full of random packed rows, a shuffled page table of `tableLen` for each sequence. */
  pages(rowBytes: number, rows: Uint8Array, nSeqs: number, tableLen: number, ratio: number): Pages {
    const nPages = nSeqs * tableLen + 1
    return {
      rows: this.bytes("U8", [nPages, 128 / ratio, rowBytes], rows),
      table: this.ints([nSeqs, tableLen], this.rand.pick(nSeqs * tableLen, nPages)),
      ratio,
    }
  }

  /** Bytes of n packed attention rows: finite FP8 codes, an f16 tail, exponents near 2^-7. */
  kvRows(n: number, dim: number, ropeDim: number): Uint8Array {
    const size = packedKvBytes(dim, ropeDim)
    const plain = dim - ropeDim
    const out = this.rand.bytes(n * size)
    const view = new DataView(out.buffer)
    for (let at = 0; at < out.length; at += size) {
      for (let i = 0; i < plain; i++) if ((out[at + i]! & 127) === 127) out[at + i]! &= 0x80
      for (let i = 0; i < ropeDim; i++)
        view.setUint16(at + plain + 2 * i, f32ToF16(this.rand.normal()), true)
      for (let i = plain + 2 * ropeDim; i < size; i++) out[at + i] = 118 + this.rand.below(3)
    }
    return out
  }

  /** Bytes of n packed index rows with exponents of `exponent` or one below it. */
  indexRows(n: number, dim: number, exponent = 0): Uint8Array {
    const size = packedIndexBytes(dim)
    const out = this.rand.bytes(n * size)
    for (let at = 0; at < out.length; at += size)
      for (let i = dim / 2; i < size; i++) out[at + i] = 127 + exponent - this.rand.below(2)
    return out
  }

  /** A copy of a tensor's values. */
  read(t: Tensor): TypedView {
    const bytes = new Uint8Array(t.bytes)
    this.ops.backend.read(t.buffer, t.offset, bytes)
    if (t.type === "F32") return new Float32Array(bytes.buffer)
    return t.type === "I32" ? new Int32Array(bytes.buffer) : bytes
  }

  [Symbol.dispose](): void {
    for (const buffer of this.#buffers) this.ops.backend.free(buffer)
  }
}

export const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1)

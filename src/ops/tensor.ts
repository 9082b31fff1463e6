/** A tensor is numbers: a buffer, a byte offset, a ggml type and dims. Views are made on demand and
 *  not kept (design D2): permanent views over 80 GB of weights would stop the garbage collector. */
import { ShapeError } from "../errors.ts"
import { GGML_TYPES, type GgmlType, type GgmlTypeInfo } from "../gguf/types.ts"

/** Element type of a tensor: a ggml type, or plain bytes (packed rows of KV memory). */
export type TensorType = GgmlType | "U8"

const TYPES: Readonly<Record<TensorType, Omit<GgmlTypeInfo, "name">>> = {
  ...GGML_TYPES,
  U8: { id: -1, blockElems: 1, blockBytes: 1 },
}

/** The ggml id of a type, as kernels know it. */
export const typeId = (type: TensorType): number => TYPES[type].id

/** Memory of a backend: an allocation, or a mapped file. */
export interface DeviceBuffer {
  /** Address on the device; host address on the CPU. 0 for a backend without addresses. */
  readonly address: number
  readonly bytes: number
  /** Zero-copy view of host-visible memory; absent where the device is not the host. */
  bytesAt?(offset: number, length: number): Uint8Array
}

export type TypedView = Float32Array | Int32Array | Uint8Array

/** Bytes of `n` elements of a type that lie in one row; n must fill whole blocks. */
export function rowBytes(type: TensorType, n: number): number {
  const t = TYPES[type]
  if (n % t.blockElems !== 0)
    throw new ShapeError(`A row of ${n} ${type} elements does not fill blocks of ${t.blockElems}`)
  return (n / t.blockElems) * t.blockBytes
}

export class Tensor {
  readonly buffer: DeviceBuffer
  /** Byte offset in the buffer. */
  readonly offset: number
  readonly type: TensorType
  /** Outermost first, contiguous last: a GGUF matrix with ne = [in, out] has dims [out, in]. */
  readonly dims: readonly number[]
  readonly address: number
  /** Product of the dims. */
  readonly size: number
  readonly bytes: number

  constructor(buffer: DeviceBuffer, offset: number, type: TensorType, dims: readonly number[]) {
    this.buffer = buffer
    this.offset = offset
    this.type = type
    this.dims = dims
    this.size = dims.reduce((a, b) => a * b, 1)
    this.bytes = this.size === 0 ? 0 : (this.size / dims.at(-1)!) * rowBytes(type, dims.at(-1)!)
    if (offset < 0 || offset + this.bytes > buffer.bytes)
      throw new ShapeError(
        `Tensor [${dims}] of ${this.bytes} bytes at ${offset} leaves its buffer of ${buffer.bytes}`,
      )
    this.address = buffer.address + offset
  }

  /** Zero-copy typed array over the tensor: f32 and i32 as numbers, all else as bytes. */
  view(): TypedView {
    const b = this.raw()
    if (this.type === "F32") return new Float32Array(b.buffer, b.byteOffset, b.byteLength / 4)
    if (this.type === "I32") return new Int32Array(b.buffer, b.byteOffset, b.byteLength / 4)
    return b
  }

  /** view() of an f32 tensor. */
  f32(): Float32Array {
    const v = this.view()
    if (!(v instanceof Float32Array)) throw new ShapeError(`Tensor is ${this.type}, not F32`)
    return v
  }

  /** view() of an i32 tensor. */
  i32(): Int32Array {
    const v = this.view()
    if (!(v instanceof Int32Array)) throw new ShapeError(`Tensor is ${this.type}, not I32`)
    return v
  }

  /** The bytes of the tensor, zero-copy. */
  raw(): Uint8Array {
    if (!this.buffer.bytesAt)
      throw new ShapeError("Cannot view a tensor that is not in host memory")
    return this.buffer.bytesAt(this.offset, this.bytes)
  }

  /** The same memory under other dims of the same product. */
  reshape(...dims: number[]): Tensor {
    const t = new Tensor(this.buffer, this.offset, this.type, dims)
    if (t.size !== this.size) throw new ShapeError(`Cannot reshape [${this.dims}] to [${dims}]`)
    return t
  }

  /** Rows [from, to) of the outermost dim. */
  slice(from: number, to: number): Tensor {
    const [n = 0, ...rest] = this.dims
    if (from < 0 || to < from || to > n) throw new ShapeError(`Rows ${from}..${to} of ${n}`)
    return new Tensor(this.buffer, this.offset + (this.bytes / n) * from, this.type, [
      to - from,
      ...rest,
    ])
  }

  /** Throws unless type (where not null) and dims are these. Takes no arrays: it runs some thousand
   *  times a token. */
  expect(what: string, type: TensorType | null, d0: number, d1?: number, d2?: number): void {
    const d = this.dims
    const n = d1 === undefined ? 1 : d2 === undefined ? 2 : 3
    if (d.length !== n || d[0] !== d0 || (n > 1 && d[1] !== d1) || (n > 2 && d[2] !== d2))
      throw new ShapeError(`${what} is [${d}], expected [${[d0, d1, d2].slice(0, n)}]`)
    if (type !== null && type !== this.type)
      throw new ShapeError(`${what} is ${this.type}, expected ${type}`)
  }
}

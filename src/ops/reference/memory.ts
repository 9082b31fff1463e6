/** Memory of the reference backend: zeroed byte arrays, mapped files, and decoded weights. */
import { NativeError } from "../../errors.ts"
import type { ByteSource, GgmlType } from "../../gguf/types.ts"
import { dequantize } from "../../quant/decode.ts"
import { type DeviceBuffer, rowBytes, type Tensor } from "../tensor.ts"
import { ROW_WORDS } from "../shapes.ts"

/** A zeroed buffer with views; it has no address. */
export function hostBuffer(bytes: number): DeviceBuffer {
  const memory = new ArrayBuffer(bytes)
  return { address: 0, bytes, bytesAt: (offset, length) => new Uint8Array(memory, offset, length) }
}

export function mappedBuffer(source: ByteSource): DeviceBuffer {
  return {
    address: 0,
    bytes: source.size,
    bytesAt: (offset, length) => source.bytes(offset, length),
  }
}

/** One row of a step, read from the row table. */
export interface Row {
  seq: number
  pos: number
  token: number
  before: number
  after: number
}

/** The step's rows. @throws NativeError if a token is beyond `vocab` or a sequence beyond `nSeqs`. */
export function readRows(op: string, rows: Tensor, limit: { vocab?: number; nSeqs?: number } = {}) {
  const table = rows.i32()
  return Array.from({ length: rows.dims[0]! }, (_, r): Row => {
    const [seq, pos, token, before, after] = table.subarray(r * ROW_WORDS, (r + 1) * ROW_WORDS)
    if (limit.vocab !== undefined && (token! < 0 || token! >= limit.vocab))
      throw new NativeError(`${op}: row ${r} has token ${token} of ${limit.vocab}`)
    if (limit.nSeqs !== undefined && (seq! < 0 || seq! >= limit.nSeqs))
      throw new NativeError(`${op}: row ${r} is of sequence ${seq} of ${limit.nSeqs}`)
    return { seq: seq!, pos: pos!, token: token!, before: before!, after: after! }
  })
}

/** Matrices decoded to f32 are kept up to so many bytes; larger ones are decoded row by row. */
const CACHE_BYTES = 768 * 2 ** 20
const CACHED_MATRIX_BYTES = 64 * 2 ** 20

/** Weights as f32 numbers. Small matrices are decoded once and kept, least recently used first out. */
export class WeightReader {
  readonly #cache = new Map<string, Float32Array>()
  readonly #ids = new WeakMap<DeviceBuffer, number>()
  #bytes = 0
  #nextId = 0

  /** Calls `take(o, data, base)` for each of n rows of `w` from row `first` on: row o's values are
   *  data[base] … data[base + cols - 1]. */
  eachRow(
    w: Tensor,
    first: number,
    n: number,
    cols: number,
    take: (o: number, data: Float32Array, base: number) => void,
  ): void {
    if (w.type === "F32") {
      const data = w.f32()
      for (let o = 0; o < n; o++) take(o, data, (first + o) * cols)
    } else if (4 * n * cols <= CACHED_MATRIX_BYTES) {
      const data = this.#matrix(w, first, n, cols)
      for (let o = 0; o < n; o++) take(o, data, o * cols)
    } else {
      const row = new Float32Array(cols)
      for (let o = 0; o < n; o++) {
        dequantize(w.type as GgmlType, bytesOfRows(w, first + o, 1, cols), row)
        take(o, row, 0)
      }
    }
  }

  /** One row, decoded anew. */
  row(w: Tensor, index: number, cols: number): Float32Array {
    const out = new Float32Array(cols)
    dequantize(w.type as GgmlType, bytesOfRows(w, index, 1, cols), out)
    return out
  }

  #matrix(w: Tensor, first: number, n: number, cols: number): Float32Array {
    const key = `${this.#id(w.buffer)}:${w.offset}:${first}:${n}`
    const known = this.#cache.get(key)
    if (known) {
      this.#cache.delete(key)
      this.#cache.set(key, known)
      return known
    }
    const data = new Float32Array(n * cols)
    dequantize(w.type as GgmlType, bytesOfRows(w, first, n, cols), data)
    if (w.buffer.bytesAt === undefined) return data
    this.#cache.set(key, data)
    this.#bytes += data.byteLength
    for (const [oldest, old] of this.#cache) {
      if (this.#bytes <= CACHE_BYTES) break
      this.#cache.delete(oldest)
      this.#bytes -= old.byteLength
    }
    return data
  }

  #id(buffer: DeviceBuffer): number {
    let id = this.#ids.get(buffer)
    if (id === undefined) {
      id = this.#nextId++
      this.#ids.set(buffer, id)
    }
    return id
  }

  /** Forgets decoded weights of memory that was written. */
  forget(): void {
    this.#cache.clear()
    this.#bytes = 0
  }
}

function bytesOfRows(w: Tensor, first: number, n: number, cols: number): Uint8Array {
  const size = rowBytes(w.type, cols)
  return w.buffer.bytesAt!(w.offset + first * size, n * size)
}

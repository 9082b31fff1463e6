/** What the tests of the native library share: the library, its variants, seeded numbers, row tables. */
import { ensureNativeLibrary } from "../../ffi/build.ts"
import { abiOf, openContext, openLibrary } from "../../ffi/library.ts"
import { type GgmlType, rowBytes } from "../../src/gguf/types.ts"
import type { Backend } from "../../src/ops/backend.ts"
import { openCpu } from "../../src/ops/native.ts"
import { Tensor, type TensorType } from "../../src/ops/tensor.ts"
import { f32ToF16 } from "../../src/quant/tables.ts"

export const LIBRARY: string = await ensureNativeLibrary({ onProgress: console.error })
const symbols = openLibrary(LIBRARY)

/** Instruction sets that this machine has. */
export const ISAS: string[] = await instructionSets()

async function instructionSets(): Promise<string[]> {
  const ctx = openContext(symbols, { threads: 1 })
  const { isas } = abiOf(symbols, ctx)
  symbols.ds4_close(ctx)
  return isas
}

/** A backend with an allocator of tensors; everything goes when it is closed. */
export class Machine implements Disposable {
  readonly backend: Backend
  readonly #buffers: ReturnType<Backend["alloc"]>[] = []

  constructor(isa: string | undefined = undefined, threads = 1) {
    this.backend = openCpu({ isa, threads })
  }

  tensor(type: TensorType, ...dims: number[]): Tensor {
    const bytes = new Tensor({ address: 0, bytes: Number.MAX_SAFE_INTEGER }, 0, type, dims).bytes
    const buffer = this.backend.alloc(bytes, "a test")
    this.#buffers.push(buffer)
    return new Tensor(buffer, 0, type, dims)
  }

  /** An f32 tensor of these numbers. */
  floats(dims: number[], values: ArrayLike<number>): Tensor {
    const t = this.tensor("F32", ...dims)
    t.f32().set(values)
    return t
  }

  ints(dims: number[], values: ArrayLike<number>): Tensor {
    const t = this.tensor("I32", ...dims)
    t.i32().set(values)
    return t
  }

  bytes(type: TensorType, dims: number[], values: Uint8Array): Tensor {
    const t = this.tensor(type, ...dims)
    t.raw().set(values)
    return t
  }

  [Symbol.dispose](): void {
    for (const b of this.#buffers) this.backend.free(b)
    this.backend.close()
  }
}

/** Numbers from a seed (xorshift32): the same on every machine. */
export class Numbers {
  #state: number
  constructor(seed: number) {
    this.#state = seed | 1
  }
  u32(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return x >>> 0
  }
  below(n: number): number {
    return this.u32() % n
  }
  /** Roughly normal. */
  normal(): number {
    let sum = 0
    for (let i = 0; i < 6; i++) sum += this.u32() / 2 ** 32
    return (sum - 3) * Math.SQRT2
  }
  normals(n: number, scale = 1): Float32Array {
    return Float32Array.from({ length: n }, () => this.normal() * scale)
  }
  bytes(n: number): Uint8Array {
    return Uint8Array.from({ length: n }, () => this.u32() >>> 24)
  }
  /** Bytes of n weights of a type: any bytes are codes, but scales must be of a size to calculate with. */
  weights(type: GgmlType, n: number, scale = 0.02): Uint8Array {
    if (type === "F32") return new Uint8Array(this.normals(n, scale).buffer)
    const bytes = this.bytes(rowBytes(type, n))
    const view = new DataView(bytes.buffer)
    const half = (at: number, value: number) => view.setUint16(at, f32ToF16(value), true)
    for (let at = 0; at < bytes.length; at += HALVES[type].step) {
      const small = Math.abs(this.normal() * scale) + scale / 8
      if (type === "F16") half(at, this.normal() * scale)
      if (type === "BF16") view.setFloat32(0, 0, true)
      for (const offset of HALVES[type].at) half(at + offset, small)
      if (type === "MXFP4") bytes[at] = 118 + this.below(6)
    }
    if (type === "BF16") bytes.set(bfloats(this.normals(n, scale)))
    return bytes
  }
}

const HALVES: Record<GgmlType, { step: number; at: number[] }> = {
  F32: { step: 4, at: [] },
  F16: { step: 2, at: [] },
  BF16: { step: 1 << 30, at: [] },
  I32: { step: 4, at: [] },
  Q8_0: { step: 34, at: [0] },
  Q2_K: { step: 84, at: [80, 82] },
  Q4_K: { step: 144, at: [0, 2] },
  IQ2_XXS: { step: 66, at: [0] },
  MXFP4: { step: 17, at: [] },
}

function bfloats(values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(values.buffer)
  return bytes.filter((_, i) => i % 4 >= 2)
}

/** One row of a step. */
export interface Row {
  seq: number
  pos: number
  token: number
}

/** The row table of a step: `before` and `after` are counted among its rows. */
export function rowTable(m: Machine, rows: Row[]): Tensor {
  const same = (a: Row | undefined, b: Row) => a?.seq === b.seq
  const words = rows.flatMap((row, i) => {
    let before = 0
    let after = 0
    while (same(rows[i - before - 1], row)) before++
    while (same(rows[i + after + 1], row)) after++
    return [row.seq, row.pos, row.token, before, after]
  })
  return m.ints([rows.length, 5], words)
}

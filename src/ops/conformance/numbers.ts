/** Seeded numbers of the conformance cases: the same on every machine. */
import { type GgmlType, rowBytes } from "../../gguf/types.ts"
import { f32ToBf16, f32ToF16 } from "../../quant/tables.ts"

/** A xorshift32 generator. */
export class Numbers {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 1
    for (let i = 0; i < 8; i++) this.u32()
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

  /** Mean 0, variance 1: a sum of four evenly spread numbers. */
  normal(): number {
    const sum = this.u32() + this.u32() + this.u32() + this.u32()
    return (sum / 2 ** 32 - 2) * Math.sqrt(3)
  }

  normals(n: number, scale = 1): Float32Array {
    const out = new Float32Array(n)
    for (let i = 0; i < n; i++) out[i] = this.normal() * scale
    return out
  }

  bytes(n: number): Uint8Array {
    const words = new Uint32Array(Math.ceil(n / 4))
    for (let i = 0; i < words.length; i++) words[i] = this.u32()
    return new Uint8Array(words.buffer, 0, n)
  }

  ints(n: number, below: number): Int32Array {
    return Int32Array.from({ length: n }, () => this.below(below))
  }

  /** k different numbers below n. */
  pick(k: number, n: number): number[] {
    const left = Array.from({ length: n }, (_, i) => i)
    return Array.from({ length: k }, () => left.splice(this.below(left.length), 1)[0]!)
  }

  /** Bytes of n weights of a type, of mean 0 and a deviation near `scale`; codes are any bytes. */
  weights(type: GgmlType, n: number, scale = 0.02): Uint8Array {
    if (type === "F32") return new Uint8Array(this.normals(n, scale).buffer)
    if (type === "F16" || type === "BF16") {
      const bits = type === "F16" ? f32ToF16 : f32ToBf16
      return new Uint8Array(Uint16Array.from(this.normals(n, scale), bits).buffer)
    }
    const bytes = this.bytes(rowBytes(type, n))
    const view = new DataView(bytes.buffer)
    const { step, halves } = BLOCKS[type]
    const exponent = 127 + Math.round(Math.log2(scale / 3))
    for (let at = 0; at < bytes.length; at += step) {
      const size = (Math.abs(this.normal()) + 0.125) * scale
      for (const [offset, part] of halves) view.setUint16(at + offset, f32ToF16(size * part), true)
      if (type === "MXFP4") bytes[at] = exponent + this.below(4) - 2
    }
    return bytes
  }
}

type BlockType = Exclude<GgmlType, "F32" | "F16" | "BF16">

/** Bytes of a block, and its f16 scales: byte offset, and size for weights near 1. A block's least
 *  value (dmin) is such that random codes have a mean of 0. Spec §14. */
const BLOCKS: Record<BlockType, { step: number; halves: readonly (readonly [number, number])[] }> =
  {
    I32: { step: 4, halves: [] },
    Q8_0: { step: 34, halves: [[0, 1 / 74]] },
    Q2_K: {
      step: 84,
      halves: [
        [80, 1 / 16],
        [82, 1.5 / 16],
      ],
    },
    Q4_K: {
      step: 144,
      halves: [
        [0, 1 / 300],
        [2, 7.5 / 300],
      ],
    },
    IQ2_XXS: { step: 66, halves: [[0, 1 / 45]] },
    MXFP4: { step: 17, halves: [] },
  }

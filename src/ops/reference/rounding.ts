/** The low-precision steps of the model, and the packed form of what went through them. Spec §8. */
import {
  ceilLog2,
  E2M1_SIGNED,
  E4M3,
  e2m1Code,
  e4m3Code,
  F16_VALUES,
  f32ToF16,
} from "../../quant/tables.ts"

const FP8_BLOCK = 64
const FP4_BLOCK = 32

function largest(v: Float32Array, from: number, n: number, floor: number): number {
  let a = Math.fround(floor)
  for (let i = from; i < from + n; i++) {
    const x = Math.abs(v[i]!)
    if (x > a || Number.isNaN(x)) a = x
  }
  return a
}

/** Exponent of the scale of an FP8 block: `⌈log2(max(|v|, 1e-4) / 448)⌉`. */
const fp8Exponent = (v: Float32Array, at: number) =>
  ceilLog2(Math.fround(largest(v, at, FP8_BLOCK, 1e-4) * Math.fround(1 / 448)))

/** Exponent of the scale of an FP4 block: `⌈log2(max|v| / 6)⌉`. */
const fp4Exponent = (v: Float32Array, at: number) =>
  ceilLog2(Math.fround(largest(v, at, FP4_BLOCK, 7.052966104933725e-38) / 6))

/** E4M3 in blocks of 64 on the first `plain` elements from `at`, f16 on the `ropeDim` after them. */
export function roundKvRow(v: Float32Array, at: number, plain: number, ropeDim: number): void {
  for (let b = at; b < at + plain; b += FP8_BLOCK) {
    const scale = 2 ** fp8Exponent(v, b)
    for (let i = b; i < b + FP8_BLOCK; i++) {
      const x = v[i]! / scale
      const value = Number.isNaN(x) ? x : E4M3[e4m3Code(Math.min(Math.abs(x), 448))]! * scale
      v[i] = x < 0 || Object.is(x, -0) ? -value : value
    }
  }
  for (let i = at + plain; i < at + plain + ropeDim; i++) v[i] = F16_VALUES[f32ToF16(v[i]!)]!
}

/** Hadamard transform of dim elements in natural order, times dim^-½, then E2M1 in blocks of 32. */
export function roundIndexRow(v: Float32Array, at: number, dim: number): void {
  for (let stride = 1; stride < dim; stride *= 2)
    for (let i = 0; i < dim; i++) {
      if (Math.floor(i / stride) % 2 !== 0) continue
      const [a, b] = [v[at + i]!, v[at + i + stride]!]
      v[at + i] = a + b
      v[at + i + stride] = a - b
    }
  const norm = Math.fround(1 / Math.sqrt(dim))
  for (let i = at; i < at + dim; i++) v[i] = v[i]! * norm
  for (let b = at; b < at + dim; b += FP4_BLOCK) {
    const scale = 2 ** fp4Exponent(v, b)
    for (let i = b; i < b + FP4_BLOCK; i++) {
      const x = v[i]! / scale
      const value = E2M1_SIGNED[e2m1Code(Math.min(Math.abs(x), 6))]! * scale
      v[i] = Number.isNaN(x) ? x : x < 0 || Object.is(x, -0) ? -value : value
    }
  }
}

/** Bytes of a rounded attention row: FP8 codes, f16 tail, one exponent a block. */
export function packKvRow(v: Float32Array, at: number, dim: number, rope: number, out: Uint8Array) {
  const plain = dim - rope
  const bytes = new DataView(out.buffer, out.byteOffset, out.byteLength)
  out.fill(0)
  for (let b = 0; b < plain; b += FP8_BLOCK) {
    const exponent = fp8Exponent(v, at + b)
    out[plain + 2 * rope + b / FP8_BLOCK] = exponent + 127
    for (let i = b; i < b + FP8_BLOCK; i++) {
      const x = v[at + i]! / 2 ** exponent
      out[i] = e4m3Code(Math.abs(x)) + (x < 0 || Object.is(x, -0) ? 128 : 0)
    }
  }
  for (let i = 0; i < rope; i++) bytes.setUint16(plain + 2 * i, f32ToF16(v[at + plain + i]!), true)
}

export function unpackKvRow(
  packed: Uint8Array,
  dim: number,
  rope: number,
  out: Float32Array,
): void {
  const plain = dim - rope
  const bytes = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  for (let i = 0; i < plain; i++) {
    const scale = 2 ** (packed[plain + 2 * rope + Math.floor(i / FP8_BLOCK)]! - 127)
    const value = E4M3[packed[i]! % 128]! * scale
    out[i] = packed[i]! >= 128 ? -value : value
  }
  for (let i = 0; i < rope; i++) out[plain + i] = F16_VALUES[bytes.getUint16(plain + 2 * i, true)]!
}

/** Bytes of a rounded index row: two FP4 codes a byte (element 2j low), one exponent a block. */
export function packIndexRow(v: Float32Array, at: number, dim: number, out: Uint8Array): void {
  out.fill(0)
  for (let b = 0; b < dim; b += FP4_BLOCK) {
    const exponent = fp4Exponent(v, at + b)
    out[dim / 2 + b / FP4_BLOCK] = Math.max(exponent + 127, 0)
    for (let i = b; i < b + FP4_BLOCK; i++) {
      const x = v[at + i]! / 2 ** exponent
      const code = e2m1Code(Math.abs(x)) + (x < 0 || Object.is(x, -0) ? 8 : 0)
      out[Math.floor(i / 2)]! += i % 2 === 0 ? code : 16 * code
    }
  }
}

export function unpackIndexRow(packed: Uint8Array, dim: number, out: Float32Array): void {
  for (let i = 0; i < dim; i++) {
    const byte = packed[Math.floor(i / 2)]!
    const code = i % 2 === 0 ? byte % 16 : Math.floor(byte / 16)
    out[i] = E2M1_SIGNED[code]! * 2 ** (packed[dim / 2 + Math.floor(i / FP4_BLOCK)]! - 127)
  }
}

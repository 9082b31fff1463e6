import { ShapeError } from "../errors.ts"
import { rowBytes } from "../gguf/types.ts"
import type { GgmlType } from "../gguf/types.ts"
import { E2M1_SIGNED, E8M0, F16_VALUES, IQ2XXS_GRID, IQ2XXS_SIGNS } from "./tables.ts"

/** Decodes whole blocks: `out.length` weights from as many blocks as they take. Every product of a
 *  scale and a code fits the 24 bits of an f32, so the one subtraction in Q2_K and Q4_K is the only
 *  rounding: any engine that computes these formulas in f32 must get the same bits.
 *  @throws ShapeError if `bytes` and `out` disagree */
export function dequantize(type: GgmlType, bytes: Uint8Array, out: Float32Array): void {
  const expected = rowBytes(type, out.length)
  if (bytes.byteLength !== expected)
    throw new ShapeError(
      `Cannot decode ${out.length} ${type} weights: ${bytes.byteLength} bytes, expected ${expected}`,
    )
  decoders[type](bytes, out)
}

/** Decodes row `row` of a matrix [cols, rows] whose bytes (or a part of them from row 0) are given.
 *  `out` [cols] f32. */
export function dequantizeRow(
  type: GgmlType,
  bytes: Uint8Array,
  row: number,
  out: Float32Array,
): void {
  const size = rowBytes(type, out.length)
  const from = row * size
  if (!(row >= 0 && from + size <= bytes.byteLength))
    throw new ShapeError(
      `Cannot decode row ${row}: rows take ${size} bytes, ${bytes.byteLength} are given`,
    )
  dequantize(type, bytes.subarray(from, from + size), out)
}

const decoders: Record<GgmlType, (bytes: Uint8Array, out: Float32Array) => void> = {
  F32: decodeF32,
  F16: decodeF16,
  BF16: decodeBF16,
  I32: decodeI32,
  Q8_0: decodeQ8_0,
  Q2_K: decodeQ2_K,
  Q4_K: decodeQ4_K,
  IQ2_XXS: decodeIQ2_XXS,
  MXFP4: decodeMXFP4,
}

function decodeF32(bytes: Uint8Array, out: Float32Array): void {
  new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes)
}

/** Integers as they are; beyond 2^24 an f32 is not exact, and token tables stay far below. */
function decodeI32(bytes: Uint8Array, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let i = 0; i < out.length; i++) out[i] = view.getInt32(i * 4, true)
}

function decodeF16(bytes: Uint8Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = f16At(bytes, i * 2)
}

function decodeBF16(bytes: Uint8Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length)
  for (let i = 0; i < out.length; i++) bits[i] = (bytes[i * 2]! << 16) | (bytes[i * 2 + 1]! << 24)
}

function f16At(bytes: Uint8Array, at: number): number {
  return F16_VALUES[bytes[at]! | (bytes[at + 1]! << 8)]!
}

/** `y = d·q`, 32 weights in 34 bytes: f16 d, i8 q[32]. Spec §14.1. */
function decodeQ8_0(bytes: Uint8Array, out: Float32Array): void {
  for (let to = 0, at = 0; to < out.length; to += 32, at += 34) {
    const d = f16At(bytes, at)
    for (let i = 0; i < 32; i++) out[to + i] = d * ((bytes[at + 2 + i]! << 24) >> 24)
  }
}

/** `y = d·(S & 15)·q - dmin·(S >> 4)`, 256 weights in 84 bytes: u8 scales[16], u8 qs[64], f16 d,
 *  f16 dmin. Spec §14.2. */
function decodeQ2_K(bytes: Uint8Array, out: Float32Array): void {
  for (let to = 0, at = 0; to < out.length; to += 256, at += 84) {
    const d = f16At(bytes, at + 80)
    const dmin = f16At(bytes, at + 82)
    for (let sub = 0; sub < 16; sub++) {
      const scale = bytes[at + sub]!
      const dl = d * (scale & 15)
      const ml = dmin * (scale >> 4)
      // Sub-block 8h + 2j + half holds elements 128h + 32j + 16half + 0..15.
      const qs = at + 16 + (sub >> 3) * 32 + (sub & 1) * 16
      const shift = ((sub >> 1) & 3) * 2
      for (let l = 0; l < 16; l++)
        out[to + sub * 16 + l] = dl * ((bytes[qs + l]! >> shift) & 3) - ml
    }
  }
}

/** Scale and minimum of the 8 sub-blocks of Q4_K from their 12 bytes, into `sc` and `mn`. */
export function unpackQ4KScales(
  bytes: Uint8Array,
  at: number,
  sc: Uint8Array,
  mn: Uint8Array,
): void {
  for (let j = 0; j < 4; j++) {
    const a = bytes[at + j]!
    const b = bytes[at + j + 4]!
    const c = bytes[at + j + 8]!
    sc[j] = a & 63
    mn[j] = b & 63
    sc[j + 4] = (c & 15) | ((a >> 6) << 4)
    mn[j + 4] = (c >> 4) | ((b >> 6) << 4)
  }
}

/** `y = d·sc·q - dmin·mn`, 256 weights in 144 bytes: f16 d, f16 dmin, u8 s[12], u8 qs[128].
 *  Spec §14.3. */
function decodeQ4_K(bytes: Uint8Array, out: Float32Array): void {
  const sc = new Uint8Array(8)
  const mn = new Uint8Array(8)
  for (let to = 0, at = 0; to < out.length; to += 256, at += 144) {
    const d = f16At(bytes, at)
    const dmin = f16At(bytes, at + 2)
    unpackQ4KScales(bytes, at + 4, sc, mn)
    for (let j = 0; j < 8; j++) {
      const dl = d * sc[j]!
      const ml = dmin * mn[j]!
      const qs = at + 16 + (j >> 1) * 32
      const shift = (j & 1) * 4
      for (let l = 0; l < 32; l++) out[to + j * 32 + l] = dl * ((bytes[qs + l]! >> shift) & 15) - ml
    }
  }
}

/** `y = d·(0.5 + s)·0.25·grid[g][k]·(±1)`, 256 weights in 66 bytes: f16 d, then for each 32 weights
 *  u8 g[4] and u32 s << 28 | four sign indices of 7 bits. Spec §14.4. */
function decodeIQ2_XXS(bytes: Uint8Array, out: Float32Array): void {
  for (let to = 0, at = 0; to < out.length; to += 256, at += 66) {
    const d = f16At(bytes, at)
    for (let ib = 0; ib < 8; ib++) {
      const group = at + 2 + ib * 8
      const low = bytes[group + 4]! | (bytes[group + 5]! << 8) | (bytes[group + 6]! << 16)
      const word = low | (bytes[group + 7]! << 24)
      const scale = d * (0.5 + (word >>> 28)) * 0.25
      for (let l = 0; l < 4; l++) {
        const grid = bytes[group + l]! * 8
        const signs = IQ2XXS_SIGNS[(word >>> (7 * l)) & 127]!
        for (let k = 0; k < 8; k++) {
          const value = scale * IQ2XXS_GRID[grid + k]!
          out[to + ib * 32 + l * 8 + k] = (signs >> k) & 1 ? -value : value
        }
      }
    }
  }
}

/** `y = 2^(e - 127)·E2M1`, 32 weights in 17 bytes: u8 e, then 16 bytes with element j in the low and
 *  element j + 16 in the high nibble. Spec §14.6. */
function decodeMXFP4(bytes: Uint8Array, out: Float32Array): void {
  for (let to = 0, at = 0; to < out.length; to += 32, at += 17) {
    const scale = E8M0[bytes[at]!]!
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 1 + j]!
      out[to + j] = scale * E2M1_SIGNED[pair & 15]!
      out[to + j + 16] = scale * E2M1_SIGNED[pair >> 4]!
    }
  }
}

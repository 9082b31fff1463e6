import { Ds4Error } from "../../errors.ts"
import {
  ceilLog2,
  E2M1,
  e2m1Code,
  E8M0,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  roundEven,
} from "../tables.ts"
import { putF16 } from "./k-quants.ts"
import type { BlockEncoder } from "./k-quants.ts"

/** Formats without a search: F32, F16, BF16, Q8_0 and MXFP4 (which tries three scales). */

export const encodeF32: BlockEncoder = (x, _w, out) => {
  out.set(new Uint8Array(x.buffer, x.byteOffset, x.byteLength))
}

export const encodeF16: BlockEncoder = (x, _w, out) => {
  for (let i = 0; i < x.length; i++) {
    const bits = f32ToF16(x[i]!)
    if ((bits & 0x7fff) === 0x7c00)
      throw new Ds4Error(`Cannot encode F16: ${x[i]} is beyond the greatest value, 65504`)
    out[i * 2] = bits & 255
    out[i * 2 + 1] = bits >> 8
  }
}

export const encodeBF16: BlockEncoder = (x, _w, out) => {
  for (let i = 0; i < x.length; i++) {
    const bits = f32ToBf16(x[i]!)
    out[i * 2] = bits & 255
    out[i * 2 + 1] = bits >> 8
  }
}

/** `d = max|x| / 127` as f16, `q = round(x / d)`. Spec §14.1. */
export const encodeQ8_0: BlockEncoder = (x, _w, out) => {
  let most = 0
  for (const v of x) most = Math.max(most, Math.abs(v))
  const bits = f32ToF16(Math.min(65504, most / 127))
  const d = f16ToF32(bits)
  putF16(out, 0, d)
  for (let i = 0; i < x.length; i++) {
    const q = d > 0 ? Math.max(-127, Math.min(127, roundEven(x[i]! / d))) : 0
    out[2 + i] = q & 255
  }
}

/** The scale of least weighted error among the one that just holds the greatest weight and its two
 *  neighbours; exact for weights that came from MXFP4 or from the official FP4. Spec §14.6. */
export const encodeMXFP4: BlockEncoder = (x, w, out) => {
  let most = 0
  for (const v of x) most = Math.max(most, Math.abs(v))
  const fitting = Math.max(0, Math.min(254, 127 + ceilLog2(Math.fround(most / 6))))
  let [best, exponent] = [Number.POSITIVE_INFINITY, fitting]
  for (let e = Math.max(0, fitting - 1); e <= Math.min(254, fitting + 1); e++) {
    const scale = E8M0[e]!
    let error = 0
    for (let i = 0; i < x.length; i++) {
      const size = Math.abs(x[i]!)
      const rest = size - scale * E2M1[e2m1Code(size / scale)]!
      error += w[i]! * rest * rest
    }
    if (error < best) [best, exponent] = [error, e]
  }
  const scale = E8M0[exponent]!
  out[0] = exponent
  for (let j = 0; j < 16; j++) out[1 + j] = nibble(x[j]!, scale) | (nibble(x[j + 16]!, scale) << 4)
}

function nibble(x: number, scale: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 8 : 0
  return sign | e2m1Code(Math.abs(x) / scale)
}

import { f32ToF16 } from "../tables.ts"
import { AffineBlock } from "./affine.ts"

/** Encodes rows of one super-block; `x` and `w` hold 256 values from `at`. */
export type BlockEncoder = (block: Float32Array, w: Float64Array, out: Uint8Array) => void

/** Writes one Q2_K block of 84 bytes; the layout is in decode.ts. Spec §14.2. */
export function q2kEncoder(): BlockEncoder {
  const block = new AffineBlock({ subBlock: 16, maxCode: 3, maxStep: 15 })
  return (x, w, out) => {
    block.x.set(x)
    block.w.set(w)
    block.fit()
    out.fill(0)
    for (let sub = 0; sub < 16; sub++) {
      out[sub] = block.sc[sub]! | (block.mn[sub]! << 4)
      const qs = 16 + (sub >> 3) * 32 + (sub & 1) * 16
      const shift = ((sub >> 1) & 3) * 2
      for (let l = 0; l < 16; l++) out[qs + l]! |= block.q[sub * 16 + l]! << shift
    }
    putF16(out, 80, block.d)
    putF16(out, 82, block.dmin)
  }
}

/** Writes one Q4_K block of 144 bytes. Spec §14.3. */
export function q4kEncoder(): BlockEncoder {
  const block = new AffineBlock({ subBlock: 32, maxCode: 15, maxStep: 63 })
  return (x, w, out) => {
    block.x.set(x)
    block.w.set(w)
    block.fit()
    putF16(out, 0, block.d)
    putF16(out, 2, block.dmin)
    for (let j = 0; j < 4; j++) {
      const sc = block.sc[j + 4]!
      const mn = block.mn[j + 4]!
      out[4 + j] = block.sc[j]! | ((sc >> 4) << 6)
      out[8 + j] = block.mn[j]! | ((mn >> 4) << 6)
      out[12 + j] = (sc & 15) | ((mn & 15) << 4)
    }
    for (let pair = 0; pair < 4; pair++) {
      for (let l = 0; l < 32; l++) {
        const low = block.q[pair * 64 + l]!
        out[16 + pair * 32 + l] = low | (block.q[pair * 64 + 32 + l]! << 4)
      }
    }
  }
}

export function putF16(out: Uint8Array, at: number, x: number): void {
  const bits = f32ToF16(x)
  out[at] = bits & 255
  out[at + 1] = bits >> 8
}

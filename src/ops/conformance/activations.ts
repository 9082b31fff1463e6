/** Activations as 8-bit kernels see them: rounded to codes and back. The reference fed with these must
 *  agree with such a kernel closely, so that only the rounding itself needs a wide bound. Spec §13. */
import { roundEven } from "../../quant/tables.ts"
import type { TensorType } from "../tensor.ts"

export type ActivationForm = "Q8_0" | "Q8_K"

/** How a backend may round the activations that meet weights of a type; undefined: not at all. */
export function activationForm(weights: TensorType): ActivationForm | undefined {
  if (weights === "Q8_0" || weights === "MXFP4") return "Q8_0"
  if (weights === "Q2_K" || weights === "Q4_K" || weights === "IQ2_XXS") return "Q8_K"
  return undefined
}

/** The values of x after rounding; x fills whole blocks. */
export function roundActivations(form: ActivationForm, x: Float32Array): Float32Array {
  const out = new Float32Array(x.length)
  const size = form === "Q8_0" ? 32 : 256
  for (let at = 0; at < x.length; at += size) {
    const { d, codes } = (form === "Q8_0" ? q8_0 : q8K)(x.subarray(at, at + size))
    codes.forEach((q, i) => {
      out[at + i] = d * q
    })
  }
  return out
}

/** One block in 8 bits: x ≈ d · codes. */
export interface Block8 {
  readonly d: number
  readonly codes: Int8Array
}

/** `d = max|x| / 127`, `q = rint(x · (1 / d))`, every step in f32; ties to even. */
export function q8_0(x: Float32Array): Block8 {
  const d = Math.fround(x.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 127)
  return { d, codes: encode(x, d === 0 ? 0 : Math.fround(1 / d)) }
}

/** With m the first x of the largest magnitude: `is = -127 / m`, `q = min(127, rint(is · x))`,
 *  `d = 1 / is`; nothing but zeros where m = 0. */
export function q8K(x: Float32Array): Block8 {
  const m = x.reduce((most, v) => (Math.abs(v) > Math.abs(most) ? v : most), 0)
  if (m === 0) return { d: 0, codes: new Int8Array(x.length) }
  const scale = Math.fround(-127 / m)
  return { d: Math.fround(1 / scale), codes: encode(x, scale) }
}

function encode(x: Float32Array, scale: number): Int8Array {
  const code = (v: number) => Math.max(-127, Math.min(127, roundEven(Math.fround(v * scale))))
  return Int8Array.from(x, code)
}

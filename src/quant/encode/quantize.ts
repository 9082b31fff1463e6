import { Ds4Error, ShapeError } from "../../errors.ts"
import { GGML_TYPES, rowBytes } from "../../gguf/types.ts"
import type { GgmlType } from "../../gguf/types.ts"
import { iq2xxsEncoder } from "./iq2xxs.ts"
import { q2kEncoder, q4kEncoder } from "./k-quants.ts"
import type { BlockEncoder } from "./k-quants.ts"
import { encodeBF16, encodeF16, encodeF32, encodeMXFP4, encodeQ8_0 } from "./plain.ts"

/** Encodes a matrix [cols, rows] of f32 weights, row after row, in whole blocks. The encoders of
 *  Q2_K, Q4_K, IQ2_XXS and MXFP4 look for the least `Σ importance[col] · (x - decoded)²`; without
 *  `importance` [cols] all columns count alike. The other formats have nothing to choose.
 *  @throws ShapeError if lengths disagree, Ds4Error for NaN or infinity */
export function quantize(
  type: GgmlType,
  x: Float32Array,
  cols: number,
  importance?: Float32Array,
): Uint8Array {
  const bytesPerRow = rowBytes(type, cols)
  if (cols === 0 || x.length % cols !== 0)
    throw new ShapeError(`Cannot encode ${x.length} weights in rows of ${cols}`)
  checkFinite(x)
  const { blockElems, blockBytes } = GGML_TYPES[type]
  // Formats of single elements take a row at once.
  const step = blockElems === 1 ? cols : blockElems
  const stepBytes = blockElems === 1 ? bytesPerRow : blockBytes
  const weights = columnWeights(cols, importance)
  const encode = encoderOf(type)
  const out = new Uint8Array((x.length / cols) * bytesPerRow)
  for (let from = 0, to = 0; from < x.length; from += step, to += stepBytes) {
    const col = from % cols
    const block = x.subarray(from, from + step)
    encode(block, weights.subarray(col, col + step), out.subarray(to, to + stepBytes))
  }
  return out
}

function encoderOf(type: GgmlType): BlockEncoder {
  switch (type) {
    case "F32":
      return encodeF32
    case "F16":
      return encodeF16
    case "BF16":
      return encodeBF16
    case "Q8_0":
      return encodeQ8_0
    case "MXFP4":
      return encodeMXFP4
    case "Q2_K":
      return q2kEncoder()
    case "Q4_K":
      return q4kEncoder()
    case "IQ2_XXS":
      return iq2xxsEncoder()
    case "I32":
      throw new ShapeError("Cannot encode weights as I32: it holds tables of integers")
  }
}

function checkFinite(x: Float32Array): void {
  for (let i = 0; i < x.length; i++)
    if (!Number.isFinite(x[i])) throw new Ds4Error(`Cannot encode: weight ${i} is ${x[i]}`)
}

// What a column without importance counts, as a part of the mean: it still gets sensible codes.
const LEAST_WEIGHT = 1e-6

function columnWeights(cols: number, importance: Float32Array | undefined): Float64Array {
  const weights = new Float64Array(cols).fill(1)
  if (!importance) return weights
  if (importance.length !== cols)
    throw new ShapeError(`Cannot encode: ${importance.length} importances for ${cols} columns`)
  let sum = 0
  for (const [col, value] of importance.entries()) {
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw new Ds4Error(`Cannot encode: the importance of column ${col} is ${value}`)
    sum += value
  }
  if (sum === 0) return weights
  const mean = sum / cols
  for (let col = 0; col < cols; col++) weights[col] = importance[col]! / mean + LEAST_WEIGHT
  return weights
}

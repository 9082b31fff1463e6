/** Reading goldens and comparing numbers. */
import { readFileSync } from "node:fs"

/** A file of little-endian float32. */
export function readF32(path: string): Float32Array {
  const b = readFileSync(path)
  return new Float32Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength))
}

/** A file of little-endian int32. */
export function readI32(path: string): Int32Array {
  const b = readFileSync(path)
  return new Int32Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength))
}

/** Whitespace-separated ids. */
export function readIds(path: string): number[] {
  return readFileSync(path, "utf8").trim().split(/\s+/).map(Number)
}

export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let worst = 0
  for (let i = 0; i < b.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!))
  return a.length === b.length ? worst : Number.POSITIVE_INFINITY
}

/** ‖a - b‖ / ‖b‖. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0
  let norm = 0
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return a.length === b.length ? Math.sqrt(difference / norm) : Number.POSITIVE_INFINITY
}

export function argmax(x: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < x.length; i++) if (x[i]! > x[best]!) best = i
  return best
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!
}

/** Median over positions of the relative RMS error of logits [n, vocab], and how often the best token
 *  is the same. */
export function compareLogits(ours: Float32Array, theirs: Float32Array, vocab: number, n: number) {
  const errors: number[] = []
  let same = 0
  for (let p = 0; p < n; p++) {
    const a = ours.subarray(p * vocab, (p + 1) * vocab)
    const b = theirs.subarray(p * vocab, (p + 1) * vocab)
    const mean = b.reduce((x, y) => x + y, 0) / vocab
    let difference = 0
    let variance = 0
    for (let i = 0; i < vocab; i++) {
      difference += (a[i]! - b[i]!) ** 2
      variance += (b[i]! - mean) ** 2
    }
    errors.push(Math.sqrt(difference / variance))
    if (argmax(a) === argmax(b)) same++
  }
  return { relative: quantile(errors, 0.5), argmax: same / n }
}

import { f16ToF32, f32ToF16 } from "../tables.ts"

/** The search that Q2_K and Q4_K share. A super-block of 256 weights is cut into sub-blocks with
 *  `x ≈ (d·sc)·q - (dmin·mn)`, where sc and mn are small integers and d and dmin are f16. First each
 *  sub-block finds its own real scale and minimum, then d and dmin are chosen, then every sub-block
 *  takes the integers whose true error is least, and d and dmin are refitted to what was taken.
 *  All errors are weighted sums of squares of the decoded weights, so nothing is approximated. */
export class AffineBlock {
  /** Input: the weights and their importance. */
  readonly x = new Float64Array(256)
  readonly w = new Float64Array(256)
  /** Result. */
  d = 0
  dmin = 0
  readonly sc: Uint8Array
  readonly mn: Uint8Array
  readonly q = new Uint8Array(256)

  readonly #subs: number
  readonly #size: number
  /** The greatest code, and the greatest sc and mn. */
  readonly #maxCode: number
  readonly #maxStep: number
  // Real scale and minimum of each sub-block.
  readonly #scale: Float64Array
  readonly #min: Float64Array
  // The best so far while other d and dmin are tried.
  readonly #bestSc: Uint8Array
  readonly #bestMn: Uint8Array

  constructor(shape: { subBlock: number; maxCode: number; maxStep: number }) {
    this.#size = shape.subBlock
    this.#subs = 256 / shape.subBlock
    this.#maxCode = shape.maxCode
    this.#maxStep = shape.maxStep
    this.#scale = new Float64Array(this.#subs)
    this.#min = new Float64Array(this.#subs)
    this.sc = new Uint8Array(this.#subs)
    this.mn = new Uint8Array(this.#subs)
    this.#bestSc = new Uint8Array(this.#subs)
    this.#bestMn = new Uint8Array(this.#subs)
  }

  /** Fills d, dmin, sc, mn and q from x and w. */
  fit(): void {
    let maxScale = 0
    let maxMin = 0
    for (let sub = 0; sub < this.#subs; sub++) {
      this.#fitSubBlock(sub)
      maxScale = Math.max(maxScale, this.#scale[sub]!)
      maxMin = Math.max(maxMin, this.#min[sub]!)
    }
    let best = Number.POSITIVE_INFINITY
    let bestD = 0
    let bestDmin = 0
    for (const factor of START_FACTORS) {
      this.d = toF16((maxScale / this.#maxStep) * factor)
      this.dmin = toF16(maxMin / this.#maxStep)
      for (let round = 0; round < ROUNDS; round++) {
        const error = this.#assign()
        if (error < best) {
          best = error
          bestD = this.d
          bestDmin = this.dmin
          this.#bestSc.set(this.sc)
          this.#bestMn.set(this.mn)
        } else if (round > 0) break
        if (!this.#refit()) break
      }
    }
    this.d = bestD
    this.dmin = bestDmin
    this.sc.set(this.#bestSc)
    this.mn.set(this.#bestMn)
    for (let sub = 0; sub < this.#subs; sub++) this.#codes(sub)
  }

  /** Least-squares scale and minimum of one sub-block: start from ranges of several widths, round,
   *  solve for scale and minimum, and again as long as it helps. */
  #fitSubBlock(sub: number): void {
    const from = sub * this.#size
    let low = 0
    let high = -Number.MAX_VALUE
    let sumW = 0
    for (let i = from; i < from + this.#size; i++) {
      const x = this.x[i]!
      if (x < low) low = x
      if (x > high) high = x
      sumW += this.w[i]!
    }
    this.#scale[sub] = 0
    this.#min[sub] = -low
    if (high <= low || sumW === 0) return
    let best = Number.POSITIVE_INFINITY
    const solved = this.#solved
    for (let step = 0; step < WIDTHS; step++) {
      const shrink = 1 - step * WIDTH_STEP
      let scale = ((high - low) * shrink) / this.#maxCode
      // Ranges shrink around their middle; a minimum above zero cannot be stored.
      let min = Math.max(0, -low - ((high - low) * (1 - shrink)) / 2)
      for (let round = 0; round < SUB_ROUNDS; round++) {
        this.#solve(from, scale, min)
        if (!(solved[2]! < best * (1 - 1e-9))) break
        best = solved[2]!
        scale = this.#scale[sub] = solved[0]!
        min = this.#min[sub] = solved[1]!
      }
    }
  }

  // Scale, minimum and error as found by #solve.
  readonly #solved = new Float64Array(3)

  /** Codes for a scale and minimum, then the best scale and minimum for these codes. */
  #solve(from: number, scale: number, min: number): void {
    const { x: xs, w: ws } = this
    const inverse = scale > 0 ? 1 / scale : 0
    const maxCode = this.#maxCode
    let [sw, sq, sqq, sx, sxx, sxq] = [0, 0, 0, 0, 0, 0]
    for (let i = from; i < from + this.#size; i++) {
      const x = xs[i]!
      const w = ws[i]!
      const real = (x + min) * inverse
      const q = real <= 0 ? 0 : real >= maxCode ? maxCode : (real + 0.5) | 0
      sw += w
      sq += w * q
      sqq += w * q * q
      sx += w * x
      sxx += w * x * x
      sxq += w * x * q
    }
    const det = sw * sqq - sq * sq
    let a = det > 0 ? (sw * sxq - sq * sx) / det : 0
    let b = (a * sq - sx) / sw
    if (b < 0) {
      b = 0
      a = sqq > 0 ? sxq / sqq : 0
    }
    if (a < 0) {
      a = 0
      b = Math.max(0, -sx / sw)
    }
    this.#solved[0] = a
    this.#solved[1] = b
    this.#solved[2] = sxx + a * a * sqq + b * b * sw + 2 * (b * sx - a * sxq - a * b * sq)
  }

  /** Gives every sub-block the sc and mn of least error for this d and dmin. */
  #assign(): number {
    let total = 0
    for (let sub = 0; sub < this.#subs; sub++) {
      const sc0 = this.#nearest(this.#scale[sub]!, this.d)
      const mn0 = this.#nearest(this.#min[sub]!, this.dmin)
      let best = Number.POSITIVE_INFINITY
      for (let mn = Math.max(0, mn0 - 1); mn <= Math.min(this.#maxStep, mn0 + 1); mn++) {
        for (let sc = Math.max(0, sc0 - 1); sc <= Math.min(this.#maxStep, sc0 + 1); sc++) {
          const error = this.#error(sub, sc, mn, best)
          if (error >= best) continue
          best = error
          this.sc[sub] = sc
          this.mn[sub] = mn
        }
      }
      total += best
    }
    return total
  }

  #nearest(value: number, unit: number): number {
    return unit > 0 ? Math.min(this.#maxStep, Math.round(value / unit)) : 0
  }

  /** The true error of a sub-block; stops when it is beyond `limit`. */
  #error(sub: number, sc: number, mn: number, limit: number): number {
    const { x: xs, w: ws } = this
    const scale = this.d * sc
    const min = this.dmin * mn
    const inverse = scale > 0 ? 1 / scale : 0
    const maxCode = this.#maxCode
    const from = sub * this.#size
    let error = 0
    for (let i = from; i < from + this.#size && error < limit; i++) {
      const shifted = xs[i]! + min
      const real = shifted * inverse
      const q = real <= 0 ? 0 : real >= maxCode ? maxCode : (real + 0.5) | 0
      const rest = shifted - scale * q
      error += ws[i]! * rest * rest
    }
    return error
  }

  #codes(sub: number): void {
    const scale = this.d * this.sc[sub]!
    const min = this.dmin * this.mn[sub]!
    const inverse = scale > 0 ? 1 / scale : 0
    for (let i = sub * this.#size; i < (sub + 1) * this.#size; i++) {
      const real = (this.x[i]! + min) * inverse
      this.q[i] = real <= 0 ? 0 : real >= this.#maxCode ? this.#maxCode : (real + 0.5) | 0
    }
  }

  /** The d and dmin of least error for the sc, mn and codes as they are; false if unchanged. */
  #refit(): boolean {
    let [uu, uv, vv, xu, xv] = [0, 0, 0, 0, 0]
    for (let sub = 0; sub < this.#subs; sub++) {
      this.#codes(sub)
      const v = this.mn[sub]!
      for (let i = sub * this.#size; i < (sub + 1) * this.#size; i++) {
        const w = this.w[i]!
        const u = this.sc[sub]! * this.q[i]!
        uu += w * u * u
        uv += w * u * v
        vv += w * v * v
        xu += w * this.x[i]! * u
        xv += w * this.x[i]! * v
      }
    }
    const det = uu * vv - uv * uv
    if (!(det > 1e-12 * uu * vv)) return false
    const d = toF16((xu * vv - xv * uv) / det)
    const dmin = toF16((xu * uv - xv * uu) / det)
    if (!(d > 0 && dmin >= 0) || (d === this.d && dmin === this.dmin)) return false
    this.d = d
    this.dmin = dmin
    return true
  }
}

// Ranges tried for a sub-block: 1, 0.95, 0.9 … of its full one.
const WIDTHS = 10
const WIDTH_STEP = 0.05
const SUB_ROUNDS = 4
const ROUNDS = 4
// First guesses for d, as factors of the one that makes the greatest scale the greatest step.
const START_FACTORS = [1, 0.92, 1.08]

const MAX_F16 = 65504

/** The nearest f16 that is finite. */
function toF16(x: number): number {
  return f16ToF32(f32ToF16(Math.max(-MAX_F16, Math.min(MAX_F16, x))))
}

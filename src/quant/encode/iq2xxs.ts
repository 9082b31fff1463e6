import { f16ToF32, f32ToF16, IQ2XXS_CODES, IQ2XXS_GRID, IQ2XXS_LEVELS } from "../tables.ts"
import { putF16 } from "./k-quants.ts"
import type { BlockEncoder } from "./k-quants.ts"

// How the search works. Eight weights x with importance w share a grid entry g of the 256, signs
// and a scale c > 0. With each sign that of its weight the error is
//
//   Σ w (|x| - c·g)² = Σ w x² - 2c·P + c²·Q,   P = Σ w|x|·g,   Q = Σ w·g².
//
// The format stores even numbers of minus signs only. If there are an odd number, one sign must be
// wrong; the least costly is the k with the least w|x|·g, and P falls by twice that. P and Q do not
// depend on c, so they are computed once for all 256 entries; for any scale the best entry is then
// the greatest 2c·P - c²·Q, exactly. In h = c/2 that is a straight line P - h·Q per entry, so only
// the ten or so lines of the upper envelope matter; the others are dropped once. Four such vectors
// share one of 16 scales c = d·(0.5 + s)/4, eight of these groups share d.

const VECTORS = 32
const GROUPS = 8
const ENTRIES = 256

// The halves of four elements that occur, as 8 bits of the code.
const HALVES = Uint8Array.from(
  new Set([...IQ2XXS_CODES].flatMap((code) => [code & 255, code >> 8])),
)

/** Root of the mean square of the grid's levels, as a first guess of |x| / c. */
const GRID_RMS = Math.sqrt(IQ2XXS_GRID.reduce((sum, v) => sum + v * v, 0) / IQ2XXS_GRID.length)

// First guesses of a group's scale, as factors of rms(x) / GRID_RMS.
const SCALE_FACTORS = [0.6, 0.75, 0.9, 1.05, 1.2, 1.4]
const SCALE_ROUNDS = 3
// Half scales at which lines are compared for pruning, as factors of the guess; 0 and infinity too.
const PROBES = [0.7, 1, 1.4]
// The entry of eight lowest levels has the least Q of all.
const LEAST_ENTRY = 0
// Which of the 16 steps the greatest scale of a block may take.
const TOP_STEPS = [15.5, 15, 14.5, 13.5, 12.5, 11.5, 10.5, 9.5]

/** Writes one IQ2_XXS block of 66 bytes. Spec §14.4. */
export function iq2xxsEncoder(): BlockEncoder {
  const block = new Iq2Block()
  return (x, w, out) => block.encode(x, w, out)
}

class Iq2Block {
  // P and Q of every entry for the vector in work.
  readonly #p = new Float64Array(ENTRIES)
  readonly #q = new Float64Array(ENTRIES)
  // The entries that can be best, their P and Q, [32, 256], and how many they are.
  readonly #keptEntry = new Uint8Array(VECTORS * ENTRIES)
  readonly #keptP = new Float64Array(VECTORS * ENTRIES)
  readonly #keptQ = new Float64Array(VECTORS * ENTRIES)
  readonly #kept = new Uint16Array(VECTORS)
  // Where the best line changes between two probes, and its value there.
  readonly #kinkAt = new Float64Array(PROBES.length + 1)
  readonly #kinkValue = new Float64Array(PROBES.length + 1)
  readonly #half = {
    p: [new Float64Array(256), new Float64Array(256)],
    q: [new Float64Array(256), new Float64Array(256)],
    least: [new Float64Array(256), new Float64Array(256)],
  }
  // Real scale, step and sum of squares of each group.
  readonly #scale = new Float64Array(GROUPS)
  readonly #step = new Uint8Array(GROUPS)
  readonly #bestStep = new Uint8Array(GROUPS)
  // Sums over the entries that #gain chose.
  #chosenP = 0
  #chosenQ = 0

  encode(x: Float32Array, w: Float64Array, out: Uint8Array): void {
    let greatest = 0
    for (let group = 0; group < GROUPS; group++) {
      const guess = scaleGuess(group, x, w)
      for (let vector = group * 4; vector < group * 4 + 4; vector++) {
        this.#tabulate(vector, x, w)
        this.#prune(vector, guess / 2)
      }
      this.#scale[group] = guess > 0 ? this.#realScale(group, guess) : 0
      greatest = Math.max(greatest, this.#scale[group]!)
    }
    const d = this.#chooseD(greatest)
    out.fill(0)
    putF16(out, 0, d)
    if (d === 0) return
    for (let group = 0; group < GROUPS; group++) this.#write(group, d, x, w, out)
  }

  /** P and Q of all entries for one vector, by way of its two halves. */
  #tabulate(vector: number, x: Float32Array, w: Float64Array): void {
    let minus = 0
    for (let half = 0; half < 2; half++) {
      const from = vector * 8 + half * 4
      const p = this.#half.p[half]!
      const q = this.#half.q[half]!
      const least = this.#half.least[half]!
      const w0 = w[from]!
      const w1 = w[from + 1]!
      const w2 = w[from + 2]!
      const w3 = w[from + 3]!
      const x0 = x[from]!
      const x1 = x[from + 1]!
      const x2 = x[from + 2]!
      const x3 = x[from + 3]!
      minus += (x0 < 0 ? 1 : 0) + (x1 < 0 ? 1 : 0) + (x2 < 0 ? 1 : 0) + (x3 < 0 ? 1 : 0)
      const wx0 = w0 * Math.abs(x0)
      const wx1 = w1 * Math.abs(x1)
      const wx2 = w2 * Math.abs(x2)
      const wx3 = w3 * Math.abs(x3)
      for (let i = 0; i < HALVES.length; i++) {
        const code = HALVES[i]!
        const g0 = LEVEL[code & 3]!
        const g1 = LEVEL[(code >> 2) & 3]!
        const g2 = LEVEL[(code >> 4) & 3]!
        const g3 = LEVEL[code >> 6]!
        const a0 = wx0 * g0
        const a1 = wx1 * g1
        const a2 = wx2 * g2
        const a3 = wx3 * g3
        const low = a0 < a1 ? a0 : a1
        const high = a2 < a3 ? a2 : a3
        p[code] = a0 + a1 + a2 + a3
        q[code] = w0 * g0 * g0 + w1 * g1 * g1 + w2 * g2 * g2 + w3 * g3 * g3
        least[code] = low < high ? low : high
      }
    }
    this.#join(minus % 2)
  }

  #join(odd: number): void {
    const [pLow, pHigh] = this.#half.p as [Float64Array, Float64Array]
    const [qLow, qHigh] = this.#half.q as [Float64Array, Float64Array]
    const [leastLow, leastHigh] = this.#half.least as [Float64Array, Float64Array]
    for (let g = 0; g < ENTRIES; g++) {
      const code = IQ2XXS_CODES[g]!
      const low = code & 255
      const high = code >> 8
      const flip = odd * 2 * Math.min(leastLow[low]!, leastHigh[high]!)
      this.#p[g] = pLow[low]! + pHigh[high]! - flip
      this.#q[g] = qLow[low]! + qHigh[high]!
    }
  }

  /** Keeps the entries whose line is the highest for some h ≥ 0. Between two probes the highest
   *  lines of both meet in a kink; a line that is highest anywhere between is above the kink. */
  #prune(vector: number, guess: number): void {
    const p = this.#p
    const q = this.#q
    let last = this.#highest(0)
    let kinks = 0
    const lines = this.#lines.fill(0)
    const kinkAt = this.#kinkAt
    const kinkValue = this.#kinkValue
    lines[last] = 1
    for (let probe = 0; probe <= PROBES.length; probe++) {
      const next = probe < PROBES.length ? this.#highest(guess * PROBES[probe]!) : LEAST_ENTRY
      lines[next] = 1
      if (q[last]! > q[next]!) {
        const at = (p[last]! - p[next]!) / (q[last]! - q[next]!)
        kinkAt[kinks] = at
        kinkValue[kinks++] = p[next]! - at * q[next]!
      }
      last = next
    }
    let to = vector * ENTRIES
    for (let g = 0; g < ENTRIES; g++) {
      let keep = lines[g] === 1
      for (let i = 0; i < kinks && !keep; i++) keep = p[g]! - kinkAt[i]! * q[g]! > kinkValue[i]!
      if (!keep) continue
      this.#keptEntry[to] = g
      this.#keptP[to] = p[g]!
      this.#keptQ[to++] = q[g]!
    }
    this.#kept[vector] = to - vector * ENTRIES
  }

  readonly #lines = new Uint8Array(ENTRIES)

  #highest(h: number): number {
    const p = this.#p
    const q = this.#q
    let best = 0
    let most = p[0]! - h * q[0]!
    for (let g = 1; g < ENTRIES; g++) {
      const value = p[g]! - h * q[g]!
      if (value > most) {
        most = value
        best = g
      }
    }
    return best
  }

  /** The place of the best of the kept entries of a vector at half scale h. */
  #best(vector: number, h: number): number {
    const p = this.#keptP
    const q = this.#keptQ
    let best = vector * ENTRIES
    const end = best + this.#kept[vector]!
    let most = p[best]! - h * q[best]!
    for (let at = best + 1; at < end; at++) {
      const value = p[at]! - h * q[at]!
      if (value > most) {
        most = value
        best = at
      }
    }
    return best
  }

  /** How much the best entries of a group at scale c take from the error; leaves their ΣP and ΣQ. */
  #gain(group: number, c: number): number {
    let sumP = 0
    let sumQ = 0
    for (let vector = group * 4; vector < group * 4 + 4; vector++) {
      const best = this.#best(vector, c / 2)
      sumP += this.#keptP[best]!
      sumQ += this.#keptQ[best]!
    }
    this.#chosenP = sumP
    this.#chosenQ = sumQ
    return c * (2 * sumP - c * sumQ)
  }

  /** The scale that a group would take if it were free: from several guesses, choose entries and
   *  solve for the scale, `c = ΣP / ΣQ`, until it stays. */
  #realScale(group: number, guess: number): number {
    let [best, bestGain] = [0, 0]
    for (const factor of SCALE_FACTORS) {
      let c = guess * factor
      for (let round = 0; round < SCALE_ROUNDS; round++) {
        this.#gain(group, c)
        const next = Math.max(0, this.#chosenP / this.#chosenQ)
        // What these entries give at their own best scale.
        const gain = next * this.#chosenP
        if (gain > bestGain) [best, bestGain] = [next, gain]
        if (Math.abs(next - c) <= 1e-6 * c) break
        c = next
      }
    }
    return best
  }

  /** The f16 d, and in #step the step of every group, of greatest gain. */
  #chooseD(greatest: number): number {
    let [bestD, bestGain] = [0, 0]
    if (greatest === 0) return 0
    for (const top of TOP_STEPS) {
      let d = toF16((greatest * 4) / top)
      for (let round = 0; round < 2 && d > 0; round++) {
        const refit = this.#assign(d)
        if (refit.gain > bestGain) {
          bestD = d
          bestGain = refit.gain
          this.#bestStep.set(this.#step)
        }
        const next = toF16(refit.d)
        if (next === d) break
        d = next
      }
    }
    this.#step.set(this.#bestStep)
    return bestD
  }

  /** The best of the two nearest steps for every group, and the d that would then be best. */
  #assign(d: number): { gain: number; d: number } {
    let [gain, up, uu] = [0, 0, 0]
    for (let group = 0; group < GROUPS; group++) {
      const real = (this.#scale[group]! * 4) / d - 0.5
      const low = Math.max(0, Math.min(15, Math.floor(real)))
      let [most, bestP, bestQ, bestUnit] = [Number.NEGATIVE_INFINITY, 0, 0, 0]
      for (let s = low; s <= Math.min(15, low + 1); s++) {
        const unit = (0.5 + s) / 4
        const g = this.#gain(group, d * unit)
        if (g <= most) continue
        most = g
        bestP = this.#chosenP
        bestQ = this.#chosenQ
        bestUnit = unit
        this.#step[group] = s
      }
      gain += most
      up += bestUnit * bestP
      uu += bestUnit * bestUnit * bestQ
    }
    return { gain, d: uu > 0 ? up / uu : 0 }
  }

  #write(group: number, d: number, x: Float32Array, w: Float64Array, out: Uint8Array): void {
    const s = this.#step[group]!
    const half = (d * (0.5 + s)) / 8
    const to = 2 + group * 8
    let word = s * 2 ** 28
    for (let l = 0; l < 4; l++) {
      const vector = group * 4 + l
      const entry = this.#keptEntry[this.#best(vector, half)]!
      out[to + l] = entry
      word += signIndex(vector * 8, entry, x, w) * 2 ** (7 * l)
    }
    for (let i = 0; i < 4; i++) out[to + 4 + i] = Math.floor(word / 2 ** (8 * i)) % 256
  }
}

/** A first guess of a group's scale, from its root mean square. */
function scaleGuess(group: number, x: Float32Array, w: Float64Array): number {
  let [wxx, ww] = [0, 0]
  for (let i = group * 32; i < group * 32 + 32; i++) {
    wxx += w[i]! * x[i]! * x[i]!
    ww += w[i]!
  }
  return wxx > 0 ? Math.sqrt(wxx / ww) / GRID_RMS : 0
}

/** The 7 bits of the signs: those of the weights, and if their number of minus signs is odd, the
 *  one changed that costs least. Bit 7 follows from the others. */
function signIndex(from: number, entry: number, x: Float32Array, w: Float64Array): number {
  let [bits, minus, least, flip] = [0, 0, Number.POSITIVE_INFINITY, 0]
  for (let k = 0; k < 8; k++) {
    const value = x[from + k]!
    if (value < 0) {
      bits += 2 ** k
      minus++
    }
    const cost = w[from + k]! * Math.abs(value) * IQ2XXS_GRID[entry * 8 + k]!
    if (cost < least) [least, flip] = [cost, k]
  }
  if (minus % 2 === 1) bits ^= 1 << flip
  return bits & 127
}

const LEVEL = Float64Array.of(...IQ2XXS_LEVELS, 0)
const MAX_F16 = 65504

function toF16(x: number): number {
  return f16ToF32(f32ToF16(Math.min(MAX_F16, x)))
}

import { GGML_TYPES } from "../gguf/types.ts"
import type { GgmlType } from "../gguf/types.ts"
import { E2M1, f32ToF16, IQ2XXS_GRID } from "../quant/tables.ts"
import type { Fill } from "./synthetic-shape.ts"

/** Small fast counter RNG (sfc32): the same seed and name give the same numbers everywhere. */
export class Random {
  readonly #state = new Int32Array(4)

  constructor(seed: number, name = "") {
    const s = this.#state
    s[0] = seed
    s[1] = Bun.hash.crc32(name)
    s[2] = 0x9e3779b9
    s[3] = 1
    for (let i = 0; i < 16; i++) this.u32()
  }

  u32(): number {
    const s = this.#state
    const [a, b, c, d] = [s[0]!, s[1]!, s[2]!, s[3]!]
    const out = (a + b + d) | 0
    s[3] = d + 1
    s[0] = b ^ (b >>> 9)
    s[1] = (c + (c << 3)) | 0
    s[2] = ((c << 21) | (c >>> 11)) + out
    return out >>> 0
  }

  /** Uniform in [0, 1). */
  float(): number {
    return this.u32() / 2 ** 32
  }

  below(n: number): number {
    return Math.floor(this.float() * n)
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.float())) * Math.cos(2 * Math.PI * this.float())
  }

  /** Fills 32-bit words; the hot loop of the generator keeps the state in locals. */
  words(out: Uint32Array): void {
    const s = this.#state
    let [a, b, c, d] = [s[0]!, s[1]!, s[2]!, s[3]!]
    for (let i = 0; i < out.length; i++) {
      const word = (a + b + d) | 0
      d = (d + 1) | 0
      a = b ^ (b >>> 9)
      b = (c + (c << 3)) | 0
      c = (((c << 21) | (c >>> 11)) + word) | 0
      out[i] = word
    }
    s.set([a, b, c, d])
  }
}

const PIECE_BYTES = 1024 * 1024

/** A tensor's bytes in pieces of about 1 MiB, all in one buffer that is filled anew. */
export function* randomTensor(
  random: Random,
  type: GgmlType,
  dims: readonly number[],
  fill: Fill,
): Iterable<Uint8Array> {
  const { blockElems, blockBytes } = GGML_TYPES[type]
  const blocks = dims.reduce((a, b) => a * b, 1) / blockElems
  const rowLength = fill.kind === "hash" ? (dims[0] ?? 1) : 1
  const most = Math.floor(PIECE_BYTES / blockBytes / rowLength) * rowLength
  const words = new Uint32Array(Math.ceil((Math.min(most, blocks) * blockBytes) / 4))
  const filler = makeFiller(random, type, fill, rowLength)
  for (let done = 0; done < blocks; done += most) {
    const n = Math.min(most, blocks - done)
    random.words(words)
    const piece = new Uint8Array(words.buffer, 0, n * blockBytes)
    filler(piece, n)
    yield piece
  }
}

/** Turns random bytes into `n` valid blocks. */
type Filler = (piece: Uint8Array, n: number) => void

function makeFiller(random: Random, type: GgmlType, fill: Fill, rowLength: number): Filler {
  if (fill.kind === "hash") return hashFiller(random, fill.nExperts, rowLength)
  switch (type) {
    case "F32":
      return f32Filler(fill)
    case "F16":
      return f16Filler(fill)
    case "Q8_0":
      return scaleFiller(34, stdOf(fill) / Q8_0_STD, [[0, 1]])
    case "IQ2_XXS":
      return scaleFiller(66, stdOf(fill) / IQ2_XXS_STD, [[0, 1]])
    case "Q2_K": // The second factor centres the values: mean(sc)·mean(q) / mean(mn).
      return scaleFiller(84, stdOf(fill) / Q2_K_STD, [
        [80, 1],
        [82, 1.5],
      ])
    case "Q4_K":
      return scaleFiller(144, stdOf(fill) / Q4_K_STD, [
        [0, 1],
        [2, 7.5],
      ])
    case "MXFP4":
      return exponentFiller(stdOf(fill))
    case "BF16":
    case "I32":
      throw new TypeError(`No synthetic tensor is ${type}`)
  }
}

function stdOf(fill: Fill): number {
  if (fill.kind === "normal") return fill.std
  return fill.kind === "uniform" ? (fill.max - fill.min) / Math.sqrt(12) : 1
}

function meanSquare(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2
  return sum / values.length
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
const variance = (n: number): number => (n * n - 1) / 12
const mean = (n: number): number => (n - 1) / 2

// Standard deviation of a weight whose bytes are uniformly random, in units of its scale d.
const Q8_0_STD = Math.sqrt(variance(256))
const IQ2_XXS_STD =
  Math.sqrt(meanSquare(upTo(16).map((s) => s + 0.5)) * meanSquare(IQ2XXS_GRID)) / 4
const Q2_K_STD = Math.sqrt(
  meanSquare(upTo(16)) * meanSquare(upTo(4)) - (mean(16) * mean(4)) ** 2 + 1.5 ** 2 * variance(16),
)
const Q4_K_STD = Math.sqrt(
  meanSquare(upTo(64)) * meanSquare(upTo(16)) -
    (mean(64) * mean(16)) ** 2 +
    7.5 ** 2 * variance(64),
)
const MXFP4_STD = Math.sqrt(meanSquare(E2M1))

/** Leaves the codes random and writes f16 scales of `d·factor·(0.75 … 1.25)` into every block: the
 *  random bytes that were there choose among 16, and all scales of a block take the same. */
function scaleFiller(blockBytes: number, d: number, places: [number, number][]): Filler {
  const tables = places.map(([, factor]) =>
    Uint16Array.from({ length: 16 }, (_, i) => f32ToF16(d * factor * (0.75 + i / 30))),
  )
  return (piece, n) => {
    for (let block = 0; block < n; block++) {
      const at = block * blockBytes
      const choice = piece[at + places[0]![0]]! & 15
      places.forEach(([place], i) => {
        const bits = tables[i]![choice]!
        piece[at + place] = bits & 255
        piece[at + place + 1] = bits >> 8
      })
    }
  }
}

/** MXFP4 scales are powers of two: the two around the wanted one, in turn by a random bit. */
function exponentFiller(std: number): Filler {
  const low = 127 + Math.floor(Math.log2(std / MXFP4_STD))
  return (piece, n) => {
    for (let block = 0; block < n; block++) piece[block * 17] = low + (piece[block * 17]! & 1)
  }
}

// Middle quantiles of N(0, 1) in 4096 steps, made once by counting through a fine grid.
const NORMAL_STEPS = 4096
let normalTable: Float32Array | undefined

function normals(): Float32Array {
  if (normalTable) return normalTable
  normalTable = new Float32Array(NORMAL_STEPS)
  const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
  const step = 1 / 4096
  let below = 0
  let next = 0
  for (let x = -6; x < 6 && next < NORMAL_STEPS; x += step) {
    below += density(x + step / 2) * step
    while (next < NORMAL_STEPS && below >= (next + 0.5) / NORMAL_STEPS)
      normalTable[next++] = x + step
  }
  return normalTable
}

/** The value for each of 4096 random codes. */
function valueTable(fill: Fill): Float32Array {
  if (fill.kind === "normal") return normals().map((z) => z * fill.std)
  const { min, max } = fill.kind === "uniform" ? fill : { min: 0, max: 1 }
  const step = (max - min) / NORMAL_STEPS
  return Float32Array.from({ length: NORMAL_STEPS }, (_, i) => min + (i + 0.5) * step)
}

function f32Filler(fill: Fill): Filler {
  const table = valueTable(fill)
  return (piece, n) => {
    const bits = new Uint32Array(piece.buffer, 0, n)
    const values = new Float32Array(piece.buffer, 0, n)
    for (let i = 0; i < n; i++) values[i] = table[bits[i]! >>> 20]!
  }
}

function f16Filler(fill: Fill): Filler {
  const table = Uint16Array.from(valueTable(fill), f32ToF16)
  return (piece, n) => {
    const halves = new Uint16Array(piece.buffer, 0, n)
    for (let i = 0; i < n; i++) halves[i] = table[halves[i]! >>> 4]!
  }
}

/** Rows of distinct expert ids, one row a token. */
function hashFiller(random: Random, nExperts: number, nUsed: number): Filler {
  const ids = Int32Array.from(upTo(nExperts))
  return (piece, n) => {
    const out = new Int32Array(piece.buffer, 0, n)
    for (let i = 0; i < n; i++) {
      const place = i % nUsed
      const other = place + random.below(nExperts - place)
      const id = ids[other]!
      ids[other] = ids[place]!
      ids[place] = id
      out[i] = id
    }
  }
}

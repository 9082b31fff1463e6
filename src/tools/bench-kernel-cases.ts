/** What `ds4 bench --kernels` runs: the ops that take the time, in the full model's shapes. Weights are
 *  random blocks in more memory than caches hold, and every call meets others of them. */
import type { GgmlType } from "../gguf/types.ts"
import { Fixture, product, run } from "../ops/conformance/fixture.ts"
import { type Backend, packedIndexBytes, packedKvBytes } from "../ops/backend.ts"
import { PAGE_TOKENS, type Pages } from "../ops/kv-ops.ts"
import { type DeviceBuffer, rowBytes, Tensor } from "../ops/tensor.ts"
import { FULL_SHAPE } from "./synthetic-shape.ts"

/** One line of the table. */
export interface KernelSpec {
  op: "matmul" | "expertsGateUp" | "expertsDown" | "attend" | "indexTopK"
  /** Type of the weights; of rows of the KV cache: how they are packed. */
  type: GgmlType | "KV" | "index"
  /** Shape, and the weights of the model that have it. */
  what: string
  rows: number
  /** Multiply-adds in whole numbers of 8 bits, or as floats. */
  arithmetic: "int8" | "float"
  prepare(fixture: Fixture, pool: WeightPool): Prepared
}

export interface Prepared {
  /** Multiply-adds of a call. */
  macs: number
  /** Bytes of weights or KV rows that a call reads; each counts once. */
  bytes: number
  /** The i-th call. */
  call(i: number): void
}

const s = FULL_SHAPE
const ROWS = [1, 48] as const
const HEADS = s.nHeads * s.headDim
const LOW = s.oGroups * s.oLoraRank
const SLOTS = s.window + 32

/** Weights [out, in] of the full model, in groups where they are. */
const MATRICES: readonly [
  type: GgmlType,
  what: string,
  nOut: number,
  nIn: number,
  groups?: number,
][] = [
  ["Q8_0", "attn_q_a", s.qLoraRank, s.dim],
  ["Q8_0", "attn_q_b", HEADS, s.qLoraRank],
  ["Q8_0", "attn_kv", s.headDim, s.dim],
  ["Q8_0", "attn_output_a", LOW, HEADS / s.oGroups, s.oGroups],
  ["Q8_0", "attn_output_b", s.dim, LOW],
  ["Q8_0", "ffn_gate_shexp", s.expertDim, s.dim],
  ["Q8_0", "ffn_down_shexp", s.dim, s.expertDim],
  ["Q8_0", "output", s.vocabSize, s.dim],
  ["F16", "hc_attn_fn", 24, s.hcMult * s.dim],
  ["F16", "ffn_gate_inp", s.nExperts, s.dim],
  ["F16", "attn_compressor_kv", 2 * s.headDim, s.dim],
  ["F16", "indexer.attn_q_b", s.indexHeads * s.indexHeadDim, s.qLoraRank],
]

const EXPERT_TYPES: readonly [op: "expertsGateUp" | "expertsDown", type: GgmlType][] = [
  ["expertsGateUp", "IQ2_XXS"],
  ["expertsDown", "Q2_K"],
  ["expertsGateUp", "Q4_K"],
  ["expertsDown", "Q4_K"],
  ["expertsGateUp", "MXFP4"],
  ["expertsDown", "MXFP4"],
]

const ATTENTION: readonly [ratio: 0 | 4 | 128, context: number][] = [
  [0, 4096],
  [4, 2048],
  [4, 65_536],
  [128, 4096],
  [128, 65_536],
  [128, 1_048_576],
]
const INDEX_CONTEXTS = [4096, 65_536, 1_048_576]
/** Beyond it, many rows at once take minutes. */
const MOST_INDEX_ROWS = 2 ** 20

/** Every case, those of one type of weights together. */
export function kernelSpecs(): KernelSpec[] {
  return [
    ...MATRICES.flatMap(([type, what, nOut, nIn, groups = 1]) =>
      ROWS.map((rows) => matmulSpec(type, what, nOut, nIn, groups, rows)),
    ),
    ...EXPERT_TYPES.flatMap(([op, type]) => [
      ...ROWS.map((rows) => expertSpec(op, type, rows, s.nExperts)),
      expertSpec(op, type, BUSY.rows, BUSY.among),
    ]),
    ...ATTENTION.flatMap(([ratio, context]) =>
      ROWS.map((rows) => attendSpec(ratio, context, rows)),
    ),
    ...INDEX_CONTEXTS.flatMap((context) =>
      ROWS.filter((rows) => (rows * context) / 4 <= MOST_INDEX_ROWS).map((rows) =>
        indexSpec(context, rows),
      ),
    ),
  ]
}

const arithmeticOf = (type: GgmlType) => (type === "F16" || type === "F32" ? "float" : "int8")

function matmulSpec(
  type: GgmlType,
  what: string,
  nOut: number,
  nIn: number,
  groups: number,
  rows: number,
): KernelSpec {
  const shape = `${nIn} → ${groups > 1 ? `${groups} × ` : ""}${nOut / groups}`
  return {
    op: "matmul",
    type,
    what: `${what}, ${shape}`,
    rows,
    arithmetic: arithmeticOf(type),
    prepare(f, pool) {
      const weights = pool.matrices(type, [nOut, nIn])
      const x = f.normals([rows, groups * nIn])
      const out = f.tensor("F32", rows, nOut)
      return {
        macs: rows * nOut * nIn,
        bytes: weights[0]!.bytes,
        call: (i) => f.ops.matmul(out, x, weights[i % weights.length]!, groups),
      }
    },
  }
}

/** A long prompt: 48 rows for each expert that is chosen. */
const BUSY = { rows: 64, among: 8 }
/** Choices of experts that calls take in turn. */
const CHOICES = 12

/** `rows` tokens that choose among the first experts. */
function expertSpec(
  op: "expertsGateUp" | "expertsDown",
  type: GgmlType,
  rows: number,
  among: number,
): KernelSpec {
  const isUp = op === "expertsGateUp"
  const [nOut, nIn] = isUp ? [s.expertDim, s.dim] : [s.dim, s.expertDim]
  const k = s.nExpertsUsed
  return {
    op,
    type,
    what: `${k} of ${among}, ${nIn} → ${nOut}`,
    rows,
    arithmetic: "int8",
    prepare(f, pool) {
      const weights = pool.experts(type, [s.nExperts, nOut, nIn], isUp ? 2 : 1)
      const nExperts = weights[0]!.dims[0]!
      const chosen = Array.from({ length: CHOICES }, () =>
        Array.from({ length: rows }, () => f.rand.pick(k, Math.min(among, nExperts))).flat(),
      )
      const sels = chosen.map((ids) => f.ints([rows, k], ids))
      const distinct = chosen.reduce((n, ids) => n + new Set(ids).size, 0) / CHOICES
      const share = f.floats([rows, k], new Float32Array(rows * k).fill(1 / k))
      const x = f.normals(isUp ? [rows, nIn] : [rows, k, nIn])
      const out = isUp ? f.tensor("F32", rows, k, nOut) : f.tensor("F32", rows, nOut)
      const [first, second] = weights as [Tensor, Tensor]
      return {
        macs: rows * k * nOut * nIn * weights.length,
        bytes: (distinct * weights.length * first.bytes) / nExperts,
        call(i) {
          const sel = sels[i % CHOICES]!
          if (isUp) f.ops.expertsGateUp(out, x, first, second, sel, share, s.swigluLimit)
          else f.ops.expertsDown(out, x, first, sel)
        },
      }
    },
  }
}

function attendSpec(ratio: 0 | 4 | 128, context: number, rows: number): KernelSpec {
  const stored = ratio === 0 ? 0 : context / ratio
  const used = ratio === 4 ? Math.min(stored, s.indexTopK) : stored
  const chooses = used < stored
  return {
    op: "attend",
    type: "KV",
    what: `${ratio === 0 ? "window" : `ratio ${ratio}`}${chooses ? ", chosen" : ""}, context ${context}`,
    rows,
    arithmetic: "float",
    prepare(f) {
      const row = packedKvBytes(s.headDim, s.ropeDim)
      const sample = f.kvRows(512, s.headDim, s.ropeDim)
      const ring = tiled(f, [1, SLOTS, row], sample)
      const step = tiled(f, [rows, row], sample)
      const pages = ratio === 0 ? null : pagesOf(f, ratio, context, row, sample)
      const sel = chooses ? f.ints([rows, used], spread(rows, used, stored)) : null
      const q = f.normals([rows, s.nHeads, s.headDim])
      const out = f.tensor("F32", rows, s.nHeads, s.headDim)
      const sinks = f.normals([s.nHeads])
      const table = f.rows(run(0, context - rows, rows))
      const scale = 1 / Math.sqrt(s.headDim)
      return {
        macs: rows * (s.window + used) * HEADS * 2,
        bytes: (s.window + (chooses ? Math.min(rows * used, stored) : used)) * row,
        call: () =>
          f.ops.attend(out, q, step, ring, pages, sel, sinks, table, s.window, s.ropeDim, scale),
      }
    },
  }
}

function indexSpec(context: number, rows: number): KernelSpec {
  const stored = context / 4
  return {
    op: "indexTopK",
    type: "index",
    what: `${s.indexTopK} of ${stored}, context ${context}`,
    rows,
    arithmetic: "int8",
    prepare(f) {
      const row = packedIndexBytes(s.indexHeadDim)
      const pages = pagesOf(f, 4, context, row, f.indexRows(4096, s.indexHeadDim))
      const q = f.normals([rows, s.indexHeads, s.indexHeadDim])
      f.ops.roundIndex(q)
      const weights = f.normals([rows, s.indexHeads])
      const sel = f.tensor("I32", rows, s.indexTopK)
      const table = f.rows(run(0, context - rows, rows))
      const scale = 1 / Math.sqrt(s.indexHeadDim * s.indexHeads)
      return {
        macs: rows * stored * s.indexHeads * s.indexHeadDim,
        bytes: stored * row,
        call: () => f.ops.indexTopK(sel, q, weights, pages, table, scale),
      }
    },
  }
}

/** Pages of one sequence of `context` tokens, in order. */
function pagesOf(
  f: Fixture,
  ratio: number,
  context: number,
  row: number,
  sample: Uint8Array,
): Pages {
  const n = Math.ceil(context / PAGE_TOKENS)
  const table = f.ints(
    [1, n],
    Array.from({ length: n }, (_, i) => i),
  )
  return { rows: tiled(f, [n, PAGE_TOKENS / ratio, row], sample), table, ratio }
}

/** `used` of `stored` rows for every row of a step, evenly spread and ascending. */
const spread = (rows: number, used: number, stored: number) =>
  Array.from({ length: rows * used }, (_, i) =>
    Math.floor(((i % used) * stored) / used + (i % 7) * 0.1),
  )

/** Bytes that repeat a sample of whole rows. */
function tiled(f: Fixture, dims: number[], sample: Uint8Array): Tensor {
  const t = f.tensor("U8", ...dims)
  fill(f.ops.backend, t.buffer, t.bytes, sample)
  return t
}

function fill(backend: Backend, buffer: DeviceBuffer, bytes: number, sample: Uint8Array): void {
  for (let at = 0; at < bytes; at += sample.length)
    backend.write(buffer, at, sample.subarray(0, Math.min(sample.length, bytes - at)))
}

/** More than any cache holds. */
const POOL_BYTES = 2 ** 28
const SAMPLE_WEIGHTS = 2 ** 20

/** Random weights of one type at a time, taken anew when another type or more of them are wanted. */
export class WeightPool {
  readonly #backend: Backend
  readonly #fixture: Fixture
  readonly #limit: number
  #type: GgmlType | null = null
  #buffer: DeviceBuffer | null = null

  /** `limit`: bytes that it may take. */
  constructor(backend: Backend, limit: number) {
    this.#backend = backend
    this.#fixture = new Fixture(backend, 1)
    this.#limit = limit
  }

  /** Matrices of a shape, as many as fill the pool. */
  matrices(type: GgmlType, dims: readonly number[]): Tensor[] {
    const bytes = rowBytes(type, product(dims))
    return this.#tensors(type, dims, Math.max(1, Math.floor(POOL_BYTES / bytes)))
  }

  /** `n` tensors of experts; fewer experts where there is no room for all. */
  experts(type: GgmlType, [nExperts, ...dims]: [number, ...number[]], n: number): Tensor[] {
    const bytes = rowBytes(type, product(dims))
    const most = Math.floor(this.#limit / n / bytes)
    return this.#tensors(type, [Math.max(Math.min(nExperts, most), s.nExpertsUsed), ...dims], n)
  }

  close(): void {
    if (this.#buffer) this.#backend.free(this.#buffer)
    this.#buffer = null
  }

  #tensors(type: GgmlType, dims: readonly number[], n: number): Tensor[] {
    const bytes = rowBytes(type, product(dims))
    const buffer = this.#take(type, n * bytes)
    return Array.from({ length: n }, (_, i) => new Tensor(buffer, i * bytes, type, dims))
  }

  #take(type: GgmlType, bytes: number): DeviceBuffer {
    if (this.#buffer && this.#type === type && this.#buffer.bytes >= bytes) return this.#buffer
    this.close()
    const buffer = this.#backend.alloc(Math.max(bytes, POOL_BYTES), "weights of the kernels")
    const deviation = 1 / Math.sqrt(s.dim)
    const sample = this.#fixture.rand.weights(type, SAMPLE_WEIGHTS, deviation)
    fill(this.#backend, buffer, buffer.bytes, sample)
    this.#buffer = buffer
    this.#type = type
    return buffer
  }
}

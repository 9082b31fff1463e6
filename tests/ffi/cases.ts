/** Random cases of every op on 17 rows of two sequences. A case allocates inputs and outputs for all
 *  rows and says how to run a part of them, so that it can run in steps of any size. */
import type { GgmlType } from "../../src/gguf/types.ts"
import { packedIndexBytes, packedKvBytes } from "../../src/ops/backend.ts"
import { ROW_INDEX, ROW_KV } from "../../src/ops/kv-ops.ts"
import { Ops } from "../../src/ops/ops.ts"
import type { Tensor } from "../../src/ops/tensor.ts"
import { Machine, Numbers, type Row, rowTable } from "./machine.ts"

export const N_ROWS = 17
const N_SEQS = 2
const TYPES = ["F32", "F16", "BF16", "Q8_0", "MXFP4", "Q2_K", "Q4_K", "IQ2_XXS"] as const

interface Run {
  /** Works on rows [from, to), of which `rows` is the row table. */
  step(from: number, to: number, rows: Tensor): void
  outputs: Tensor[]
}
type Case = (m: Machine, ops: Ops, rand: Numbers) => Run

/** Sequence 0 has 9 rows from position 250, sequence 1 has 8 from position 124: blocks of 4 and of 128
 *  complete, windows wrap, and both reach back beyond the step. */
export const ROWS: Row[] = Array.from({ length: N_ROWS }, (_, i) => ({
  seq: i < 9 ? 0 : 1,
  pos: i < 9 ? 250 + i : 124 + i - 9,
  token: (i * 7) % 32,
}))

/** Bytes of all outputs of a case, run in steps of these many rows. */
export function runCase(name: string, isa: string, threads: number, steps: number[]): Uint8Array[] {
  using m = new Machine(isa, threads)
  const run = CASES[name]!(m, new Ops(m.backend), new Numbers(name.length * 7919 + 3))
  let from = 0
  for (const n of steps) {
    run.step(from, from + n, rowTable(m, ROWS.slice(from, from + n)))
    from += n
  }
  return run.outputs.map((t) => t.raw().slice())
}

export const CASES: Record<string, Case> = {
  ...perType("embed", embed),
  ...perType("matmul", (type) => matmul(type, 1, type === "F16" ? 1000 : 1024, 37)),
  ...perType("matmul in groups", (type) => matmul(type, 3, 512, 19)),
  ...perType("experts", experts),
  "matmul of ties and extremes": extremes,
  rmsNorm,
  rope,
  hyperConnection,
  roundKv: (m, ops, rand) => inPlace(m, rand, 192, (x) => ops.roundKv(x, 64)),
  roundIndex: (m, ops, rand) => inPlace(m, rand, 128, (x) => ops.roundIndex(x)),
  packKv: (m, ops, rand) => pack(m, ops, rand, 192, 64, ROW_KV),
  packIndex: (m, ops, rand) => pack(m, ops, rand, 128, 0, ROW_INDEX),
  storeRing,
  storePages,
  "compress 4": (m, ops, rand) => compress(m, ops, rand, 4, 2),
  "compress 128": (m, ops, rand) => compress(m, ops, rand, 128, 1),
  indexTopK,
  attendWindow: (m, ops, rand) => attend(m, ops, rand, 0, 0),
  attendAll: (m, ops, rand) => attend(m, ops, rand, 4, 0),
  attendSelected: (m, ops, rand) => attend(m, ops, rand, 4, 11),
  routerTopK,
  routerHash,
  elementwise,
  gatherRows,
  candidates,
}

function perType(name: string, make: (type: GgmlType) => Case): Record<string, Case> {
  return Object.fromEntries(TYPES.map((type) => [`${name} ${type}`, make(type)]))
}

function embed(type: GgmlType): Case {
  return (m, ops, rand) => {
    const table = m.bytes(type, [32, 512], rand.weights(type, 32 * 512))
    const out = m.tensor("F32", N_ROWS, 4, 512)
    return { step: (a, b, rows) => ops.embed(out.slice(a, b), table, rows), outputs: [out] }
  }
}

function matmul(type: GgmlType, groups: number, nIn: number, nOut: number): Case {
  return (m, ops, rand) => {
    const w = m.bytes(type, [groups * nOut, nIn], rand.weights(type, groups * nOut * nIn))
    const x = m.floats([N_ROWS, groups * nIn], rand.normals(N_ROWS * groups * nIn))
    x.f32()[nIn + 3] = 40 // one block with a large element
    const out = m.tensor("F32", N_ROWS, groups * nOut)
    return { step: (a, b) => ops.matmul(out.slice(a, b), x.slice(a, b), w, groups), outputs: [out] }
  }
}

/** Sums that are halfway between two f32, subnormal or infinite: where an emulated fused multiply-add
 *  would go wrong first. */
function extremes(m: Machine, ops: Ops, rand: Numbers): Run {
  const [nIn, nOut] = [64, 500]
  const odd = () => {
    const size = [1, 2 ** 12, 2 ** 24, 2 ** -70, 2 ** 70][rand.below(5)]!
    return (rand.below(2 ** rand.below(25)) - 3) * size
  }
  const values = (n: number) => Float32Array.from({ length: n }, odd)
  const w = m.floats([nOut, nIn], values(nOut * nIn))
  const x = m.floats([N_ROWS, nIn], values(N_ROWS * nIn))
  x.f32()[5] = Number.NEGATIVE_INFINITY
  const out = m.tensor("F32", N_ROWS, nOut)
  return { step: (a, b) => ops.matmul(out.slice(a, b), x.slice(a, b), w), outputs: [out] }
}

function experts(type: GgmlType): Case {
  return (m, ops, rand) => {
    const [n, k, dim, ff] = [5, 3, 256, 512]
    const matrix = (rows: number, cols: number) =>
      m.bytes(type, [n, rows, cols], rand.weights(type, n * rows * cols, 0.1))
    const [gate, up, down] = [matrix(ff, dim), matrix(ff, dim), matrix(dim, ff)]
    const x = m.floats([N_ROWS, dim], rand.normals(N_ROWS * dim))
    const sel = m.ints(
      [N_ROWS, k],
      Array.from({ length: N_ROWS * k }, () => rand.below(n)),
    )
    const weights = m.floats([N_ROWS, k], rand.normals(N_ROWS * k))
    const h = m.tensor("F32", N_ROWS, k, ff)
    const out = m.tensor("F32", N_ROWS, dim)
    return {
      step(a, b) {
        const [s, w] = [sel.slice(a, b), weights.slice(a, b)]
        ops.expertsGateUp(h.slice(a, b), x.slice(a, b), gate, up, s, w, 2)
        ops.expertsDown(out.slice(a, b), h.slice(a, b), down, s)
      },
      outputs: [h, out],
    }
  }
}

function rmsNorm(m: Machine, ops: Ops, rand: Numbers): Run {
  const x = m.floats([N_ROWS, 1000], rand.normals(N_ROWS * 1000, 3))
  const w = m.floats([1000], rand.normals(1000))
  const [a, b] = [m.tensor("F32", N_ROWS, 1000), m.tensor("F32", N_ROWS, 1000)]
  return {
    step(from, to) {
      ops.rmsNorm(a.slice(from, to), x.slice(from, to), w, 1e-6)
      ops.rmsNorm(b.slice(from, to), x.slice(from, to), null, 1e-6)
    },
    outputs: [a, b],
  }
}

function rope(m: Machine, ops: Ops, rand: Numbers): Run {
  const freqs = m.floats(
    [32],
    Array.from({ length: 32 }, (_, i) => 10000 ** (-i / 32)),
  )
  const [table, starts] = [m.tensor("F32", N_ROWS, 32, 2), m.tensor("F32", N_ROWS, 32, 2)]
  const x = m.floats([N_ROWS, 3, 80], rand.normals(N_ROWS * 240))
  const y = m.floats([N_ROWS, 3, 80], x.f32())
  return {
    step(a, b, rows) {
      ops.ropeTable(table.slice(a, b), freqs, rows, 1)
      ops.ropeTable(starts.slice(a, b), freqs, rows, 4)
      ops.ropeTail(x.slice(a, b), table.slice(a, b))
      ops.ropeTail(y.slice(a, b), starts.slice(a, b), true)
    },
    outputs: [table, starts, x, y],
  }
}

function hyperConnection(m: Machine, ops: Ops, rand: Numbers): Run {
  const [hc, dim] = [4, 300]
  const mix = m.floats([N_ROWS, 24], rand.normals(N_ROWS * 24))
  const scale = m.floats([3], [0.7, 1.1, 0.9])
  const base = m.floats([24], rand.normals(24))
  const streams = m.floats([N_ROWS, hc, dim], rand.normals(N_ROWS * hc * dim))
  const pre = m.tensor("F32", N_ROWS, hc)
  const post = m.tensor("F32", N_ROWS, hc)
  const comb = m.tensor("F32", N_ROWS, hc, hc)
  const y = m.tensor("F32", N_ROWS, dim)
  const head = m.tensor("F32", N_ROWS, hc)
  return {
    step(a, b) {
      const [p, q, c] = [pre.slice(a, b), post.slice(a, b), comb.slice(a, b)]
      ops.hcSplit(p, q, c, mix.slice(a, b), scale, base, 20, 1e-6)
      ops.hcCollapse(y.slice(a, b), streams.slice(a, b), p)
      ops.hcExpand(streams.slice(a, b), y.slice(a, b), q, c)
      ops.hcHeadWeights(head.slice(a, b), p, scale.slice(0, 1), base.slice(0, hc), 1e-6)
    },
    outputs: [pre, post, comb, y, streams, head],
  }
}

/** Rows of widely different sizes, since what is rounded depends on the size. */
function sized(rand: Numbers, dim: number): Float32Array {
  return rand.normals(N_ROWS * dim).map((v, i) => v * 4 ** ((Math.floor(i / dim) % 11) - 6))
}

function inPlace(m: Machine, rand: Numbers, dim: number, op: (x: Tensor) => void): Run {
  const x = m.floats([N_ROWS, dim], sized(rand, dim))
  return { step: (a, b) => op(x.slice(a, b)), outputs: [x] }
}

function pack(m: Machine, ops: Ops, rand: Numbers, dim: number, rope: number, format: number): Run {
  const x = m.floats([N_ROWS, dim], sized(rand, dim))
  const bytes = format === ROW_KV ? packedKvBytes(dim, rope) : packedIndexBytes(dim)
  const out = m.tensor("U8", N_ROWS, bytes)
  return {
    step(a, b) {
      if (format === ROW_KV) ops.roundKv(x.slice(a, b), rope)
      else ops.roundIndex(x.slice(a, b))
      ops.packRows(out.slice(a, b), x.slice(a, b), format, rope)
    },
    outputs: [out],
  }
}

function storeRing(m: Machine, ops: Ops, rand: Numbers): Run {
  const src = m.bytes("U8", [N_ROWS, 24], rand.bytes(N_ROWS * 24))
  const ring = m.tensor("U8", N_SEQS, 6, 24)
  return { step: (a, b, rows) => ops.storeRing(ring, src.slice(a, b), rows), outputs: [ring] }
}

function pageTable(m: Machine): Tensor {
  return m.ints([N_SEQS, 3], [4, 1, 5, 0, 3, 2])
}

function storePages(m: Machine, ops: Ops, rand: Numbers): Run {
  const src = m.bytes("U8", [N_ROWS, 24], rand.bytes(N_ROWS * 24))
  const pages = { rows: m.tensor("U8", 6, 32, 24), table: pageTable(m), ratio: 4 }
  return {
    step: (a, b, rows) => ops.storePages(pages, src.slice(a, b), rows),
    outputs: [pages.rows],
  }
}

function compress(m: Machine, ops: Ops, rand: Numbers, ratio: number, halves: number): Run {
  const [dim, nSlots] = [72, 160]
  const width = dim * halves
  const floats = (...dims: number[]) => m.floats(dims, rand.normals(dims.reduce((a, b) => a * b)))
  const [k, s] = [floats(N_ROWS, width), floats(N_ROWS, width)]
  const ring = { k: floats(N_SEQS, nSlots, width), s: floats(N_SEQS, nSlots, width) }
  const ape = m.bytes("F16", [ratio, width], rand.weights("F16", ratio * width, 1))
  const out = m.tensor("F32", N_ROWS, dim)
  return {
    step(a, b, rows) {
      ops.compress(out.slice(a, b), k.slice(a, b), s.slice(a, b), ring, ape, rows)
      ops.storeRing(ring.k, k.slice(a, b), rows)
      ops.storeRing(ring.s, s.slice(a, b), rows)
    },
    outputs: [out],
  }
}

/** Packed rows in random pages. */
function packedPages(
  m: Machine,
  ops: Ops,
  rand: Numbers,
  dim: number,
  rope: number,
  format: number,
) {
  const bytes = format === ROW_KV ? packedKvBytes(dim, rope) : packedIndexBytes(dim)
  const x = m.floats([6 * 32, dim], rand.normals(6 * 32 * dim))
  if (format === ROW_KV) ops.roundKv(x, rope)
  else ops.roundIndex(x)
  const rows = m.tensor("U8", 6, 32, bytes)
  ops.packRows(rows.reshape(6 * 32, bytes), x, format, rope)
  return { rows, table: pageTable(m), ratio: 4 }
}

function indexTopK(m: Machine, ops: Ops, rand: Numbers): Run {
  const [heads, dim, topK] = [5, 128, 20]
  const pages = packedPages(m, ops, rand, dim, 0, ROW_INDEX)
  const q = m.floats([N_ROWS, heads, dim], rand.normals(N_ROWS * heads * dim))
  const weights = m.floats([N_ROWS, heads], rand.normals(N_ROWS * heads))
  const [sel, scores] = [m.tensor("I32", N_ROWS, topK), m.tensor("F32", N_ROWS, 70)]
  ops.roundIndex(q)
  return {
    step(a, b, rows) {
      const out = sel.slice(a, b)
      ops.indexTopK(out, q.slice(a, b), weights.slice(a, b), pages, rows, 0.01, scores.slice(a, b))
      ops.indexTopK(out, q.slice(a, b), weights.slice(a, b), pages, rows, 0.01)
    },
    outputs: [sel, scores],
  }
}

function attend(m: Machine, ops: Ops, rand: Numbers, ratio: number, topK: number): Run {
  const [heads, dim, rope, nSlots] = [5, 192, 64, 48]
  const bytes = packedKvBytes(dim, rope)
  const all = packedPages(m, ops, rand, dim, rope, ROW_KV)
  const q = m.floats([N_ROWS, heads, dim], rand.normals(N_ROWS * heads * dim))
  const step = m.bytes("U8", [N_ROWS, bytes], all.rows.raw().subarray(0, N_ROWS * bytes))
  const ring = m.bytes(
    "U8",
    [N_SEQS, nSlots, bytes],
    all.rows.raw().subarray(0, 2 * nSlots * bytes),
  )
  const sinks = m.floats([heads], rand.normals(heads))
  const picks = ROWS.flatMap(({ pos }) => Array.from({ length: topK }, () => rand.below(pos >> 2)))
  const sel = topK ? m.ints([N_ROWS, topK], picks) : null
  const out = m.tensor("F32", N_ROWS, heads, dim)
  const pages = ratio ? all : null
  return {
    step(a, b, rows) {
      const [o, x, s] = [out.slice(a, b), q.slice(a, b), step.slice(a, b)]
      ops.attend(o, x, s, ring, pages, sel?.slice(a, b) ?? null, sinks, rows, 30, rope, 0.1)
      ops.storeRing(ring, s, rows)
    },
    outputs: [out],
  }
}

function routerTopK(m: Machine, ops: Ops, rand: Numbers): Run {
  const logits = m.floats([N_ROWS, 37], rand.normals(N_ROWS * 37, 8))
  const bias = m.floats([37], rand.normals(37, 0.1))
  const [sel, weights] = [m.tensor("I32", N_ROWS, 6), m.tensor("F32", N_ROWS, 6)]
  return {
    step: (a, b) =>
      ops.routerTopK(sel.slice(a, b), weights.slice(a, b), logits.slice(a, b), bias, 1.5),
    outputs: [sel, weights],
  }
}

function routerHash(m: Machine, ops: Ops, rand: Numbers): Run {
  const logits = m.floats([N_ROWS, 37], rand.normals(N_ROWS * 37, 8))
  const table = m.ints(
    [32, 6],
    Array.from({ length: 192 }, () => rand.below(37)),
  )
  const [sel, weights] = [m.tensor("I32", N_ROWS, 6), m.tensor("F32", N_ROWS, 6)]
  return {
    step: (a, b, rows) =>
      ops.routerHash(sel.slice(a, b), weights.slice(a, b), logits.slice(a, b), table, rows, 1.5),
    outputs: [sel, weights],
  }
}

function elementwise(m: Machine, ops: Ops, rand: Numbers): Run {
  const n = 1003
  const floats = () => m.floats([N_ROWS, n], rand.normals(N_ROWS * n, 5))
  const [gate, up, h, sum] = [floats(), floats(), floats(), floats()]
  return {
    step(a, b) {
      ops.swiglu(h.slice(a, b), gate.slice(a, b), up.slice(a, b), 10)
      ops.add(sum.slice(a, b), gate.slice(a, b), up.slice(a, b))
    },
    outputs: [h, sum],
  }
}

function gatherRows(m: Machine, ops: Ops, rand: Numbers): Run {
  const x = m.floats([9, 50], rand.normals(450))
  const index = m.ints(
    [N_ROWS],
    Array.from({ length: N_ROWS }, () => rand.below(9)),
  )
  const out = m.tensor("F32", N_ROWS, 50)
  return { step: (a, b) => ops.gatherRows(out.slice(a, b), x, index.slice(a, b)), outputs: [out] }
}

function candidates(m: Machine, ops: Ops, rand: Numbers): Run {
  const [vocab, limit] = [9001, 64]
  const words = Math.ceil(vocab / 32)
  const logits = m.floats([N_ROWS, vocab], rand.normals(N_ROWS * vocab, 3))
  const mask = m.bytes("I32", [N_ROWS, words], rand.bytes(N_ROWS * words * 4))
  const delta = m.floats(
    [N_ROWS],
    rand.normals(N_ROWS).map((v) => 2 + Math.abs(v)),
  )
  const info = m.tensor("I32", N_ROWS, 5)
  const [ids, values] = [m.tensor("I32", N_ROWS, limit), m.tensor("F32", N_ROWS, limit)]
  return {
    step(a, b) {
      const bias = m.tensor("U8", 12 * (b - a))
      const view = new DataView(bias.raw().buffer)
      for (let i = 0; i < b - a; i++) {
        view.setUint32(12 * i, i, true)
        view.setUint32(12 * i + 4, 1234, true)
        view.setFloat32(12 * i + 8, 12.5, true)
      }
      const [i, d, v] = [info.slice(a, b), ids.slice(a, b), values.slice(a, b)]
      ops.candidates(i, d, v, logits.slice(a, b), mask.slice(a, b), delta.slice(a, b), bias, b - a)
    },
    outputs: [info, ids, values],
  }
}

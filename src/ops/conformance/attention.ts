/** attend: windows at their edges, rings that wrap, compressed rows of all and of selected blocks. */
import { packedKvBytes } from "../backend.ts"
import type { Pages } from "../kv-ops.ts"
import type { Tensor } from "../tensor.ts"
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import { type Fixture, type RowSpec, run } from "./fixture.ts"

const ATTEND: Bound = { rms: 5e-6, why: "scores, softmax and values in f32" }

interface Shape {
  readonly steps: RowSpec[][]
  readonly heads: number
  readonly dim: number
  readonly window: number
  readonly nSlots: number
  /** 0: no compressed rows. */
  readonly ratio: number
  /** 0: all that are visible. */
  readonly topK: number
  readonly tableLen: number
  /** Of q: large ones make scores that leave one key. */
  readonly size: number
  readonly sink: number
}

const ROPE = 64

const MINI: Shape = {
  steps: [run(0, 0, 3)],
  heads: 4,
  dim: 128,
  window: 128,
  nSlots: 160,
  ratio: 0,
  topK: 0,
  tableLen: 3,
  size: 1,
  sink: 1,
}

export function attentionCases(): Case[] {
  const two = [...run(0, 250, 9), ...run(1, 124, 8)]
  const rand6: Shape = { ...MINI, heads: 6, dim: 256, window: 16, nSlots: 48 }
  const full: Shape = { ...MINI, heads: 64, dim: 512, steps: [run(1, 300, 2)] }
  return [
    ...[0, 1, 127, 128, 129].map((pos) =>
      attend(`position ${pos}`, { ...MINI, steps: [run(0, pos, 1)] }),
    ),
    ...[1, 2, 17, 33].map((n) =>
      attend(`${n} rows from 120`, { ...MINI, steps: [run(1, 120, n)] }),
    ),
    attend("step after step, the ring wraps", {
      ...rand6,
      steps: [run(0, 40, 7), run(0, 47, 1), run(0, 48, 33)],
    }),
    attend("window 16, a step longer than the window", { ...rand6, steps: [run(0, 3, 40)] }),
    attend("window 1", { ...rand6, window: 1, steps: [two] }),
    attend("a ring as short as it may be", {
      ...rand6,
      nSlots: 15,
      steps: [run(0, 10, 9), run(0, 19, 5)],
    }),
    attend("two sequences, no compressed rows", { ...rand6, steps: [two] }),
    attend("two sequences, all of ratio 4", { ...rand6, ratio: 4, steps: [two] }),
    attend("two sequences, 11 of ratio 4", { ...rand6, ratio: 4, topK: 11, steps: [two] }),
    attend("ratio 4, no block yet and the first", {
      ...rand6,
      ratio: 4,
      topK: 3,
      steps: [run(0, 0, 17)],
    }),
    attend("ratio 128, none and one and two rows", {
      ...rand6,
      ratio: 128,
      steps: [[...run(0, 126, 3), ...run(1, 254, 3)]],
    }),
    attend("64 heads of 512, window alone", full),
    attend("64 heads of 512, all of ratio 128", { ...full, ratio: 128 }),
    attend("64 heads of 512, 48 of ratio 4", { ...full, ratio: 4, topK: 48 }),
    attend("scores of thousands", { ...rand6, ratio: 4, size: 1e4, steps: [two] }),
    attend("q of 0: a plain mean", { ...rand6, ratio: 4, size: 0, steps: [two] }),
    attend("sinks that take all", { ...rand6, sink: 60, steps: [two] }),
    notFinite(rand6),
  ]
}

function pagesOf(f: Fixture, s: Shape): Pages | null {
  if (s.ratio === 0) return null
  const n = (2 * s.tableLen + 1) * (128 / s.ratio)
  return f.pages(packedKvBytes(s.dim, ROPE), f.kvRows(n, s.dim, ROPE), 2, s.tableLen, s.ratio)
}

/** min(n, topK) different visible blocks of each row, in no order. */
function selectionOf(f: Fixture, s: Shape, step: RowSpec[]): Tensor | null {
  if (s.topK === 0) return null
  const ids = step.flatMap(({ pos }) => {
    const n = Math.floor((pos + 1) / s.ratio)
    const some = f.rand.pick(Math.min(n, s.topK), n)
    return [...some, ...Array.from({ length: s.topK - some.length }, () => -1)]
  })
  return f.ints([step.length, s.topK], ids)
}

function attend(name: string, s: Shape): Case {
  return {
    op: "attend",
    name,
    run(f) {
      const bytes = packedKvBytes(s.dim, ROPE)
      const ring = f.bytes("U8", [2, s.nSlots, bytes], f.kvRows(2 * s.nSlots, s.dim, ROPE))
      const pages = pagesOf(f, s)
      const sinks = f.normals([s.heads], s.sink)
      return s.steps.map((step, i) => {
        const dims = [step.length, s.heads, s.dim]
        const [q, out] = [f.normals(dims, s.size), f.tensor("F32", ...dims)]
        const kv = f.bytes("U8", [step.length, bytes], f.kvRows(step.length, s.dim, ROPE))
        const [sel, rows] = [selectionOf(f, s, step), f.rows(step)]
        f.ops.attend(out, q, kv, ring, pages, sel, sinks, rows, s.window, ROPE, s.dim ** -0.5)
        f.ops.storeRing(ring, kv, rows)
        return output(f, `step ${i}`, out, ATTEND, s.dim)
      })
    },
  }
}

function notFinite(s: Shape): Case {
  return {
    op: "attend",
    name: "NaN and infinity in queries, rows and sinks",
    run(f) {
      const bytes = packedKvBytes(s.dim, ROPE)
      const q = f.rand.normals(4 * s.heads * s.dim)
      q[3] = Number.NaN
      q[s.heads * s.dim + 3] = Number.POSITIVE_INFINITY
      const kv = f.kvRows(4, s.dim, ROPE)
      kv.fill(0xff, 3 * bytes)
      const ring = f.tensor("U8", 1, s.nSlots, bytes)
      const sinks = f.floats(
        [s.heads],
        Array.from({ length: s.heads }, (_, h) => (h === 1 ? Number.NaN : 0)),
      )
      const [out, rows] = [f.tensor("F32", 4, s.heads, s.dim), f.rows(run(0, 20, 4))]
      const queries = f.floats([4, s.heads, s.dim], q)
      const step = f.bytes("U8", [4, bytes], kv)
      f.ops.attend(out, queries, step, ring, null, null, sinks, rows, s.window, ROPE, 0.1)
      return [output(f, "out", out, "any")]
    },
  }
}

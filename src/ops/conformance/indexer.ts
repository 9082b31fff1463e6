/** indexTopK: scores within a bound, selections exact. Selections are made of numbers that f32 can add
 *  without rounding, so that the order of all scores is the same everywhere, ties included. */
import { packedIndexBytes } from "../backend.ts"
import { type Case, output } from "./case.ts"
import type { Bound } from "./compare.ts"
import { type Fixture, type RowSpec, run } from "./fixture.ts"
import { unpackIndexRow } from "../reference/rounding.ts"

const SCORE: Bound = { atol: 1e-4, rtol: 1e-5, why: "sums over blocks and heads in f32" }

interface Shape {
  readonly rows: RowSpec[]
  readonly heads: number
  readonly dim: number
  readonly topK: number
  readonly ratio: number
  readonly tableLen: number
}

export function indexerCases(): Case[] {
  const mini: Shape = {
    rows: [...run(0, 250, 9), ...run(1, 124, 8)],
    heads: 4,
    dim: 128,
    topK: 8,
    ratio: 4,
    tableLen: 3,
  }
  const odd: Shape = { ...mini, heads: 5, topK: 21 }
  const full: Shape = { ...mini, rows: run(1, 2300, 2), heads: 64, topK: 512, tableLen: 20 }
  return [
    select("mini, 8 of up to 64", mini),
    select("5 heads, 21 of up to 64", odd),
    select("nothing and little visible", { ...mini, rows: run(0, 0, 17) }),
    select("n = topK - 1, topK, topK + 1", { ...mini, rows: run(0, 26, 12) }),
    select("64 heads, 512 of 575", full),
    select("a page's edge, two sequences", {
      ...mini,
      rows: [...run(1, 127, 1), ...run(0, 255, 5)],
    }),
    scores("mini", { ...mini, topK: 80 }),
    scores("64 heads", { ...full, topK: 600 }),
    allEqual(mini),
    notFinite(mini),
  ]
}

function inputs(f: Fixture, s: Shape) {
  const bytes = packedIndexBytes(s.dim)
  const n = (2 * s.tableLen + 1) * (128 / s.ratio)
  const pages = f.pages(bytes, f.indexRows(n, s.dim), 2, s.tableLen, s.ratio)
  return { pages, rows: f.rows(s.rows), nRows: s.rows.length }
}

function select(name: string, s: Shape): Case {
  return {
    op: "indexTopK",
    name: `selection: ${name}`,
    run(f) {
      const { pages, rows, nRows } = inputs(f, s)
      const q = f.floats(
        [nRows, s.heads, s.dim],
        f.rand.ints(nRows * s.heads * s.dim, 5).map((v) => v - 2),
      )
      const weights = f.floats(
        [nRows, s.heads],
        f.rand.ints(nRows * s.heads, 9).map((v) => v - 3),
      )
      const sel = f.tensor("I32", nRows, s.topK)
      const kept = f.tensor("I32", nRows, s.topK)
      f.ops.indexTopK(sel, q, weights, pages, rows, 0.125)
      f.ops.indexTopK(kept, q, weights, pages, rows, 0.125, f.tensor("F32", nRows, 32 * s.tableLen))
      return [output(f, "sel", sel, "exact"), output(f, "sel with scores", kept, "exact")]
    },
  }
}

function scores(name: string, s: Shape): Case {
  return {
    op: "indexTopK",
    name: `scores: ${name}`,
    run(f) {
      const { pages, rows, nRows } = inputs(f, s)
      const [q, weights] = [rounded(f, [nRows, s.heads, s.dim]), f.normals([nRows, s.heads])]
      const [sel, out] = [f.tensor("I32", nRows, s.topK), f.tensor("F32", nRows, s.topK)]
      f.ops.indexTopK(sel, q, weights, pages, rows, 1 / 64, out)
      return [output(f, "sel", sel, "exact"), output(f, "scores", out, SCORE)]
    },
  }
}

/** Queries as roundIndex leaves them. */
function rounded(f: Fixture, dims: [number, number, number]) {
  const [n, dim, size] = [dims[0] * dims[1], dims[2], packedIndexBytes(dims[2])]
  const values = new Float32Array(n * dim)
  const packed = f.indexRows(n, dim, -2)
  for (let i = 0; i < n; i++)
    unpackIndexRow(packed.subarray(i * size, (i + 1) * size), dim, values.subarray(i * dim))
  return f.floats(dims, values)
}

function allEqual(s: Shape): Case {
  return {
    op: "indexTopK",
    name: "selection: all scores equal, 0 and -0",
    run(f) {
      const { pages, rows, nRows } = inputs(f, s)
      const q = f.tensor("F32", nRows, s.heads, s.dim)
      const weights = f.floats(
        [nRows, s.heads],
        f.rand.normals(nRows * s.heads).map((v, i) => (i % 3 ? v : -v)),
      )
      const sel = f.tensor("I32", nRows, s.topK)
      f.ops.indexTopK(sel, q, weights, pages, rows, 1)
      return [output(f, "sel", sel, "exact")]
    },
  }
}

function notFinite(s: Shape): Case {
  return {
    op: "indexTopK",
    name: "NaN and infinity: ids stay valid and ascend",
    run(f) {
      const { pages, rows, nRows } = inputs(f, s)
      const q = f.rand.normals(nRows * s.heads * s.dim)
      q[5] = Number.NaN
      q[s.heads * s.dim + 5] = Number.POSITIVE_INFINITY
      const sel = f.tensor("I32", nRows, s.topK)
      const weights = f.normals([nRows, s.heads])
      f.ops.indexTopK(sel, f.floats([nRows, s.heads, s.dim], q), weights, pages, rows, 1)
      const ids = f.read(sel)
      const valid = s.rows.map(({ pos }, r) => {
        const row = [...ids.subarray(r * s.topK, (r + 1) * s.topK)]
        const n = Math.floor((pos + 1) / s.ratio)
        return row.every((c, i) => c >= 0 && c < n && (i === 0 || c > row[i - 1]!)) ? 1 : 0
      })
      return [{ name: "valid", values: Int32Array.from(valid), bound: "exact" }]
    },
  }
}

/** roundKv, roundIndex, packRows, storeRing and storePages: all exact. */
import { packedIndexBytes, packedKvBytes } from "../backend.ts"
import { ROW_INDEX, ROW_KV } from "../kv-ops.ts"
import { type Case, output } from "./case.ts"
import { type Fixture, type RowSpec, run } from "./fixture.ts"

export function kvRowCases(): Case[] {
  const kv: [number, number, number][] = [
    [1, 128, 64],
    [17, 256, 64],
    [33, 512, 64],
    [3, 64, 0],
  ]
  return [
    ...kv.flatMap(([nRows, dim, rope]) =>
      kvRows(`${nRows} rows of ${dim}`, nRows, dim, rope, sized),
    ),
    ...kvRows("zeros, tiny and huge numbers", 8, 128, 64, hostile),
    ...kvRows("every tie between two codes", 4, 512, 64, ties),
    ...[
      [1, 128],
      [33, 128],
      [17, 32],
      [2, 1024],
    ].flatMap(([nRows, dim]) => indexRows(`${nRows} rows of ${dim}`, nRows!, dim!, sized)),
    ...indexRows("zeros, tiny and huge numbers", 8, 128, hostile),
    ...kvRows("nothing but -0", 1, 128, 64, (_, nRows, dim) =>
      new Float32Array(nRows * dim).fill(-0),
    ),
    ...indexRows("sums that are multiples of one half", 9, 128, halves),
    notFinite(),
    ...ringCases(),
    ...pageCases(),
  ]
}

type Values = (f: Fixture, nRows: number, dim: number) => Float32Array

/** Rows of widely different sizes: what is rounded depends on the size. */
const sized: Values = (f, nRows, dim) =>
  f.rand.normals(nRows * dim).map((v, i) => v * 4 ** ((Math.floor(i / dim) % 11) - 6))

const hostile: Values = (f, nRows, dim) =>
  f.rand.normals(nRows * dim).map((v, i) => {
    const kinds = [0, v * 1e-41, v * 1e30, v * 1e-5, i % 7 ? v : 448, i % 64 ? 0 : v, i % 3 ? 0 : v]
    return kinds[Math.floor(i / dim)] ?? (i % 2 ? 1e4 : -1e-4)
  })

/** Halfway points of the FP8 grid at scale 1, which 448 in every block fixes. */
const ties: Values = (f, nRows, dim) =>
  Float32Array.from({ length: nRows * dim }, (_, i) => {
    if (i % 64 === 0) return 448
    const exponent = f.rand.below(16) - 6
    return (1 + (2 * f.rand.below(8) + 1) / 16) * 2 ** Math.min(exponent, 7) * (i % 2 ? 1 : -1)
  })

const halves: Values = (f, nRows, dim) =>
  Float32Array.from({ length: nRows * dim }, () => (f.rand.below(25) - 12) / 2)

/** roundKv on its own, and packRows after it. */
function kvRows(name: string, nRows: number, dim: number, rope: number, values: Values): Case[] {
  const rounded = (f: Fixture) => {
    const x = f.floats([nRows, dim], values(f, nRows, dim))
    f.ops.roundKv(x, rope)
    return x
  }
  const packed = (f: Fixture) => {
    const [x, out] = [rounded(f), f.tensor("U8", nRows, packedKvBytes(dim, rope))]
    f.ops.packRows(out, x, ROW_KV, rope)
    return out
  }
  return [
    { op: "roundKv", name, run: (f) => [output(f, "x", rounded(f), "exact")] },
    { op: "packRows", name: `KV, ${name}`, run: (f) => [output(f, "out", packed(f), "exact")] },
  ]
}

/** roundIndex on its own, and packRows after it. */
function indexRows(name: string, nRows: number, dim: number, values: Values): Case[] {
  const rounded = (f: Fixture) => {
    const x = f.floats([nRows, dim], values(f, nRows, dim))
    f.ops.roundIndex(x)
    return x
  }
  const packed = (f: Fixture) => {
    const [x, out] = [rounded(f), f.tensor("U8", nRows, packedIndexBytes(dim))]
    f.ops.packRows(out, x, ROW_INDEX)
    return out
  }
  return [
    { op: "roundIndex", name, run: (f) => [output(f, "x", rounded(f), "exact")] },
    { op: "packRows", name: `index, ${name}`, run: (f) => [output(f, "out", packed(f), "exact")] },
  ]
}

function notFinite(): Case {
  return {
    op: "packRows",
    name: "NaN and infinity, after roundKv and roundIndex",
    run(f) {
      const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3.4e38]
      const x = f.rand.normals(4 * 128)
      odd.forEach((v, r) => x.set([v, v], r * 128 + 63))
      const [a, b] = [f.floats([4, 128], x), f.floats([4, 128], x)]
      const [kv, index] = [f.tensor("U8", 4, packedKvBytes(128, 64)), f.tensor("U8", 4, 68)]
      f.ops.roundKv(a, 64)
      f.ops.packRows(kv, a, ROW_KV, 64)
      f.ops.roundIndex(b)
      f.ops.packRows(index, b, ROW_INDEX)
      return [output(f, "kv", kv, "any"), output(f, "index", index, "any")]
    },
  }
}

function ringCases(): Case[] {
  return [
    ring("one row at a time, around the end", 6, [run(0, 4, 1), run(0, 5, 1), run(0, 6, 1)]),
    ring("two sequences in a step", 8, [[...run(1, 3, 4), ...run(0, 6, 5)]]),
    ring("more rows than slots: the later stay", 6, [[...run(0, 0, 17), ...run(1, 9, 3)]]),
    ring("as many rows as slots, twice", 6, [run(1, 2, 6), run(1, 8, 6)]),
    ring("a page of 584 bytes a row", 130, [[...run(0, 126, 5), ...run(1, 0, 2)]], 584),
  ]
}

function ring(name: string, nSlots: number, steps: RowSpec[][], width = 24): Case {
  return {
    op: "storeRing",
    name,
    run(f) {
      const to = f.bytes("U8", [2, nSlots, width], f.rand.bytes(2 * nSlots * width))
      for (const rows of steps) {
        const src = f.bytes("U8", [rows.length, width], f.rand.bytes(rows.length * width))
        f.ops.storeRing(to, src, f.rows(rows))
      }
      return [output(f, "ring", to, "exact")]
    },
  }
}

function pageCases(): Case[] {
  return [
    pages("ratio 4, blocks end inside and across steps", 4, [
      run(0, 0, 2),
      run(0, 2, 7),
      run(0, 9, 3),
    ]),
    pages("ratio 4, over a page's edge, two sequences", 4, [
      [...run(0, 125, 9), ...run(1, 252, 6)],
    ]),
    pages("ratio 4, nothing completes", 4, [run(1, 4, 3)]),
    pages("ratio 128, the one row of a page", 128, [[...run(0, 120, 17), ...run(1, 383, 1)]]),
    pages("ratio 128, token by token", 128, [run(0, 126, 1), run(0, 127, 1), run(0, 128, 1)]),
  ]
}

function pages(name: string, ratio: number, steps: RowSpec[][]): Case {
  return {
    op: "storePages",
    name,
    run(f) {
      const width = 24
      const rows = f.rand.bytes((2 * 3 + 1) * (128 / ratio) * width)
      const to = f.pages(width, rows, 2, 3, ratio)
      for (const step of steps) {
        const src = f.bytes("U8", [step.length, width], f.rand.bytes(step.length * width))
        f.ops.storePages(to, src, f.rows(step))
      }
      return [output(f, "pages", to.rows, "exact")]
    },
  }
}

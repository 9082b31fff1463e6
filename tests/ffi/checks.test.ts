/** What the C side refuses: wrong arguments and wrong data in device memory, never with a crash. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { ROW_KV } from "../../src/ops/kv-ops.ts"
import { Ops } from "../../src/ops/ops.ts"
import { Machine, Numbers, type Row, rowTable } from "./machine.ts"

let m: Machine
let ops: Ops
beforeAll(() => {
  m = new Machine(undefined, 2)
  ops = new Ops(m.backend)
})
afterAll(() => m[Symbol.dispose]())

const row = (pos: number, seq = 0, token = 0): Row => ({ seq, pos, token })

test("openCpu() refuses an instruction set that is not here", () => {
  expect(() => new Machine("sse9")).toThrow('Instruction set "sse9" is not on this machine')
})

test("matmul() refuses rows that do not fill blocks, and types without kernels", () => {
  const t = m.tensor("F32", 4, 64)
  expect(() => m.backend.kernels.matmul(t, t, t, 1, 1, 48, 2, 8)).toThrow("blocks of 32")
  expect(() => m.backend.kernels.matmul(t, t, t, 1, 1, 64, 2, 12)).toThrow("blocks of 256")
  expect(() => m.backend.kernels.matmul(t, t, t, 1, 1, 64, 2, 26)).toThrow(
    "no kernel for tensor type 26",
  )
})

test("embed() refuses a token outside the table", () => {
  const [out, table] = [m.tensor("F32", 1, 4, 8), m.tensor("F32", 10, 8)]
  expect(() => ops.embed(out, table, rowTable(m, [row(0, 0, 10)]))).toThrow("token 10 of 10")
})

describe("row tables", () => {
  const words: [string, number[], RegExp][] = [
    ["a sequence that is not there", [2, 5, 0, 0, 0], /sequence 2 of 2/],
    ["more rows before than there are", [0, 5, 0, 1, 0], /1 before and 0 after/],
    ["more rows after than there are", [0, 5, 0, 0, 1], /0 before and 1 after/],
    ["a position beyond all contexts", [0, 2 ** 31, 0, 0, 0], /position 2147483648/],
    ["a row before it of another sequence", [0, 5, 0, 0, 0, 1, 6, 0, 1, 0], /1 before/],
    ["a gap in the positions", [0, 5, 0, 0, 1, 0, 7, 0, 1, 0], /1 before/],
  ]
  test.each(words)("storeRing() refuses %s", (_, rows, message) => {
    const n = rows.length / 5
    const [ring, src] = [m.tensor("U8", 2, 8, 16), m.tensor("U8", n, 16)]
    const table = m.tensor("I32", n, 5)
    new Uint32Array(table.i32().buffer).set(rows)
    expect(() => ops.storeRing(ring, src, table)).toThrow(message)
  })
})

describe("pages", () => {
  const store = (table: number[], pos: number) => {
    const pages = { rows: m.tensor("U8", 4, 32, 16), table: m.ints([1, 2], table), ratio: 4 }
    ops.storePages(pages, m.tensor("U8", 1, 16), rowTable(m, [row(pos)]))
  }
  test("storePages() refuses a page that is not there, and a table that is too short", () => {
    store([3, 9], 127)
    expect(() => store([3, 9], 131)).toThrow("page 1 of sequence 0 is 9 of 4")
    expect(() => store([3, -1], 131)).toThrow("is 4294967295 of 4")
    expect(() => store([3, 1], 259)).toThrow("needs 3 pages, the table has 2")
  })
})

test("experts and routerHash() refuse an expert that is not there", () => {
  const [x, w, out] = [m.tensor("F32", 1, 8), m.tensor("F32", 3, 16, 8), m.tensor("F32", 1, 2, 16)]
  const weights = m.tensor("F32", 1, 2)
  for (const bad of [3, -1]) {
    const sel = m.ints([1, 2], [0, bad])
    expect(() => ops.expertsGateUp(out, x, w, w, sel, weights, 1)).toThrow(`expert ${bad} of 3`)
    const down = m.tensor("F32", 3, 8, 16)
    expect(() => ops.expertsDown(m.tensor("F32", 1, 8), out, down, sel)).toThrow(
      `expert ${bad} of 3`,
    )
    const rows = rowTable(m, [row(0)])
    const [s, logits] = [m.tensor("I32", 1, 2), m.tensor("F32", 1, 3)]
    expect(() => ops.routerHash(s, weights, logits, sel, rows, 1)).toThrow(`expert ${bad} of 3`)
  }
})

test("attend() refuses a selected row that is not visible", () => {
  const pages = { rows: m.tensor("U8", 1, 32, 584), table: m.ints([1, 1], [0]), ratio: 4 }
  const q = m.tensor("F32", 1, 2, 512)
  const [step, ring] = [m.tensor("U8", 1, 584), m.tensor("U8", 1, 128, 584)]
  const attend = (...sel: number[]) =>
    ops.attend(
      q,
      q,
      step,
      ring,
      pages,
      m.ints([1, 3], sel),
      m.tensor("F32", 2),
      rowTable(m, [row(9)]),
      8,
      64,
      1,
    )
  attend(0, 1, 77) // two rows are visible: the third entry does not hold
  expect(() => attend(0, 2, 0)).toThrow("sel 2 of 2")
})

describe("numbers that are none", () => {
  const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]

  test.each(["F32", "F16", "Q8_0", "MXFP4", "Q2_K", "Q4_K", "IQ2_XXS"] as const)(
    "matmul() with %s carries them into the result",
    (type) => {
      for (const value of bad) {
        const x = m.floats([2, 512], new Numbers(5).normals(1024))
        x.f32()[300] = value
        const w = m.bytes(type, [3, 512], new Numbers(6).weights(type, 3 * 512))
        const out = m.tensor("F32", 2, 3)
        ops.matmul(out, x, w)
        expect(Array.from(out.f32(), Number.isFinite)).toEqual([
          false,
          false,
          false,
          true,
          true,
          true,
        ])
      }
    },
  )

  test("rows that are stored keep them visible", () => {
    for (const value of bad) {
      const x = m.floats([1, 128], new Numbers(5).normals(128))
      x.f32()[3] = value
      ops.roundKv(x, 64)
      expect(Number.isNaN(x.f32()[3]!)).toBe(true)
      const [packed, q] = [
        m.tensor("U8", 1, 200),
        m.floats([1, 1, 128], new Float32Array(128).fill(1)),
      ]
      ops.packRows(packed, x, ROW_KV, 64)
      const [ring, rows] = [m.tensor("U8", 1, 4, 200), rowTable(m, [row(0)])]
      ops.attend(q, q, packed, ring, null, null, m.floats([1], [0]), rows, 4, 64, 1)
      expect(q.f32().every((v) => Number.isNaN(v))).toBe(true)
    }
  })

  test("routerTopK() and indexTopK() still give ids that exist", () => {
    const [sel, weights] = [m.tensor("I32", 1, 4), m.tensor("F32", 1, 4)]
    ops.routerTopK(sel, weights, m.floats([1, 9], new Float32Array(9).fill(Number.NaN)), null, 1)
    expect(Array.from(sel.i32())).toEqual([0, 1, 2, 3])
    ops.routerTopK(
      sel,
      weights,
      m.floats([1, 6], [Number.NaN, 1, Infinity, -Infinity, 2, 0]),
      null,
      1,
    )
    expect(Array.from(sel.i32())).toEqual([2, 4, 1, 5])
    const pages = { rows: m.tensor("U8", 1, 32, 20), table: m.ints([1, 1], [0]), ratio: 4 }
    const q = m.floats([1, 1, 32], new Float32Array(32).fill(Number.NaN))
    ops.indexTopK(sel, q, m.floats([1, 1], [1]), pages, rowTable(m, [row(47)]), 1)
    expect(Array.from(sel.i32())).toEqual([0, 1, 2, 3])
  })

  test("candidates() says that a row is bad", () => {
    for (const value of bad) {
      const logits = m.floats([1, 10], new Numbers(5).normals(10))
      logits.f32()[4] = value
      const info = m.tensor("I32", 1, 5)
      const [ids, values] = [m.tensor("I32", 1, 4), m.tensor("F32", 1, 4)]
      ops.candidates(info, ids, values, logits, null, m.floats([1], [1]), null, 0)
      expect(info.i32()[3]).toBe(1)
    }
  })
})

test("indexTopK() takes the lower of equal scores, and orders what it takes", () => {
  const numbers = new Numbers(9)
  const n = 2000
  const nPages = Math.ceil(n / 32)
  const pages = {
    rows: m.tensor("U8", nPages, 32, 20),
    table: m.ints(
      [1, nPages],
      Array.from({ length: nPages }, (_, i) => i),
    ),
    ratio: 4,
  }
  // Few levels: element 0 of a row is one of 8 values, so that many scores are equal.
  const levels = Array.from({ length: n }, () => numbers.below(8))
  const bytes = pages.rows.raw()
  levels.forEach((v, c) => {
    bytes[c * 20] = v
    bytes[c * 20 + 16] = 127
  })
  const q = m.floats(
    [1, 1, 32],
    Float32Array.from({ length: 32 }, (_, i) => +(i === 0)),
  )
  for (const topK of [1, 7, 500, 1999, 2000, 2100]) {
    const sel = m.tensor("I32", 1, topK)
    ops.indexTopK(sel, q, m.floats([1, 1], [1]), pages, rowTable(m, [row(4 * n - 1)]), 1)
    const order = levels.map((_, c) => c).toSorted((a, b) => levels[b]! - levels[a]! || a - b)
    const expected = order.slice(0, topK).toSorted((a, b) => a - b)
    expect(Array.from(sel.i32()).slice(0, Math.min(n, topK))).toEqual(expected)
  }
})

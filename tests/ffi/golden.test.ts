/** Golden vectors of the model specification (§20) through the C ops. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { GgmlType } from "../../src/gguf/types.ts"
import { Ops } from "../../src/ops/ops.ts"
import { f32ToF16 } from "../../src/quant/tables.ts"
import { ISAS, Machine, rowTable } from "./machine.ts"

const bt = (n: number) => Uint8Array.from({ length: n }, (_, i) => 37 * i + 11)
const half = (x: number) => new Uint8Array(Uint16Array.of(f32ToF16(x)).buffer)
const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((p) => [...p]))
const wave = (n: number) =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(0.37 * i + 0.1) * (1 + (i % 7)))

function near(actual: ArrayLike<number>, expected: number[], digits = 7): void {
  expected.forEach((v, i) => expect(actual[i]! / 1).toBeCloseTo(v, digits))
}
const sum = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0)
const squares = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b * b, 0)

describe.each(ISAS)("%s", (isa) => {
  let m: Machine
  let ops: Ops
  beforeAll(() => {
    m = new Machine(isa)
    ops = new Ops(m.backend)
  })
  afterAll(() => m[Symbol.dispose]())

  const blocks: Partial<Record<GgmlType, Uint8Array>> = {
    IQ2_XXS: join(half(1), bt(64)),
    Q2_K: join(bt(80), half(1), half(0.5)),
    Q4_K: join(half(1), half(0.5), bt(140)),
    MXFP4: join(Uint8Array.of(127), bt(16)),
    Q8_0: join(half(0.5), bt(32)),
  }
  const decoded: [GgmlType, number[], number, number][] = [
    ["IQ2_XXS", [-3.125, -1, -1, -3.125, -1, 1, 1, -1, -1, 1, 5.375], -485.375, 796691.203125],
    ["Q2_K", [33, 0, 11, 22, 33, 0, 11, 22], 2059, 54476],
    ["Q4_K", [61.5, 116.5, -4.5, 50.5, 105.5, -15.5, 39.5, 94.5], 44504, 18426232],
    ["MXFP4", [-1.5, 0, 3, -1, -6, 2, -0.5, -4], 9.5, 275.25],
    ["Q8_0", [5.5, 24, 42.5, 61, -48.5, -30, -11.5, 7], 8, 45788],
  ]

  test.each(decoded)("embed() decodes a block of %s", (type, first, total, energy) => {
    const n = type === "MXFP4" || type === "Q8_0" ? 32 : 256
    const out = m.tensor("F32", 1, 1, n)
    ops.embed(
      out,
      m.bytes(type, [1, n], blocks[type]!),
      rowTable(m, [{ seq: 0, pos: 0, token: 0 }]),
    )
    near(out.f32(), first)
    expect(sum(out.f32())).toBe(total)
    expect(squares(out.f32())).toBe(energy)
  })

  test.each([
    ["Q2_K", 218.0065],
    ["IQ2_XXS", 301.6184],
  ] as const)("matmul() of Q8_K with a block of %s", (type, dot) => {
    const out = m.tensor("F32", 1, 1)
    ops.matmul(out, m.floats([1, 256], wave(256)), m.bytes(type, [1, 256], blocks[type]!))
    expect(out.f32()[0]!).toBeCloseTo(dot, 3)
  })

  test("matmul() rounds activations to Q8_0 for Q8_0 weights", () => {
    // A weight row that picks one element gives back its code times its scale.
    const codes = [2, 17, 41, 69, 93, 103, 95, 8]
    const w = join(
      ...codes.map((_, i) =>
        join(
          half(1),
          Uint8Array.from({ length: 32 }, (_, k) => +(k === i)),
        ),
      ),
    )
    const out = m.tensor("F32", 1, 8)
    ops.matmul(out, m.floats([1, 32], wave(32)), m.bytes("Q8_0", [8, 32], w))
    near(
      out.f32(),
      codes.map((c) => c * 0.05404542),
      5,
    )
  })

  test("roundKv() goes through E4M3", () => {
    const x = m.floats([1, 512], wave(512))
    ops.roundKv(x, 64)
    near(x.f32(), [0.1015625, 0.875, 2.25, 3.75, 5, 5.5, 5, 0.4375])
    expect(sum(x.f32().subarray(0, 448))).toBeCloseTo(23.429138184, 8)
    expect(Array.from(x.f32().subarray(448))).toEqual(
      Array.from(wave(512).subarray(448), Math.f16round),
    )
  })

  test("roundKv() rounds E4M3 ties to even codes", () => {
    const values = [448, 0.9375, 0.96875, 1.0625, 17, 19, 21, 432, 2 ** -10, 1.5 * 2 ** -9, -1.0625]
    const x = m.floats(
      [1, 64],
      Float32Array.from({ length: 64 }, (_, i) => values[i] ?? 0),
    )
    ops.roundKv(x, 0)
    near(x.f32(), [448, 0.9375, 1, 1, 16, 20, 20, 448, 0, 2 ** -8, -1])
  })

  test("roundIndex() is Hadamard and FP4", () => {
    const x = m.floats(
      [1, 128],
      Array.from({ length: 128 }, (_, i) => (((29 * i + 3) % 61) - 30) / 16),
    )
    ops.roundIndex(x)
    near(x.f32(), [-0.25, -0.25, 0.5, 0, -0.5, -2, 0.75, 0, -0.5, 0, 0, 0.75, -0.75, 0, 0, -0.75])
    near(x.f32().subarray(124), [-2, -3, 0, 1])
    expect(sum(x.f32())).toBe(-19)
    expect(squares(x.f32())).toBe(167.375)
  })

  test("hcSplit() is Sinkhorn", () => {
    const range = Array.from({ length: 24 }, (_, i) => i)
    const mix = m.floats(
      [1, 24],
      range.map((i) => 2 * Math.sin(1.3 * i + 0.2)),
    )
    const base = m.floats(
      [24],
      range.map((i) => Math.cos(0.9 * i)),
    )
    const [pre, post, comb] = [
      m.tensor("F32", 1, 4),
      m.tensor("F32", 1, 4),
      m.tensor("F32", 1, 4, 4),
    ]
    ops.hcSplit(pre, post, comb, mix, m.floats([3], [0.7, 1.1, 0.9]), base, 20, 1e-6)
    near(pre.f32(), [0.7821335, 0.8826857, 0.5601536, 0.11408771], 6)
    near(post.f32(), [0.1386841, 1.3274212, 1.8865649, 1.5627366], 6)
    near(comb.f32(), [0.042302467, 0.094536036, 0.55038553, 0.31277537, 0.04747275, 0.0669463], 6)
    near(comb.f32().subarray(12), [0.2268815, 0.70103896, 0.06831893, 0.003759127], 6)
  })

  test.each([
    [5, 10000, [1.24258646, -0.675262089, -0.249734371, -1.391988773, -1.270014473, -0.622144066]],
    [0, 10000, [1, 1, 1, 1]],
  ] as const)("ropeTail() at position %i", (pos, base, expected) => {
    const freqs = m.floats(
      [32],
      Array.from({ length: 32 }, (_, i) => base ** (-i / 32)),
    )
    const table = m.tensor("F32", 1, 32, 2)
    const x = m.floats([1, 1, 64], new Float32Array(64).fill(1))
    ops.ropeTable(table, freqs, rowTable(m, [{ seq: 0, pos, token: 0 }]), 1)
    ops.ropeTail(x, table)
    near(x.f32(), [...expected], 6)
    ops.ropeTail(x, table, true)
    near(x.f32(), [1, 1, 1, 1, 1, 1], 6)
  })

  test("routerTopK() scores by √softplus", () => {
    const logits = [-25, -3, 0, 1, 5, 25]
    const golden = [3.7266532e-6, 0.22042538, 0.83255464, 1.1459763, 2.2375691, 5]
    const [sel, weights] = [m.tensor("I32", 1, 6), m.tensor("F32", 1, 6)]
    ops.routerTopK(sel, weights, m.floats([1, 6], logits), null, sum(golden))
    expect(Array.from(sel.i32())).toEqual([5, 4, 3, 2, 1, 0])
    golden.forEach((p, i) => expect(weights.f32()[5 - i]! / p).toBeCloseTo(1, 6))
  })
})

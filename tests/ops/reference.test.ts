/** The reference backend against the golden numbers of the model specification (§20), which two
 *  other implementations computed; and the 8-bit activations of the conformance table. */
import { afterAll, describe, expect, test } from "bun:test"
import type { GgmlType } from "../../src/gguf/types.ts"
import { packedKvBytes } from "../../src/ops/backend.ts"
import { q8_0, q8K, roundActivations } from "../../src/ops/conformance/activations.ts"
import { Fixture } from "../../src/ops/conformance/fixture.ts"
import { ROW_INDEX, ROW_KV } from "../../src/ops/kv-ops.ts"
import { openReference } from "../../src/ops/reference/index.ts"
import type { Tensor } from "../../src/ops/tensor.ts"
import { f32ToF16 } from "../../src/quant/tables.ts"

const backend = openReference()
const f = new Fixture(backend, 1)
const { ops } = f
afterAll(() => backend.close())

const numbers = (n: number, of: (i: number) => number) =>
  Float32Array.from({ length: n }, (_, i) => of(i))
const wave = (n: number) => numbers(n, (i) => Math.sin(0.37 * i + 0.1) * (1 + (i % 7)))
const hadamardInput = numbers(128, (i) => (((29 * i + 3) % 61) - 30) / 16)
const sum = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0)
const squares = (x: ArrayLike<number>) => sum(Array.from(x, (v) => v * v))

function near(got: ArrayLike<number>, wanted: readonly number[], digits = 6): void {
  wanted.forEach((v, i) => expect(got[i]!, `[${i}]`).toBeCloseTo(v, digits))
}

const bt = (n: number) => Uint8Array.from({ length: n }, (_, i) => 37 * i + 11)
const half = (x: number) => new Uint8Array(Uint16Array.of(f32ToF16(x)).buffer)
const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((p) => [...p]))

describe("weights", () => {
  const blocks: [GgmlType, Uint8Array, number, number][] = [
    ["IQ2_XXS", join(half(1), bt(64)), -485.375, 796691.203125],
    ["Q2_K", join(bt(80), half(1), half(0.5)), 2059, 54476],
    ["Q4_K", join(half(1), half(0.5), bt(140)), 44504, 18426232],
    ["MXFP4", join(Uint8Array.of(127), bt(16)), 9.5, 275.25],
    ["Q8_0", join(half(0.5), bt(32)), 8, 45788],
  ]
  test.each(blocks)("embed() and matmul() of a block of %s", (type, bytes, total, energy) => {
    const n = type === "MXFP4" || type === "Q8_0" ? 32 : 256
    const w = f.bytes(type, [1, n], bytes)
    const [values, dot] = [f.tensor("F32", 1, 1, n), f.tensor("F32", 1, 1)]
    ops.embed(values, w, f.rows([{ seq: 0, pos: 0 }]))
    expect(sum(values.f32())).toBe(total)
    expect(squares(values.f32())).toBe(energy)
    ops.matmul(dot, values.reshape(1, n), w)
    expect(dot.f32()[0]).toBe(Math.fround(energy))
  })

  test.each([
    ["Q2_K", 218.0065],
    ["IQ2_XXS", 301.6184],
  ] as const)("matmul() of rounded activations with a block of %s", (type, wanted) => {
    const w = f.bytes(type, [1, 256], blocks.find(([t]) => t === type)![1])
    const out = f.tensor("F32", 1, 1)
    ops.matmul(out, f.floats([1, 256], roundActivations("Q8_K", wave(256))), w)
    expect(out.f32()[0]!).toBeCloseTo(wanted, 3)
  })
})

describe("activations in 8 bits", () => {
  test("q8K() has the signed rule", () => {
    const { d, codes } = q8K(wave(256))
    expect(d).toBeCloseTo(-0.05509389, 7)
    expect([...codes.slice(0, 12)]).toEqual([-2, -16, -41, -68, -91, -101, -93, -8, -3, 15, 44, 78])
  })
  test("q8_0() rounds each 32", () => {
    const { d, codes } = q8_0(wave(32))
    expect(d).toBeCloseTo(0.05404542, 7)
    expect([...codes.slice(0, 8)]).toEqual([2, 17, 41, 69, 93, 103, 95, 8])
  })
  test("zeros stay zeros", () => {
    expect(roundActivations("Q8_0", new Float32Array(64))).toEqual(new Float32Array(64))
    expect(roundActivations("Q8_K", new Float32Array(256))).toEqual(new Float32Array(256))
  })
})

describe("precision of stored rows", () => {
  test("roundKv() is E4M3 and f16", () => {
    const x = f.floats([1, 512], wave(512))
    ops.roundKv(x, 64)
    near(x.f32(), [0.1015625, 0.875, 2.25, 3.75, 5, 5.5, 5, 0.4375], 9)
    expect(sum(x.f32().subarray(0, 448))).toBeCloseTo(23.429138184, 8)
    expect([...x.f32().subarray(448)]).toEqual(Array.from(wave(512).subarray(448), Math.f16round))
  })

  test("roundKv() rounds ties to even codes", () => {
    const values = [448, 0.9375, 0.96875, 1.0625, 17, 19, 21, 432, 2 ** -10, 1.5 * 2 ** -9, -1.0625]
    const x = f.floats(
      [1, 64],
      numbers(64, (i) => values[i] ?? 0),
    )
    ops.roundKv(x, 0)
    expect([...x.f32().subarray(0, 11)]).toEqual([
      448,
      0.9375,
      1,
      1,
      16,
      20,
      20,
      448,
      0,
      2 ** -8,
      -1,
    ])
  })

  test("roundIndex() is Hadamard and E2M1", () => {
    const x = f.floats([1, 128], hadamardInput)
    ops.roundIndex(x)
    near(
      x.f32(),
      [-0.25, -0.25, 0.5, 0, -0.5, -2, 0.75, 0, -0.5, 0, 0, 0.75, -0.75, 0, 0, -0.75],
      9,
    )
    near(x.f32().subarray(124), [-2, -3, 0, 1], 9)
    expect(sum(x.f32())).toBe(-19)
    expect(squares(x.f32())).toBe(167.375)
  })

  test("packRows() loses nothing: attention to a single row gives it back", () => {
    const x = f.floats([1, 512], wave(512))
    ops.roundKv(x, 64)
    const packed = f.tensor("U8", 1, packedKvBytes(512, 64))
    ops.packRows(packed, x, ROW_KV, 64)
    const [out, q] = [f.tensor("F32", 1, 1, 512), f.tensor("F32", 1, 1, 512)]
    const [ring, sinks] = [f.tensor("U8", 1, 4, packed.bytes), f.floats([1], [-1000])]
    ops.attend(out, q, packed, ring, null, null, sinks, f.rows([{ seq: 0, pos: 0 }]), 4, 64, 1)
    expect(out.f32()).toEqual(x.f32())
  })

  test("packRows() loses nothing of an index row: unit queries read it", () => {
    const x = f.floats([1, 128], hadamardInput)
    ops.roundIndex(x)
    const packed = f.tensor("U8", 1, 68)
    ops.packRows(packed, x, ROW_INDEX)
    const pages = { rows: f.tensor("U8", 1, 32, 68), table: f.ints([1, 1], [0]), ratio: 4 }
    const rows = f.rows([{ seq: 0, pos: 3 }])
    ops.storePages(pages, packed, rows)
    const [sel, score, one] = [f.tensor("I32", 1, 1), f.tensor("F32", 1, 1), f.floats([1, 1], [1])]
    const read = (i: number, sign: number) => {
      const q = f.floats(
        [1, 1, 128],
        numbers(128, (j) => (j === i ? sign : 0)),
      )
      ops.indexTopK(sel, q, one, pages, rows, 1, score)
      return sign * score.f32()[0]!
    }
    for (let i = 0; i < 128; i++) expect(read(i, 1) + read(i, -1)).toBe(x.f32()[i]!)
  })
})

test("hcSplit() is Sinkhorn", () => {
  const mix = f.floats(
    [1, 24],
    numbers(24, (i) => 2 * Math.sin(1.3 * i + 0.2)),
  )
  const base = f.floats(
    [24],
    numbers(24, (i) => Math.cos(0.9 * i)),
  )
  const [pre, post, comb] = [f.tensor("F32", 1, 4), f.tensor("F32", 1, 4), f.tensor("F32", 1, 4, 4)]
  ops.hcSplit(pre, post, comb, mix, f.floats([3], [0.7, 1.1, 0.9]), base, 20, 1e-6)
  near(pre.f32(), [0.7821335, 0.8826857, 0.5601536, 0.11408771])
  near(post.f32(), [0.1386841, 1.3274212, 1.8865649, 1.5627366])
  const wanted = [
    [0.042302467, 0.094536036, 0.55038553, 0.31277537],
    [0.04747275, 0.0669463, 0.32887062, 0.55670977],
    [0.68334234, 0.13747776, 0.052423865, 0.12675475],
    [0.2268815, 0.70103896, 0.06831893, 0.003759127],
  ]
  near(comb.f32(), wanted.flat())
})

describe("RoPE", () => {
  const raw = numbers(32, (i) => 10000 ** (-i / 32))
  /** Frequencies of layers with compression, spec §7. */
  const scaled = numbers(32, (i) => {
    const t = 160000 ** (-i / 32)
    const ramp = Math.max(0, Math.min(1, (i - 15) / 10))
    return t * (1 - ramp) + (t / 16) * ramp
  })
  const turned = (freqs: Float32Array, pos: number): Tensor => {
    const [table, x] = [
      f.tensor("F32", 1, 32, 2),
      f.floats(
        [1, 1, 64],
        numbers(64, () => 1),
      ),
    ]
    ops.ropeTable(table, f.floats([32], freqs), f.rows([{ seq: 0, pos }]), 1)
    ops.ropeTail(x, table)
    return x
  }

  test("position 5 of a layer without compression", () => {
    const x = turned(raw, 5).f32()
    near(x, [1.24258646, -0.675262089, -0.249734371, -1.391988773, -1.270014473, -0.622144066])
    near(x.subarray(62), [0.999333017, 1.000666538])
  })
  test("position 5 of a layer with compression", () => {
    const x = turned(scaled, 5).f32()
    near(x, [1.24258646, -0.675262089, -0.663956173, -1.248664167, -1.414166485, -0.011539193])
    near(x.subarray(32), [0.988607955, 1.01126372, 0.992991662, 1.006959562])
  })
  test("position 100,000: as near as an angle in f32 allows", () => {
    const x = turned(scaled, 100_000).f32()
    near(x, [-1.035109605, -0.963612009, -1.411134794, -0.093266254, 1.156537352, 0.813892716], 2)
    near(x.subarray(32), [0.573519792, 1.29270068, -0.872268884, 1.113169796], 4)
  })
})

test("routerTopK() scores by √softplus", () => {
  const golden = [3.7266532e-6, 0.22042538, 0.83255464, 1.1459763, 2.2375691, 5]
  const [sel, weights] = [f.tensor("I32", 1, 6), f.tensor("F32", 1, 6)]
  ops.routerTopK(sel, weights, f.floats([1, 6], [-25, -3, 0, 1, 5, 25]), null, sum(golden))
  expect([...sel.i32()]).toEqual([5, 4, 3, 2, 1, 0])
  golden.forEach((p, i) => expect(weights.f32()[5 - i]! / p).toBeCloseTo(1, 6))
})

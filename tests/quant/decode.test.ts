import { describe, expect, test } from "bun:test"
import { GGML_TYPES } from "../../src/gguf/types.ts"
import type { GgmlType } from "../../src/gguf/types.ts"
import { dequantize, dequantizeRow } from "../../src/quant/decode.ts"

const F16 = { one: [0x00, 0x3c], half: [0x00, 0x38] }

/** The formula bytes of spec §20. */
function bt(n: number): number[] {
  return Array.from({ length: n }, (_, i) => (37 * i + 11) % 256)
}

function decode(type: GgmlType, ...bytes: number[]): Float32Array {
  const out = new Float32Array(GGML_TYPES[type].blockElems)
  dequantize(type, Uint8Array.from(bytes), out)
  return out
}

function sums(values: Float32Array): [number, number] {
  let sum = 0
  let squares = 0
  for (const v of values) {
    sum += v
    squares += v * v
  }
  return [sum, squares]
}

describe("golden blocks of spec §20", () => {
  test("IQ2_XXS", () => {
    const out = decode("IQ2_XXS", ...F16.one, ...bt(64))
    expect([...out.subarray(0, 16)]).toEqual([
      -3.125, -1, -1, -3.125, -1, 1, 1, -1, -1, 1, 5.375, -1, 3.125, 3.125, 1, 1,
    ])
    expect([...out.subarray(-8)]).toEqual([5, 5, 26.875, 5, -15.625, -5, 5, 15.625])
    expect(sums(out)).toEqual([-485.375, 796691.203125])
  })

  test("Q2_K", () => {
    const out = decode("Q2_K", ...bt(80), ...F16.one, ...F16.half)
    const four = [33, 0, 11, 22]
    expect([...out.subarray(0, 16)]).toEqual([...four, ...four, ...four, ...four])
    expect([...out.subarray(-8)]).toEqual([4.5, 10.5, 10.5, 16.5, -1.5, -1.5, 4.5, 4.5])
    expect(sums(out)).toEqual([2059, 54476])
  })

  test("Q4_K", () => {
    const out = decode("Q4_K", ...F16.one, ...F16.half, ...bt(140))
    expect([...out.subarray(0, 8)]).toEqual([61.5, 116.5, -4.5, 50.5, 105.5, -15.5, 39.5, 94.5])
    expect([...out.subarray(128, 136)]).toEqual([3.5, 18.5, -14.5, 0.5, 15.5, -17.5, -2.5, 12.5])
    expect([...out.subarray(-8)]).toEqual([13, 67, 103, 139, 193, 229, 265, 31])
    expect(sums(out)).toEqual([44504, 18426232])
  })

  test("MXFP4", () => {
    const out = decode("MXFP4", 127, ...bt(16))
    expect([...out.subarray(0, 8)]).toEqual([-1.5, 0, 3, -1, -6, 2, -0.5, -4])
    expect([...out.subarray(-4)]).toEqual([-2, -4, 0.5, 1.5])
    expect(sums(out)).toEqual([9.5, 275.25])
  })

  test("Q8_0", () => {
    const out = decode("Q8_0", ...F16.half, ...bt(32))
    expect([...out.subarray(0, 8)]).toEqual([5.5, 24, 42.5, 61, -48.5, -30, -11.5, 7])
    expect(sums(out)).toEqual([8, 45788])
  })
})

describe("dequantize()", () => {
  test("F32, F16, BF16 and I32 give the values that were stored", () => {
    const values = Float32Array.of(1, -2.5, 0, 65504, -0.000030517578125)
    const out = new Float32Array(5)
    dequantize("F32", new Uint8Array(values.buffer), out)
    expect(out).toEqual(values)
    dequantize("F16", new Uint8Array(Float16Array.from(values).buffer), out)
    expect(out).toEqual(values)
    dequantize("BF16", Uint8Array.of(0x80, 0x3f, 0x20, 0xc0, 0, 0, 0, 0x80, 0xff, 0x7f), out)
    expect([...out]).toEqual([1, -2.5, 0, -0, Number.NaN])
    dequantize("I32", new Uint8Array(Int32Array.of(0, -1, 255, 1 << 20, -7).buffer), out)
    expect([...out]).toEqual([0, -1, 255, 1 << 20, -7])
  })

  test("works at every byte offset: a view into a file need not be aligned", () => {
    const out = new Float32Array(32)
    const padded = Uint8Array.from([9, 0x00, 0x38, ...bt(32)])
    dequantize("Q8_0", padded.subarray(1), out)
    expect(out[1]).toBe(24)
    const odd = new Uint8Array(9)
    odd.set(new Uint8Array(Float32Array.of(3, 4).buffer), 1)
    dequantize("F32", odd.subarray(1), out.subarray(0, 2))
    expect([...out.subarray(0, 2)]).toEqual([3, 4])
  })

  test("refuses lengths that do not fit, with both numbers", () => {
    const out = new Float32Array(32)
    expect(() => dequantize("Q8_0", new Uint8Array(33), out)).toThrow(
      "Cannot decode 32 Q8_0 weights: 33 bytes, expected 34",
    )
    expect(() => dequantize("Q4_K", new Uint8Array(144), out)).toThrow("blocks hold 256")
  })

  test("dequantizeRow() takes the row it is asked for, and none outside", () => {
    const bytes = new Uint8Array(3 * 34)
    for (let row = 0; row < 3; row++) bytes.set([0x00, 0x3c, ...bt(32 + row).slice(row)], row * 34)
    const out = new Float32Array(32)
    dequantizeRow("Q8_0", bytes, 2, out)
    expect(out[0]).toBe(85)
    expect(() => dequantizeRow("Q8_0", bytes, 3, out)).toThrow("Cannot decode row 3")
    expect(() => dequantizeRow("Q8_0", bytes, -1, out)).toThrow("Cannot decode row -1")
  })
})

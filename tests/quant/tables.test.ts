import { describe, expect, test } from "bun:test"
import {
  bf16ToF32,
  ceilLog2,
  E2M1,
  e2m1Code,
  E4M3,
  e4m3Code,
  E8M0,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  IQ2XXS_CODES,
  IQ2XXS_GRID,
  IQ2XXS_SIGNS,
  roundEven,
} from "../../src/quant/tables.ts"

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex")
}

describe("IQ2_XXS tables", () => {
  test("the grid has the checksums of spec, Appendix A", () => {
    expect(sha256(new Uint8Array(IQ2XXS_CODES.buffer))).toBe(
      "915952ebc4af8ddba8113583ca1316fc818843f7b825bbf1a25ae1c39bf0e16d",
    )
    expect(sha256(IQ2XXS_GRID)).toBe(
      "05826b5d3e472a3a78f196be62ac78acf81df0f909626e12ab9fa2a5d490dd54",
    )
  })

  test("every sign byte keeps its index and has an even number of minus signs", () => {
    for (let i = 0; i < 128; i++) {
      const signs = IQ2XXS_SIGNS[i]!
      expect(signs & 127).toBe(i)
      expect(signs.toString(2).replaceAll("0", "").length % 2).toBe(0)
    }
  })
})

describe("E2M1", () => {
  test("e2m1Code() rounds as the golden line of spec §20", () => {
    const golden: [number, number][] = [
      [0.25, 0],
      [0.75, 1],
      [1.25, 1],
      [1.75, 2],
      [2.5, 2],
      [3.5, 4],
      [5, 4],
      [0.26, 0.5],
      [5.01, 6],
      [100, 6],
    ]
    for (const [x, y] of golden) expect([x, E2M1[e2m1Code(x)]!]).toEqual([x, y])
  })
})

describe("E4M3", () => {
  test("e4m3Code() rounds as the golden line of spec §20", () => {
    const golden: [number, number][] = [
      [0.9375, 0.9375],
      [0.96875, 1],
      [1.0625, 1],
      [17, 16],
      [19, 20],
      [21, 20],
      [432, 448],
      [2 ** -10, 0],
      [1.5 * 2 ** -9, 2 ** -8],
      [448, 448],
      [1e9, 448],
    ]
    for (const [x, y] of golden) expect([x, E4M3[e4m3Code(x)]!]).toEqual([x, y])
  })

  test("e4m3Code() is nearest with ties to the even code between all neighbours", () => {
    for (let code = 0; code < 126; code++) {
      const low = E4M3[code]!
      const high = E4M3[code + 1]!
      const middle = (low + high) / 2
      expect(e4m3Code(low)).toBe(code)
      expect(e4m3Code(middle)).toBe(code % 2 === 0 ? code : code + 1)
      expect(e4m3Code(Math.fround(middle * (1 - 1e-6)))).toBe(code)
      expect(e4m3Code(Math.fround(middle * (1 + 1e-6)))).toBe(code + 1)
    }
  })
})

describe("floats", () => {
  test("every f16 survives f16ToF32() and f32ToF16(), and NaN stays NaN", () => {
    let wrong = 0
    for (let bits = 0; bits < 65536; bits++) {
      const x = f16ToF32(bits)
      if (Number.isNaN(x)) wrong += Number.isNaN(f16ToF32(f32ToF16(x))) ? 0 : 1
      else if (f32ToF16(x) !== bits) wrong++
    }
    expect(wrong).toBe(0)
  })

  test("f32ToF16() rounds ties to even, keeps subnormals and saturates to infinity", () => {
    expect(f32ToF16(1 + 2 ** -11)).toBe(0x3c00)
    expect(f32ToF16(1 + 3 * 2 ** -11)).toBe(0x3c02)
    expect(f32ToF16(Math.fround(1 + 2 ** -11 + 2 ** -22))).toBe(0x3c01)
    expect(f32ToF16(2 ** -25)).toBe(0)
    expect(f32ToF16(1.5 * 2 ** -25)).toBe(1)
    expect(f32ToF16(65519)).toBe(0x7bff)
    expect(f32ToF16(65520)).toBe(0x7c00)
  })

  test("f32ToBf16() rounds ties to even and inverts bf16ToF32()", () => {
    let wrong = 0
    for (let bits = 0; bits < 65536; bits++) {
      const x = bf16ToF32(bits)
      if (Number.isNaN(x)) wrong += Number.isNaN(bf16ToF32(f32ToBf16(x))) ? 0 : 1
      else if (f32ToBf16(x) !== bits) wrong++
    }
    expect(wrong).toBe(0)
    expect(f32ToBf16(1 + 2 ** -8)).toBe(0x3f80)
    expect(f32ToBf16(1 + 3 * 2 ** -8)).toBe(0x3f82)
    expect(bf16ToF32(f32ToBf16(3.4e38))).toBe(Number.POSITIVE_INFINITY)
  })

  test("E8M0 spans 2^-127 to 2^127 and ceilLog2() follows the mantissa rule", () => {
    expect(E8M0[0]).toBe(2 ** -127)
    expect(E8M0[127]).toBe(1)
    expect(E8M0[254]).toBe(2 ** 127)
    expect(E8M0[255]).toBeNaN()
    expect(ceilLog2(1)).toBe(0)
    expect(ceilLog2(1 + 2 ** -23)).toBe(1)
    expect(ceilLog2(0.75)).toBe(0)
    expect(ceilLog2(2 ** -20)).toBe(-20)
  })

  test("roundEven() takes ties to even on both sides of zero", () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.49].map((x) => roundEven(x) + 0)).toEqual([
      0, 2, 2, 0, -2, 2,
    ])
  })
})

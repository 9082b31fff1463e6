import { assert } from "../errors.ts"

/** All constant tables of the block formats, in one place; native code gets them from here. */

/** The 256 codes of the IQ2_XXS grid (spec, Appendix A): two bits an element, element 0 lowest,
 *  0, 1, 2 for the levels 8, 25, 43. ggml chose them by experiment; no formula gives them. */
export const IQ2XXS_CODES: Uint16Array = Uint16Array.from(
  `
  0000 0002 0005 0008 000a 0011 0014 0020 0022 0028 002a 0041 0044 0050 0058 0061
  0064 0080 0082 008a 00a2 0101 0104 0110 0115 0140 0184 0198 0200 0202 0222 0282
  0401 0404 0410 0421 0424 0440 0442 0448 0460 0481 0484 0490 04a4 0500 0502 0508
  0520 0546 0569 0580 0591 0609 0610 0640 0684 06a4 0800 0805 0808 0814 0828 0841
  0844 0850 0852 0888 0904 0940 0a02 0a14 1001 1004 1010 1021 1040 1060 1084 1090
  1095 1100 1108 1120 1150 115a 1180 1224 1245 1400 1408 1420 1425 1449 1480 1518
  1562 1600 1616 1801 1804 1810 1840 1881 1900 1905 19a0 1a51 2000 2002 200a 2044
  2061 2080 2082 2129 2148 2200 2202 2401 2404 2410 2440 2456 2500 2541 2564 2690
  2808 2820 2894 2a44 4001 4004 4010 4018 4021 4024 4040 4048 4056 4060 4081 4084
  4090 4100 4120 4161 4180 4185 4201 4210 4248 4256 4268 4400 4408 4420 4480 4499
  4512 4524 4600 4801 4804 4810 4840 4845 4900 4958 4961 4982 4a45 4a90 5000 5008
  5011 5019 5020 5080 5088 5104 5142 51a4 5291 5490 5492 550a 5601 5654 5800 5811
  5819 5864 5940 5a08 6004 6010 6040 6068 6100 6155 6218 6260 6400 6405 6510 6512
  6584 6842 8000 8002 800a 8041 8082 8104 8118 8140 8211 8401 8404 8410 8415 8440
  8460 8500 8546 8594 8609 8640 8660 8802 8904 8a11 9004 9010 9024 9040 90a1 9116
  9180 9245 9400 9422 9444 9551 9881 9920 a002 a050 a085 a109 a200 a418 a850 a904
`
    .trim()
    .split(/\s+/),
  (code) => Number.parseInt(code, 16),
)

/** The grid's levels; a weight is `d · (0.5 + s) · 0.25 · level`. */
export const IQ2XXS_LEVELS: Readonly<[number, number, number]> = [8, 25, 43]

/** The grid with its levels written out, [256, 8] u8. */
export const IQ2XXS_GRID: Uint8Array = new Uint8Array(256 * 8)
for (let g = 0; g < 256; g++) {
  for (let k = 0; k < 8; k++) {
    const level = IQ2XXS_LEVELS[(IQ2XXS_CODES[g]! >> (2 * k)) & 3]
    assert(level !== undefined, `Grid code ${g} has a fourth level`)
    IQ2XXS_GRID[g * 8 + k] = level
  }
}

/** Sign bytes of IQ2_XXS, [128] u8: bit 7 makes the number of minus signs even. Bit k set means
 *  that element k is negative. */
export const IQ2XXS_SIGNS: Uint8Array = Uint8Array.from({ length: 128 }, (_, i) => {
  let ones = 0
  for (let bits = i; bits !== 0; bits >>= 1) ones += bits & 1
  return i | ((ones & 1) << 7)
})

/** E2M1 magnitudes by code 0 to 7. */
export const E2M1: Float32Array = Float32Array.of(0, 0.5, 1, 1.5, 2, 3, 4, 6)

/** E2M1 values by nibble 0 to 15: bit 3 is the sign (nibble 8 is -0). */
export const E2M1_SIGNED: Float32Array = Float32Array.from({ length: 16 }, (_, nibble) => {
  const value = E2M1[nibble & 7]!
  return nibble & 8 ? -value : value
})

/** The code 0 to 7 of the E2M1 value nearest to `x ≥ 0`, ties to the even code; 6 and beyond is 7.
 *  Spec §8. */
export function e2m1Code(x: number): number {
  if (x <= 0.25) return 0
  if (x < 0.75) return 1
  if (x <= 1.25) return 2
  if (x < 1.75) return 3
  if (x <= 2.5) return 4
  if (x < 3.5) return 5
  return x <= 5 ? 6 : 7
}

/** E4M3FN magnitudes by code 0 to 126, `m·2^-9` for e = 0, else `(1 + m/8)·2^(e-7)`; no infinity,
 *  the greatest is 448. Code 127 is NaN. Spec §8. */
export const E4M3: Float32Array = Float32Array.from({ length: 128 }, (_, code) => {
  if (code === 127) return Number.NaN
  const exponent = code >> 3
  const mantissa = code & 7
  return exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7)
})

/** The code 0 to 126 of the E4M3 value nearest to `x ≥ 0`, ties to the even code; 448 and beyond is
 *  126. Steps of a binade are exact powers of two, so the division and Math.round lose nothing. */
export function e4m3Code(x: number): number {
  if (x >= 448) return 126
  const exponent = x < 2 ** -6 ? 1 : exponentOf(x) + 7
  const steps = x / 2 ** (exponent - 10)
  // Mantissas 8 to 15 of this binade (0 to 7 below 2^-6); 16 carries into the next exponent.
  return (exponent - 1) * 8 + roundEven(steps)
}

/** E8M0 scales by byte, `2^(e - 127)` as f32; 255 is NaN by the OCP format. */
export const E8M0: Float32Array = Float32Array.from({ length: 256 }, (_, e) =>
  e === 255 ? Number.NaN : 2 ** (e - 127),
)

/** The integer nearest to `x`, ties to even. */
export function roundEven(x: number): number {
  const low = Math.floor(x)
  const rest = x - low
  if (rest < 0.5) return low
  if (rest > 0.5) return low + 1
  return low % 2 === 0 ? low : low + 1
}

const f32Box = new Float32Array(1)
const f32Bits = new Uint32Array(f32Box.buffer)
const f16Box = new Float16Array(1)
const f16Bits = new Uint16Array(f16Box.buffer)

/** The exponent of a normal f32, `⌊log2 |x|⌋`, from its bits. */
export function exponentOf(x: number): number {
  f32Box[0] = x
  return ((f32Bits[0]! >>> 23) & 0xff) - 127
}

/** `⌈log2 t⌉` of a positive normal f32: its exponent, plus 1 if any mantissa bit is set. This is the
 *  official rule for the scales of FP8 and FP4 blocks (spec §8). */
export function ceilLog2(t: number): number {
  f32Box[0] = t
  const bits = f32Bits[0]!
  return ((bits >>> 23) & 0xff) - 127 + ((bits & 0x7f_ffff) === 0 ? 0 : 1)
}

/** All f16 values by their bits, [65536] f32: a look-up is ten times as fast as Float16Array. */
export const F16_VALUES: Float32Array = makeF16Values()

function makeF16Values(): Float32Array {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i)
  return Float32Array.from(new Float16Array(bits.buffer))
}

export function f16ToF32(bits: number): number {
  return F16_VALUES[bits]!
}

/** Bits of the f16 nearest to `x`, ties to even; infinite from 65520 on. */
export function f32ToF16(x: number): number {
  f16Box[0] = x
  return f16Bits[0]!
}

/** The f32 whose upper half these bits are. */
export function bf16ToF32(bits: number): number {
  f32Bits[0] = bits << 16
  return f32Box[0]!
}

/** Bits of the bf16 nearest to the f32 `x`, ties to even; a NaN stays one. */
export function f32ToBf16(x: number): number {
  f32Box[0] = x
  const bits = f32Bits[0]!
  if (x !== x) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

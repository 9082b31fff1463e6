/* Any machine: vector code that compilers lower to whatever there is.
 * cc: */

typedef double f64x8 __attribute__((vector_size(64)));
typedef int64_t i64x8 __attribute__((vector_size(64)));
typedef uint64_t u64x8 __attribute__((vector_size(64)));
typedef int16_t i16x32 __attribute__((vector_size(64)));

/* Without a fused instruction: a·b is exact in f64; the sum is rounded to odd there, so that
 * rounding it once more to f32 gives what one rounding would have given (Boldo and Melquiond,
 * 2008). To round to odd: where the sum is inexact and even, step one bit towards the part that was
 * lost. */
DS4_INLINE f32x8 fma8(f32x8 a, f32x8 b, f32x8 c) {
#if defined(__FMA__) || defined(__aarch64__)
  for (int i = 0; i < 8; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#else
  const f64x8 addend = __builtin_convertvector(c, f64x8);
  const f64x8 product = __builtin_convertvector(a, f64x8) * __builtin_convertvector(b, f64x8);
  const f64x8 sum = product + addend, back = sum - product;
  const f64x8 lost = (product - (sum - back)) + (addend - back);
  const u64x8 bits = (u64x8)sum, inexact = (u64x8)((lost < 0) | (lost > 0));
  const u64x8 step = 1 - 2 * ((bits ^ (u64x8)lost) >> 63);
  const u64x8 odd = bits + (step & inexact & ((bits & 1) - 1));
  return __builtin_convertvector((f64x8)odd, f32x8);
#endif
}

typedef union {
  f32x16 whole;
  f32x8 half[2];
} scalar_f32x16;

DS4_INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
  scalar_f32x16 x = {a}, y = {b}, z = {c};
  z.half[0] = fma8(x.half[0], y.half[0], z.half[0]);
  z.half[1] = fma8(x.half[1], y.half[1], z.half[1]);
  return z.whole;
}

DS4_INLINE f32x16 widen_f16(const void *p) { return widen_f16_bits(DS4_LOAD(u16x16, p)); }

DS4_INLINE float f16_at(const void *p) { return f16_at_bits(p); }

/* Sums of two neighbours, as i32. */
DS4_INLINE i32x16 add_pairs(i16x32 v) {
  const i32x16 both = (i32x16)v;
  return ((i32x16)((u32x16)both << 16) >> 16) + (both >> 16);
}

/* A product fits 16 bits: 128 · 127. */
DS4_INLINE i32x8 dot32(i8x32 w, i8x32 x) {
  const i16x32 products = __builtin_convertvector(w, i16x32) * __builtin_convertvector(x, i16x32);
  const i32x16 pairs = add_pairs(products);
  return __builtin_shufflevector(pairs, pairs, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(pairs, pairs, 1, 3, 5, 7, 9, 11, 13, 15);
}

DS4_INLINE i32x8 dot32_unsigned(i32x8 acc, i8x32 w, i8x32 x, i16x16 scale) {
  return acc + dot32(w, x) * ((i32x8)scale >> 16);
}

DS4_INLINE i32x8 dot16(i16x16 a, i16x16 b) {
  const i32x16 products = __builtin_convertvector(a, i32x16) * __builtin_convertvector(b, i32x16);
  return __builtin_shufflevector(products, products, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(products, products, 1, 3, 5, 7, 9, 11, 13, 15);
}

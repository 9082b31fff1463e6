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

DS4_INLINE f32x16 widen_f16_lanes(u16x16 h) { return widen_f16_bits(h); }

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

DS4_INLINE i32x8 dot32_scaled(i32x8 acc, i8x32 w, i8x32 x, i16x16 scale) {
  return acc + dot32(w, x) * ((i32x8)scale >> 16);
}

DS4_INLINE i32x8 dot16(i16x16 a, i16x16 b) {
  const i32x16 products = __builtin_convertvector(a, i32x16) * __builtin_convertvector(b, i32x16);
  return __builtin_shufflevector(products, products, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(products, products, 1, 3, 5, 7, 9, 11, 13, 15);
}

DS4_INLINE i8x32 lookup16(const int8_t table[16], u8x32 index) {
  i8x32 v;
  for (int i = 0; i < 32; i++) v[i] = table[index[i]];
  return v;
}

DS4_INLINE int32_t total(i32x8 v) {
  return (v[0] + v[4]) + (v[1] + v[5]) + (v[2] + v[6]) + (v[3] + v[7]);
}
DS4_INLINE i32x4 totals(i32x8 a, i32x8 b, i32x8 c, i32x8 d) {
  return (i32x4){total(a), total(b), total(c), total(d)};
}

DS4_INLINE f32x4 fma4(f32x4 a, f32x4 b, f32x4 c) {
  f32x8 x = {a[0], a[1], a[2], a[3]}, y = {b[0], b[1], b[2], b[3]}, z = {c[0], c[1], c[2], c[3]};
  z = fma8(x, y, z);
  return (f32x4){z[0], z[1], z[2], z[3]};
}

DS4_INLINE i8x32 spread4(const int8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return (i8x32)(i32x8){four, four, four, four, four, four, four, four};
}
DS4_INLINE i32x8 tile_signed(const i8x32 *w, const int8_t *x, const uint32_t n_steps) {
  i32x8 acc = {0};
  for (uint32_t s = 0; s < n_steps; s++) acc += dot32(w[s], spread4(x + 4 * s));
  return acc;
}

/* Any machine: plain loops. Slow where there is no fused multiply-add, but the bits are the same.
 * cc: */

/* a·b is exact in f64; the sum is rounded to odd there, so that rounding it once more to f32 gives
 * what one rounding would have given (Boldo and Melquiond, 2008). */
static inline float fma1(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  const double product = (double)a * (double)b, addend = c, sum = product + addend;
  const double back = sum - product, error = (product - (sum - back)) + (addend - back);
  int64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  if (error != 0 && !(bits & 1)) bits += (error > 0) == (sum > 0) ? 1 : -1;
  double odd;
  memcpy(&odd, &bits, sizeof odd);
  return (float)odd;
#endif
}

DS4_INLINE f32x8 fma8(f32x8 a, f32x8 b, f32x8 c) {
  for (int i = 0; i < 8; i++) c[i] = fma1(a[i], b[i], c[i]);
  return c;
}

DS4_INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
  for (int i = 0; i < 16; i++) c[i] = fma1(a[i], b[i], c[i]);
  return c;
}

DS4_INLINE f32x16 widen_f16(const void *p) { return widen_f16_bits(DS4_LOAD(u16x16, p)); }

DS4_INLINE float f16_at(const void *p) { return f16_at_bits(p); }

DS4_INLINE i32x8 dot32(i8x32 w, i8x32 x) {
  i32x8 sum = {0};
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 4; j++) sum[i] += (int32_t)w[4 * i + j] * x[4 * i + j];
  return sum;
}

DS4_INLINE i32x8 dot32_unsigned(i32x8 acc, i8x32 w, i8x32 x, i16x16 scale) {
  const i32x8 sum = dot32(w, x);
  for (int i = 0; i < 8; i++) acc[i] += sum[i] * scale[2 * i];
  return acc;
}

DS4_INLINE i32x8 dot16(i16x16 a, i16x16 b) {
  i32x8 sum;
  for (int i = 0; i < 8; i++)
    sum[i] = (int32_t)a[2 * i] * b[2 * i] + (int32_t)a[2 * i + 1] * b[2 * i + 1];
  return sum;
}

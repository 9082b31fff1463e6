/* x86-64-v3: AVX2, FMA, F16C.
 * cc: -march=x86-64-v3 */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "the avx2 variant is not compiled for x86-64-v3"
#endif
#include <immintrin.h>

DS4_INLINE f32x8 fma8(f32x8 a, f32x8 b, f32x8 c) {
  return (f32x8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

typedef union {
  f32x16 whole;
  __m256 half[2];
} avx2_pair;

DS4_INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
  avx2_pair x = {a}, y = {b}, z = {c};
  z.half[0] = _mm256_fmadd_ps(x.half[0], y.half[0], z.half[0]);
  z.half[1] = _mm256_fmadd_ps(x.half[1], y.half[1], z.half[1]);
  return z.whole;
}

DS4_INLINE f32x16 widen_f16(const void *p) {
  avx2_pair v;
  v.half[0] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
  v.half[1] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + 1));
  return v.whole;
}

DS4_INLINE float f16_at(const void *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return _cvtsh_ss(h);
}

/* maddubs cannot saturate: 2 · 128 · 127 is below 2^15. */
DS4_INLINE i32x8 dot32_unsigned(i32x8 acc, i8x32 w, i8x32 x, i16x16 scale) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)w, (__m256i)x);
  return acc + (i32x8)_mm256_madd_epi16(pairs, (__m256i)scale);
}

/* maddubs wants one side unsigned: |w|, with w's sign moved to x. */
DS4_INLINE i32x8 dot32(i8x32 w, i8x32 x) {
  const __m256i magnitude = _mm256_abs_epi8((__m256i)w);
  const __m256i signed_x = _mm256_sign_epi8((__m256i)x, (__m256i)w);
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, signed_x);
  return (i32x8)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

DS4_INLINE i32x8 dot16(i16x16 a, i16x16 b) {
  return (i32x8)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

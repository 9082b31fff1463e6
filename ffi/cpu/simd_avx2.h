/* x86-64-v3: AVX2, FMA, F16C. Where the 512-bit float instructions and the byte dot products of
 * VNNI are (simd_avx512.h), it uses them. cc: -march=x86-64-v3 */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "the avx2 variant is not compiled for x86-64-v3"
#endif
#include <immintrin.h>

DS4_INLINE f32x8 fma8(f32x8 a, f32x8 b, f32x8 c) {
  return (f32x8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

#if defined(__AVX512F__)

DS4_INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
  return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

DS4_INLINE f32x16 widen_f16(const void *p) {
  return (f32x16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

DS4_INLINE f32x16 widen_f16_lanes(u16x16 h) { return (f32x16)_mm512_cvtph_ps((__m256i)h); }

#else

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

DS4_INLINE f32x16 widen_f16_lanes(u16x16 h) {
  avx2_pair v;
  v.half[0] = _mm256_cvtph_ps(_mm256_castsi256_si128((__m256i)h));
  v.half[1] = _mm256_cvtph_ps(_mm256_extracti128_si256((__m256i)h, 1));
  return v.whole;
}

#endif

DS4_INLINE float f16_at(const void *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return _cvtsh_ss(h);
}

/* maddubs cannot saturate: 2 · 128 · 127 is below 2^15. */
DS4_INLINE i32x8 dot32_scaled(i32x8 acc, i8x32 w, i8x32 x, i16x16 scale) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)w, (__m256i)x);
  return acc + (i32x8)_mm256_madd_epi16(pairs, (__m256i)scale);
}

/* maddubs wants one side unsigned: |w|, with w's sign moved to x. */
DS4_INLINE i32x8 dot32(i8x32 w, i8x32 x) {
  const __m256i magnitude = _mm256_abs_epi8((__m256i)w);
  const __m256i signed_x = _mm256_sign_epi8((__m256i)x, (__m256i)w);
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return (i32x8)_mm256_dpbusd_epi32(_mm256_setzero_si256(), magnitude, signed_x);
#else
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, signed_x);
  return (i32x8)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

DS4_INLINE i32x8 dot16(i16x16 a, i16x16 b) {
  return (i32x8)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

DS4_INLINE i8x32 with_sign(i8x32 x, i8x32 sign) {
  return (i8x32)_mm256_sign_epi8((__m256i)x, (__m256i)sign);
}

DS4_INLINE u64x4 join4(const uint64_t *a, const uint64_t *b, const uint64_t *c, const uint64_t *d) {
  const __m128 none = _mm_setzero_ps();
  const __m128 low = _mm_loadh_pi(_mm_loadl_pi(none, (const __m64 *)a), (const __m64 *)b);
  const __m128 high = _mm_loadh_pi(_mm_loadl_pi(none, (const __m64 *)c), (const __m64 *)d);
  return (u64x4)_mm256_set_m128(high, low);
}

DS4_INLINE i8x32 lookup16(const int8_t table[16], u8x32 index) {
  const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
  return (i8x32)_mm256_shuffle_epi8(both, (__m256i)index);
}

DS4_INLINE i32x4 totals(i32x8 a, i32x8 b, i32x8 c, i32x8 d) {
  const __m256i ab = _mm256_hadd_epi32((__m256i)a, (__m256i)b);
  const __m256i abcd = _mm256_hadd_epi32(ab, _mm256_hadd_epi32((__m256i)c, (__m256i)d));
  return (i32x4)_mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}

DS4_INLINE f32x4 fma4(f32x4 a, f32x4 b, f32x4 c) {
  return (f32x4)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
}

DS4_INLINE __m256i avx2_spread4(const int8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

/* --- tiles --- */

#if !defined(DS4_WIDE_CODES)
#define DS4_WIDE_CODES 0

/* n_steps pairs of products fit 16 bits. */
DS4_INLINE i32x8 tile_small(i32x8 acc, const i8x32 *w, const int8_t *x, const uint32_t n_steps,
                            i16x16 scale) {
  __m256i pairs = _mm256_maddubs_epi16((__m256i)w[0], avx2_spread4(x));
  for (uint32_t s = 1; s < n_steps; s++)
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16((__m256i)w[s], avx2_spread4(x + 4 * s)));
  return acc + (i32x8)_mm256_madd_epi16(pairs, (__m256i)scale);
}

DS4_INLINE i32x8 tile_unsigned(i32x8 acc, const i8x32 *w, const int8_t *x, const uint32_t n_steps,
                               i16x16 scale) {
  for (uint32_t s = 0; s < n_steps; s++)
    acc += (i32x8)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)w[s], avx2_spread4(x + 4 * s)),
                                    (__m256i)scale);
  return acc;
}

DS4_INLINE i32x8 tile_plain(i32x8 acc, const i8x32 *w, const int8_t *x, const uint32_t n_steps) {
  return tile_small(acc, w, x, n_steps, (i16x16)_mm256_set1_epi16(1));
}

DS4_INLINE i32x8 tile_signed(const i8x32 *w, const int8_t *x, const uint32_t n_steps) {
  i32x8 acc = {0};
  for (uint32_t s = 0; s < n_steps; s++) {
    const __m256i signed_x = _mm256_sign_epi8(avx2_spread4(x + 4 * s), (__m256i)w[s]);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)w[s]), signed_x);
    acc += (i32x8)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
  return acc;
}

#endif

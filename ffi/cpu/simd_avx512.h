/* x86-64-v4 (AVX-512 F, CD, BW, DQ, VL) with VBMI, VNNI and GFNI: Ice Lake and Zen 4 on.
 * cc: -march=x86-64-v4 -mavx512vbmi -mavx512vnni -mgfni */
#if !defined(__AVX512VBMI__) || !defined(__AVX512VNNI__) || !defined(__GFNI__)
#error "the avx512 variant is not compiled with VBMI, VNNI and GFNI"
#endif
/* --- tiles of 16 weight rows --- */

/* A code may be any byte: sums of four products go straight to 32 bits. */
#define DS4_WIDE_CODES 1
#define DS4_TILE_LANES 16
/* 32 registers, each a whole f32x16. */
#define DS4_BIG_TILES 1
#include "simd_avx2.h"

DS4_INLINE __m512i avx512_spread4(const int8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

DS4_INLINE i32x16 tile_plain(i32x16 acc, const i8x64 *w, const int8_t *x, const uint32_t n_steps) {
  __m512i sum = (__m512i)acc;
  for (uint32_t s = 0; s < n_steps; s++)
    sum = _mm512_dpbusd_epi32(sum, (__m512i)w[s], avx512_spread4(x + 4 * s));
  return (i32x16)sum;
}

DS4_INLINE i32x16 tile_unsigned(i32x16 acc, const i8x64 *w, const int8_t *x, const uint32_t n_steps,
                                i16x32 scale) {
  return acc + tile_plain((i32x16){0}, w, x, n_steps) * ((i32x16)scale >> 16);
}
#define tile_small tile_unsigned

DS4_INLINE i32x16 tile_dot16(i16x32 a, i16x32 b) {
  return (i32x16)_mm512_madd_epi16((__m512i)a, (__m512i)b);
}
#define tile_fma fma16

/* --- a super-block of IQ2_XXS without a table in memory --- */

/* A grid entry is eight of three levels, so 2 bits each: 256 entries are 8 registers. Lane l of a
 * vector k of four has elements 64l + 16k to 64l + 16k + 15. */
#define DS4_HAS_IQ2_SUMS

typedef struct {
  __m512i q[4];
} iq2_x;

/* 256 activations: their pieces of 16 transposed. */
DS4_INLINE iq2_x iq2_load_x(const int8_t *x) {
  const __m512i a = _mm512_loadu_si512(x), b = _mm512_loadu_si512(x + 64);
  const __m512i c = _mm512_loadu_si512(x + 128), d = _mm512_loadu_si512(x + 192);
  const __m512i ab01 = _mm512_shuffle_i32x4(a, b, 0x44), ab23 = _mm512_shuffle_i32x4(a, b, 0xee);
  const __m512i cd01 = _mm512_shuffle_i32x4(c, d, 0x44), cd23 = _mm512_shuffle_i32x4(c, d, 0xee);
  return (iq2_x){{_mm512_shuffle_i32x4(ab01, cd01, 0x88), _mm512_shuffle_i32x4(ab01, cd01, 0xdd),
                  _mm512_shuffle_i32x4(ab23, cd23, 0x88), _mm512_shuffle_i32x4(ab23, cd23, 0xdd)}};
}

/* The codes of 32 grid entries, 16 bits each: the low 6 bits of an index choose within two
 * registers, the others between four such choices. */
DS4_INLINE __m512i iq2_codes(const uint16_t table[256], __m256i bytes) {
  const __m512i i = _mm512_cvtepu8_epi16(bytes);
  __m512i part[4];
  for (int k = 0; k < 4; k++)
    part[k] = _mm512_permutex2var_epi16(_mm512_loadu_si512(table + 64 * k), i,
                                        _mm512_loadu_si512(table + 64 * k + 32));
  const __mmask32 bit6 = _mm512_test_epi16_mask(i, _mm512_set1_epi16(64));
  const __mmask32 bit7 = _mm512_test_epi16_mask(i, _mm512_set1_epi16(128));
  return _mm512_mask_blend_epi16(bit7, _mm512_mask_blend_epi16(bit6, part[0], part[1]),
                                 _mm512_mask_blend_epi16(bit6, part[2], part[3]));
}

/* 64 bytes of four codes as levels in the order of iq2_x. */
DS4_INLINE void iq2_levels(__m512i codes, __m512i out[4]) {
  const __m512i three = _mm512_set1_epi8(3);
  const __m512i levels =
      _mm512_broadcast_i32x4(_mm_setr_epi8(8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  __m512i e[4];
  for (int k = 0; k < 4; k++)
    e[k] = _mm512_shuffle_epi8(levels, _mm512_and_si512(_mm512_srli_epi16(codes, 2 * k), three));
  const __m512i low01 = _mm512_unpacklo_epi8(e[0], e[1]), high01 = _mm512_unpackhi_epi8(e[0], e[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(e[2], e[3]), high23 = _mm512_unpackhi_epi8(e[2], e[3]);
  out[0] = _mm512_unpacklo_epi16(low01, low23);
  out[1] = _mm512_unpackhi_epi16(low01, low23);
  out[2] = _mm512_unpacklo_epi16(high01, high23);
  out[3] = _mm512_unpackhi_epi16(high01, high23);
}

/* Sign masks of the four vectors: 7 bits from every field of a word; an affine map over GF(2) keeps
 * them and makes the eighth their parity; then the 16 bits that belong together are gathered. */
DS4_INLINE __m256i iq2_masks(__m256i words) {
  const __m256i fields =
      _mm256_multishift_epi64_epi8(_mm256_set1_epi64x(0x352e2720150e0700), words);
  const __m256i bits =
      _mm256_gf2p8affine_epi64_epi8(fields, _mm256_set1_epi64x(0x010204081020407f), 0);
  const __m256i order = _mm256_setr_epi16(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm256_permutexvar_epi16(order, bits);
}

/* Σ of a super-block's scaled codes times x, to be summed over the lanes. */
DS4_INLINE i32x8 iq2_sum(const uint16_t table[256], const uint8_t *w, const iq2_x *x) {
  const __m512i all = _mm512_loadu_si512(w + 2), none = _mm512_setzero_si512();
  const __m256i words = _mm512_cvtepi64_epi32(_mm512_srli_epi64(all, 32));
  const __m256i masks = iq2_masks(words);
  __m512i level[4];
  iq2_levels(iq2_codes(table, _mm512_cvtepi64_epi32(all)), level);
  const __mmask64 minus[4] = {
      (uint64_t)_mm256_extract_epi64(masks, 0), (uint64_t)_mm256_extract_epi64(masks, 1),
      (uint64_t)_mm256_extract_epi64(masks, 2), (uint64_t)_mm256_extract_epi64(masks, 3)};
  __m512i sum[4];
  for (int k = 0; k < 4; k++)
    sum[k] =
        _mm512_dpbusd_epi32(none, level[k], _mm512_mask_sub_epi8(x->q[k], minus[k], none, x->q[k]));
  const __m256i odd =
      _mm256_or_si256(_mm256_slli_epi32(_mm256_srli_epi32(words, 28), 1), _mm256_set1_epi32(1));
  const __m512i even = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
  const __m512i scale = _mm512_castsi256_si512(odd);
  const __m512i a =
      _mm512_mullo_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_permutexvar_epi32(even, scale));
  const __m512i b = _mm512_mullo_epi32(
      _mm512_add_epi32(sum[2], sum[3]),
      _mm512_permutexvar_epi32(_mm512_add_epi32(even, _mm512_set1_epi32(1)), scale));
  const __m512i total = _mm512_add_epi32(a, b);
  return (i32x8)_mm256_add_epi32(_mm512_castsi512_si256(total),
                                 _mm512_extracti64x4_epi64(total, 1));
}

/* The same of n_w weight rows (dot_k.c). */
DS4_INLINE void iq2_sums(const ds4_tables *t, const uint8_t *const *w, uint64_t at,
                         const uint32_t n_w, const int8_t *x, i32x8 *sum) {
  const iq2_x xq = iq2_load_x(x);
  for (uint32_t r = 0; r < n_w; r++) sum[r] = iq2_sum(t->grid_codes, w[r] + at, &xq);
}

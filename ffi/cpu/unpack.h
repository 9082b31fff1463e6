/* Blocks of quantized weights as integers and scales (spec §14). `codes` gives 32 at a time: for
 * Q2_K, Q4_K and IQ2_XXS they are ≥ 0, and the signs of IQ2_XXS are separate. */
#ifndef DS4_UNPACK_H
#define DS4_UNPACK_H

#include "simd.h"

/* --- blocks of 32 --- */

DS4_INLINE uint32_t block_bytes(uint32_t type) { return type == DS4_Q8_0 ? 34 : 17; }

DS4_INLINE float block_scale(uint32_t type, const ds4_tables *t, const uint8_t *w) {
  return type == DS4_Q8_0 ? f16_at(w) : t->half_e8m0[w[0]];
}

/* Twice the E2M1 values of nibbles 0 to 15, so that they are integers. */
static const int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 32 packed E2M1 codes, doubled: those in the low nibbles, then those in the high ones. */
DS4_INLINE i8x32 e2m1_pairs(u8x16 packed) {
  const u8x16 low = packed & 15, high = packed >> 4;
  return lookup16(e2m1_doubled, __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                                        11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                        22, 23, 24, 25, 26, 27, 28, 29, 30, 31));
}

/* Signed codes. MXFP4: element j is in the low, element j + 16 in the high nibble of byte j. */
DS4_INLINE i8x32 block_codes(uint32_t type, const uint8_t *w) {
  if (type == DS4_Q8_0) return DS4_LOAD(i8x32, w + 2);
  return e2m1_pairs(DS4_LOAD(u8x16, w + 1));
}

/* --- super-blocks of 256 --- */

DS4_INLINE uint32_t super_bytes(uint32_t type) {
  return type == DS4_Q2_K ? 84 : type == DS4_Q4_K ? 144 : 66;
}

/* Whether a minimum times the sum of the activations is taken from the product. */
DS4_INLINE bool has_minimums(uint32_t type) { return type != DS4_IQ2_XXS; }

DS4_INLINE float super_scale(uint32_t type, const uint8_t *w) {
  if (type == DS4_IQ2_XXS) return 0.125f * f16_at(w);
  return f16_at(type == DS4_Q2_K ? w + 80 : w);
}
DS4_INLINE float super_min_scale(uint32_t type, const uint8_t *w) {
  return f16_at(type == DS4_Q2_K ? w + 82 : w + 2);
}

/* What the words of an IQ2_XXS super-block say, s << 28 | four fields of 7 sign bits each. */
typedef struct {
  uint8_t minus[8][4]; /* bit k: element k of 8 is negative; bit 7 makes their number even */
  uint32_t scale[8];   /* 2s + 1 in both halves */
} iq2_words;

DS4_INLINE void iq2_read(const uint8_t *w, iq2_words *out) {
  static const int8_t odd[16] = {0,    -128, -128, 0,    -128, 0,    0,    -128,
                                 -128, 0,    0,    -128, 0,    -128, -128, 0};
  const u32x8 a = DS4_LOAD(u32x8, w + 2), b = DS4_LOAD(u32x8, w + 34);
  const u32x8 v = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  const u32x8 bits = (v & 0x7f) | (v << 1 & 0x7f00) | (v << 2 & 0x7f0000) | (v << 3 & 0x7f000000);
  const i8x32 parity = lookup16(odd, (u8x32)bits & 15) ^ lookup16(odd, (u8x32)(bits >> 4) & 15);
  const i8x32 minus = (i8x32)bits | parity;
  const u32x8 scale = v >> 28 << 1 | 1;
  memcpy(out->minus, &minus, sizeof minus);
  ds4_store_u32x8(out->scale, scale | scale << 16);
  DS4_IN_MEMORY(*out); /* from there, 4 bytes reach all lanes in one load */
}

/* Codes ≥ 0 of elements 32g to 32g + 31. Q2_K: u8 scales[16], u8 qs[64], f16 d, f16 dmin. Q4_K: f16
 * d, f16 dmin, u8 s[12], u8 qs[128]. IQ2_XXS: f16 d, then for each 32 u8 grid[4] and u32. */
DS4_INLINE i8x32 super_codes(uint32_t type, const ds4_tables *t, const uint8_t *w, uint32_t g) {
  if (type == DS4_Q2_K)
    return (i8x32)(DS4_LOAD(u8x32, w + 16 + g / 4 * 32) >> (uint8_t)(g % 4 * 2) & 3);
  if (type == DS4_Q4_K) {
    const u8x32 packed = DS4_LOAD(u8x32, w + 16 + g / 2 * 32);
    return (i8x32)(g % 2 ? packed >> 4 : packed & 15);
  }
  const uint8_t *at = w + 2 + 8 * g;
  return (i8x32)join4(t->grid + at[0], t->grid + at[1], t->grid + at[2], t->grid + at[3]);
}

/* ±1 for each of the 32 elements of a group. */
DS4_INLINE i8x32 iq2_signs(const uint8_t minus[4]) {
  const u8x32 bit = (u8x32)((u64x4){0} + 0x8040201008040201ull);
  const u8x32 v = (u8x32)splat_bytes(minus);
  const u8x32 spread =
      __builtin_shufflevector(v, v, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 18, 18, 18, 18,
                              18, 18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19);
  return (i8x32)((spread & bit) == bit) | 1;
}

/* The 8 scales and 8 minimums of Q4_K, 6 bits each. */
DS4_INLINE void q4_k_scales(const uint8_t *w, uint64_t *scales, uint64_t *mins) {
  uint32_t p[3];
  memcpy(p, w + 4, sizeof p);
  const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
  *scales = (uint64_t)((p[2] & four) | (p[0] >> 2 & top)) << 32 | (p[0] & six);
  *mins = (uint64_t)((p[2] >> 4 & four) | (p[1] >> 2 & top)) << 32 | (p[1] & six);
}

/* Integer scales of each 16 elements, in bytes: Q2_K and Q4_K. */
DS4_INLINE u8x16 super_scales(uint32_t type, const uint8_t *w) {
  if (type == DS4_Q2_K) return DS4_LOAD(u8x16, w) & 15;
  uint64_t scales, mins;
  q4_k_scales(w, &scales, &mins);
  return doubled_bytes(scales);
}

/* Minimums of each 16 elements. */
DS4_INLINE i16x16 super_mins(uint32_t type, const uint8_t *w) {
  if (type == DS4_Q2_K) return __builtin_convertvector(DS4_LOAD(u8x16, w) >> 4, i16x16);
  uint64_t scales, mins;
  q4_k_scales(w, &scales, &mins);
  return __builtin_convertvector(doubled_bytes(mins), i16x16);
}

#endif

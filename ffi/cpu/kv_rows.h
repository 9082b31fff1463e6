/* Packed rows back to f32 (ds4_row_format); every value is exact. */
#ifndef DS4_KV_ROWS_H
#define DS4_KV_ROWS_H

#include "simd.h"

/* 2^(e - 127); 255 is NaN. */
DS4_INLINE float e8m0(uint32_t e) {
  return float_of(e == 255 ? DS4_NAN_BITS : e ? e << 23 : 1u << 22);
}

/* n codes, a multiple of 16, of one scale byte. A code's exponent and mantissa shifted to those of
 * an f32 are 2^120 too small, which adding 120 to the exponent mends; codes below 8 have no leading
 * one, so it is put in (exponent 121 instead of 120) and taken away again. */
DS4_INLINE void decode_fp8(const uint8_t *codes, uint32_t n, uint32_t scale, float *out) {
  const float d = e8m0(scale);
  for (uint32_t i = 0; i < n; i += 16) {
    typedef uint8_t u8x16 __attribute__((vector_size(16)));
    u8x16 bytes;
    memcpy(&bytes, codes + i, sizeof bytes);
    const u32x16 c = __builtin_convertvector(bytes, u32x16), magnitude = c & 127;
    const u32x16 small = (u32x16)(magnitude < 8);
    const f32x16 one = (f32x16)((magnitude << 20) + (120u << 23) + (small & 1u << 23));
    const f32x16 value = one - (f32x16)(small & bits_of(0x1p-6f));
    ds4_store_f32x16(out + i, (f32x16)((u32x16)(value * d) | (c & 128) << 24));
  }
}

DS4_INLINE float decode_fp4(uint32_t code, float d) {
  static const float value[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                  -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  return value[code] * d;
}

/* A packed attention row as f32 [dim]. */
DS4_INLINE void unpack_kv(const uint8_t *row, uint32_t dim, uint32_t rope_dim, float *out) {
  const uint32_t plain = dim - rope_dim;
  const uint8_t *scales = row + plain + 2 * rope_dim;
  for (uint32_t i = 0; i < plain; i += 64) decode_fp8(row + i, 64, scales[i / 64], out + i);
  uint32_t i = 0;
  for (; i + 16 <= rope_dim; i += 16)
    ds4_store_f32x16(out + plain + i, widen_f16(row + plain + 2 * i));
  for (; i < rope_dim; i++) out[plain + i] = f16_at(row + plain + 2 * i);
}

/* A packed index row as f32 [dim]. */
DS4_INLINE void unpack_index(const uint8_t *row, uint32_t dim, float *out) {
  for (uint32_t i = 0; i < dim; i += 32) {
    const float d = e8m0(row[dim / 2 + i / 32]);
    for (uint32_t k = 0; k < 16; k++) {
      out[i + 2 * k] = decode_fp4(row[i / 2 + k] & 15, d);
      out[i + 2 * k + 1] = decode_fp4(row[i / 2 + k] >> 4, d);
    }
  }
}

#endif

/* Packed rows back to f32 (ds4_row_format); every value is exact. */
#ifndef DS4_KV_ROWS_H
#define DS4_KV_ROWS_H

#include "simd.h"

/* 2^(e - 127); 255 is NaN. */
DS4_INLINE float e8m0(uint32_t e) {
  return float_of(e == 255 ? DS4_NAN_BITS : e ? e << 23 : 1u << 22);
}

/* n E4M3 codes, a multiple of 16, of one scale byte. A code's exponent and mantissa in the place of
 * a half's are 2^8 too small, subnormals included. */
DS4_INLINE void decode_fp8(const uint8_t *codes, uint32_t n, uint32_t scale, float *out) {
  const float d = e8m0(scale);
  for (uint32_t i = 0; i < n; i += 16) {
    const u16x16 high = __builtin_convertvector(DS4_LOAD(u8x16, codes + i), u16x16) << 8;
    const u16x16 half = (u16x16)((i16x16)high >> 1) & 0xbfff; /* the sign came along once more */
    ds4_store_f32x16(out + i, widen_f16_lanes(half) * 0x1p8f * d);
  }
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

#endif

/* Dots with the blocks of 32, Q8_0 and MXFP4, and Q8_0 activations (dot.h). */
#include "dot.h"

static const int16_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* Up to 8 blocks of a weight row, made ready for any number of activation rows. */
typedef struct {
  _Alignas(32) int8_t q[8][32];
  float d[8];
} span;

/* Twice the E2M1 values of nibbles 0 to 15, so that they are integers: 0 1 2 3 4 6 8 12 and minus. */
DS4_INLINE i8x32 e2m1_doubled(u8x32 nibble) {
  const i8x32 code = (i8x32)(nibble & 7), minus = (i8x32)(nibble > 7);
  const i8x32 v = code + ((code > 3) & (code - 4)) + ((code > 5) & (code + code - 12));
  return (v ^ minus) - minus;
}

/* 16 bytes: element j in the low, element j + 16 in the high nibble of byte j. */
DS4_INLINE i8x32 load_mxfp4(const uint8_t *q) {
  u8x32 both;
  memcpy(&both, q, 16);
  memcpy((uint8_t *)&both + 16, q, 16);
  u8x32 low = both & 15, high = both >> 4;
  memcpy((uint8_t *)&low + 16, (uint8_t *)&high + 16, 16);
  return e2m1_doubled(low);
}

/* 2^(e - 128): half of E8M0, for the doubled codes. 255 is NaN. */
DS4_INLINE float half_e8m0(uint32_t e) {
  if (e == 255) return float_of(DS4_NAN_BITS);
  return e > 1 ? float_of((e - 1) << 23) : float_of(0x200000u << e);
}

DS4_INLINE void load_span(uint32_t type, const uint8_t *w, const uint32_t n, span *s) {
  for (uint32_t g = 0; g < n; g++) {
    if (type == DS4_Q8_0) {
      memcpy(s->q[g], w + 34 * g + 2, 32);
      s->d[g] = f16_at(w + 34 * g);
    } else {
      ds4_store_i8x32(s->q[g], load_mxfp4(w + 17 * g + 1));
      s->d[g] = half_e8m0(w[17 * g]);
    }
  }
}

/* Blocks g0 … g0 + n of a row pair; sum[0] are the lanes of the even blocks, sum[1] of the odd. */
DS4_INLINE void dot_span(const span *s, const uint32_t n, const ds4_x *x, uint32_t g0, f32x8 sum[2]) {
  f32x8 even = sum[0], odd = sum[1];
  for (uint32_t g = 0; g < n; g++) {
    const i8x32 xq = DS4_LOAD(i8x32, x->q + (uint64_t)(g0 + g) * 32);
    const i32x8 quads = dot32((i32x8){0}, DS4_LOAD(i8x32, s->q[g]), xq, ones);
    const f32x8 scale = splat8(s->d[g] * x->d[g0 + g]);
    if (g % 2 == 0) even = fma8(__builtin_convertvector(quads, f32x8), scale, even);
    else odd = fma8(__builtin_convertvector(quads, f32x8), scale, odd);
  }
  sum[0] = even;
  sum[1] = odd;
}

DS4_INLINE void dot_rows(uint32_t type, const ds4_dot *d) {
  const uint32_t n_blocks = d->n_in / 32, bytes = type == DS4_Q8_0 ? 34 : 17;
  f32x8 sums[DS4_X_TILE][2];
  span s;
  for (uint32_t a = 0; a < d->n_w; a++) {
    const uint8_t *w = d->w + a * d->w_bytes;
    memset(sums, 0, d->n_x * sizeof sums[0]);
    uint32_t g = 0;
    for (; g + 8 <= n_blocks; g += 8) {
      load_span(type, w + (uint64_t)g * bytes, 8, &s);
      for (uint32_t b = 0; b < d->n_x; b++) dot_span(&s, 8, d->x + b, g, sums[b]);
    }
    load_span(type, w + (uint64_t)g * bytes, n_blocks - g, &s);
    for (uint32_t b = 0; b < d->n_x && g < n_blocks; b++)
      dot_span(&s, n_blocks - g, d->x + b, g, sums[b]);
    for (uint32_t b = 0; b < d->n_x; b++) d->out[a + b * d->out_x] = sum8(sums[b][0] + sums[b][1]);
  }
}

void DS4_FN(dot_q8_0)(const ds4_dot *d) { dot_rows(DS4_Q8_0, d); }
void DS4_FN(dot_mxfp4)(const ds4_dot *d) { dot_rows(DS4_MXFP4, d); }

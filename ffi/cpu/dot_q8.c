/* Dots with the blocks of 32, Q8_0 and MXFP4, and Q8_0 activations (dot.h). */
#include "dot.h"

/* Activation rows that share the weights in registers. */
#define TILE 4

/* Twice the E2M1 values of nibbles 0 to 15, so that they are integers: 0 1 2 3 4 6 8 12 and minus.
 */
DS4_INLINE i8x32 e2m1_doubled(u8x32 nibble) {
  const i8x32 code = (i8x32)(nibble & 7), minus = (i8x32)(nibble > 7);
  const i8x32 v = code + ((code > 3) & (code - 4)) + ((code > 5) & (code + code - 12));
  return (v ^ minus) - minus;
}

/* 2^(e - 128): half of E8M0, for the doubled codes. 255 is NaN. */
DS4_INLINE float half_e8m0(uint32_t e) {
  if (e == 255) return float_of(DS4_NAN_BITS);
  return e > 1 ? float_of((e - 1) << 23) : float_of(0x200000u << e);
}

DS4_INLINE uint64_t block_bytes(uint32_t type) { return type == DS4_Q8_0 ? 34 : 17; }

DS4_INLINE float load_scale(uint32_t type, const uint8_t *w) {
  return type == DS4_Q8_0 ? f16_at(w) : half_e8m0(w[0]);
}

/* MXFP4: element j is in the low, element j + 16 in the high nibble of byte j. */
DS4_INLINE i8x32 load_codes(uint32_t type, const uint8_t *w) {
  if (type == DS4_Q8_0) return DS4_LOAD(i8x32, w + 2);
  uint64_t a, b;
  memcpy(&a, w + 1, sizeof a);
  memcpy(&b, w + 9, sizeof b);
  return e2m1_doubled((u8x32)((u64x4){a, b, a >> 4, b >> 4} & 0x0f0f0f0f0f0f0f0full));
}

/* Up to 8 blocks of a weight row, made ready for any number of activation rows. */
typedef struct {
  i8x32 q[8];
  f32x8 d;
} span;

/* Adds n blocks, of which the first is block g0 of a row, times n_x rows: sum[0] are the lanes of
 * the even blocks, sum[1] of the odd. */
DS4_INLINE void dot_span(const span *s, const uint32_t n, const ds4_x *x, const uint32_t n_x,
                         uint64_t g0, f32x8 (*sum)[2]) {
  float scales[TILE][8] = {{0}};
  for (uint32_t b = 0; b < n_x; b++) {
    f32x8 d = {0};
    if (n == 8) d = DS4_LOAD(f32x8, x[b].d + g0);
    else memcpy(&d, x[b].d + g0, n * sizeof(float));
    ds4_store_f32x8(scales[b], s->d * d);
  }
  for (uint32_t g = 0; g < n; g++)
    for (uint32_t b = 0; b < n_x; b++) {
      const i32x8 quads = dot32(s->q[g], DS4_LOAD(i8x32, x[b].q + (g0 + g) * 32));
      const f32x8 v = __builtin_convertvector(quads, f32x8);
      sum[b][g % 2] = fma8(v, splat8(scales[b][g]), sum[b][g % 2]);
    }
}

DS4_INLINE void load_span(uint32_t type, const uint8_t *w, const uint32_t n, span *s) {
  s->d = (f32x8){0};
  for (uint32_t g = 0; g < n; g++) {
    s->q[g] = load_codes(type, w + g * block_bytes(type));
    s->d[g] = load_scale(type, w + g * block_bytes(type));
  }
}

/* One activation row: nothing leaves the registers. */
DS4_INLINE float dot_one(uint32_t type, const uint8_t *w, const ds4_x *x, uint32_t n_blocks) {
  f32x8 sum[1][2] = {{{0}}};
  uint32_t g = 0;
  span s;
  for (; g + 8 <= n_blocks; g += 8) {
    load_span(type, w + g * block_bytes(type), 8, &s);
    dot_span(&s, 8, x, 1, g, sum);
  }
  for (; g < n_blocks; g++) {
    load_span(type, w + g * block_bytes(type), 1, &s);
    sum[0][g % 2] =
        fma8(__builtin_convertvector(dot32(s.q[0], DS4_LOAD(i8x32, x->q + g * 32)), f32x8),
             splat8(s.d[0] * x->d[g]), sum[0][g % 2]);
  }
  return sum8(sum[0][0] + sum[0][1]);
}

/* Blocks [g, g + n) of a weight row for all activation rows. */
DS4_INLINE void dot_spans(uint32_t type, const uint8_t *w, const uint32_t n, const ds4_dot *d,
                          uint32_t g, f32x8 (*sums)[2]) {
  span s;
  load_span(type, w + g * block_bytes(type), n, &s);
  uint32_t b = 0;
  for (; b + TILE <= d->n_x; b += TILE) dot_span(&s, n, d->x + b, TILE, g, sums + b);
  for (; b < d->n_x; b++) dot_span(&s, n, d->x + b, 1, g, sums + b);
}

DS4_INLINE void dot_rows(uint32_t type, const ds4_dot *d) {
  const uint32_t n_blocks = d->n_in / 32;
  f32x8 sums[DS4_X_TILE][2];
  for (uint32_t a = 0; a < d->n_w; a++) {
    const uint8_t *w = d->w + a * d->w_bytes;
    if (d->n_x == 1) {
      d->out[a] = dot_one(type, w, d->x, n_blocks);
      continue;
    }
    memset(sums, 0, d->n_x * sizeof sums[0]);
    uint32_t g = 0;
    for (; g + 8 <= n_blocks; g += 8) dot_spans(type, w, 8, d, g, sums);
    for (; g + 2 <= n_blocks; g += 2) dot_spans(type, w, 2, d, g, sums);
    if (g < n_blocks) dot_spans(type, w, 1, d, g, sums);
    for (uint32_t b = 0; b < d->n_x; b++) d->out[a + b * d->out_x] = sum8(sums[b][0] + sums[b][1]);
  }
}

void DS4_FN(dot_q8_0)(const ds4_dot *d) { dot_rows(DS4_Q8_0, d); }
void DS4_FN(dot_mxfp4)(const ds4_dot *d) { dot_rows(DS4_MXFP4, d); }

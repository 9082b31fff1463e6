/* Dots with the super-blocks of 256, Q2_K, Q4_K and IQ2_XXS, and Q8_K activations (dot.h). A
 * super-block is unpacked once for all activation rows of the call. */
#include "dot.h"

/* One super-block: codes, sub-scale of each 32 elements (halves may differ) and minimum of each 16. */
typedef struct {
  _Alignas(32) int8_t q[8][32];
  _Alignas(32) int16_t scale[8][16];
  _Alignas(32) int16_t min[16];
  float d, dmin;
} span;

DS4_INLINE void set_scale(span *s, uint32_t g, int16_t a, int16_t b) {
  const i16x16 v = {a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b};
  ds4_store_i16x16(s->scale[g], v);
}

/* Spec §14.2: u8 scales[16], u8 qs[64], f16 d, f16 dmin. */
DS4_INLINE void load_q2_k(const uint8_t *w, span *s) {
  for (uint32_t h = 0; h < 2; h++) {
    const u8x32 packed = DS4_LOAD(u8x32, w + 16 + 32 * h);
    ds4_store_u8x32(s->q[4 * h], packed & 3);
    ds4_store_u8x32(s->q[4 * h + 1], packed >> 2 & 3);
    ds4_store_u8x32(s->q[4 * h + 2], packed >> 4 & 3);
    ds4_store_u8x32(s->q[4 * h + 3], packed >> 6);
  }
  for (uint32_t g = 0; g < 8; g++) set_scale(s, g, w[2 * g] & 15, w[2 * g + 1] & 15);
  for (uint32_t i = 0; i < 16; i++) s->min[i] = w[i] >> 4;
  s->d = f16_at(w + 80);
  s->dmin = f16_at(w + 82);
}

/* Spec §14.3: f16 d, f16 dmin, u8 s[12] of 6-bit scales and minimums, u8 qs[128]. */
DS4_INLINE void load_q4_k(const uint8_t *w, span *s) {
  for (uint32_t h = 0; h < 4; h++) {
    const u8x32 packed = DS4_LOAD(u8x32, w + 16 + 32 * h);
    ds4_store_u8x32(s->q[2 * h], packed & 15);
    ds4_store_u8x32(s->q[2 * h + 1], packed >> 4);
  }
  for (uint32_t g = 0; g < 4; g++) {
    const uint32_t a = w[4 + g], b = w[8 + g], c = w[12 + g];
    const int16_t low = a & 63, high = (int16_t)((c & 15) | a >> 6 << 4);
    set_scale(s, g, low, low);
    set_scale(s, g + 4, high, high);
    s->min[2 * g] = s->min[2 * g + 1] = b & 63;
    s->min[2 * g + 8] = s->min[2 * g + 9] = (int16_t)(c >> 4 | b >> 6 << 4);
  }
  s->d = f16_at(w);
  s->dmin = f16_at(w + 2);
}

/* Spec §14.4: f16 d, then for each 32 weights u8 grid[4] and u32 s << 28 | four sign indices. The
 * scale d (0.5 + s) 0.25 is d/8 (2s + 1). */
DS4_INLINE void load_iq2_xxs(const ds4_tables *t, const uint8_t *w, span *s) {
  for (uint32_t g = 0; g < 8; g++) {
    const uint8_t *at = w + 2 + 8 * g;
    uint32_t word;
    memcpy(&word, at + 4, sizeof word);
    for (uint32_t l = 0; l < 4; l++) {
      const uint64_t minus = t->signs[word >> 7 * l & 127], level = t->grid[at[l]];
      /* Levels are below 128: a byte of 0xff in minus gives ~level + 1 without a carry out of it. */
      const uint64_t v = (level ^ minus) + (minus & 0x0101010101010101u);
      memcpy(s->q[g] + 8 * l, &v, sizeof v);
    }
    const int16_t scale = (int16_t)(2 * (word >> 28) + 1);
    set_scale(s, g, scale, scale);
  }
  s->d = 0.125f * f16_at(w);
  s->dmin = 0;
}

/* Super-block `at` of a row pair. */
DS4_INLINE void dot_span(uint32_t type, const span *s, const ds4_x *x, uint32_t at, f32x8 *sum,
                         float *minimum) {
  const int8_t *q = x->q + (uint64_t)at * 256;
  i32x8 acc = {0};
  for (uint32_t g = 0; g < 8; g++) {
    const i8x32 w = DS4_LOAD(i8x32, s->q[g]), xq = DS4_LOAD(i8x32, q + 32 * g);
    acc = type == DS4_IQ2_XXS ? dot32(acc, w, xq, s->scale[g])
                              : dot32_unsigned(acc, w, xq, s->scale[g]);
  }
  const float d = x->d[at];
  *sum = fma8(__builtin_convertvector(acc, f32x8), splat8(s->d * d), *sum);
  if (type == DS4_IQ2_XXS) return;
  int32_t mins = 0;
  for (uint32_t i = 0; i < 16; i++) mins += (int32_t)s->min[i] * x->sums[(uint64_t)at * 16 + i];
  *minimum = fma8(splat8((float)mins), splat8(s->dmin * d), splat8(*minimum))[0];
}

DS4_INLINE void dot_rows(uint32_t type, uint32_t bytes, const ds4_dot *d) {
  const uint32_t n_blocks = d->n_in / 256;
  f32x8 sums[DS4_X_TILE];
  float minimums[DS4_X_TILE];
  span s;
  for (uint32_t a = 0; a < d->n_w; a++) {
    const uint8_t *w = d->w + a * d->w_bytes;
    memset(sums, 0, d->n_x * sizeof sums[0]);
    memset(minimums, 0, d->n_x * sizeof minimums[0]);
    for (uint32_t g = 0; g < n_blocks; g++, w += bytes) {
      if (type == DS4_Q2_K) load_q2_k(w, &s);
      else if (type == DS4_Q4_K) load_q4_k(w, &s);
      else load_iq2_xxs(d->tables, w, &s);
      for (uint32_t b = 0; b < d->n_x; b++) dot_span(type, &s, d->x + b, g, sums + b, minimums + b);
    }
    for (uint32_t b = 0; b < d->n_x; b++) d->out[a + b * d->out_x] = sum8(sums[b]) - minimums[b];
  }
}

void DS4_FN(dot_q2_k)(const ds4_dot *d) { dot_rows(DS4_Q2_K, 84, d); }
void DS4_FN(dot_q4_k)(const ds4_dot *d) { dot_rows(DS4_Q4_K, 144, d); }
void DS4_FN(dot_iq2_xxs)(const ds4_dot *d) { dot_rows(DS4_IQ2_XXS, 66, d); }

/* Dots with the super-blocks of 256, Q2_K, Q4_K and IQ2_XXS, and Q8_K activations (dot.h). A
 * super-block is unpacked once for all activation rows of the call. */
#include "dot.h"

/* Activation rows that share the weights in registers. */
#define TILE 4

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x8 __attribute__((vector_size(8)));
typedef int16_t i16x8 __attribute__((vector_size(16)));

/* One super-block: codes ≥ 0 and, for IQ2_XXS, their sign masks; the sub-scale of each 16 elements,
 * spread over the pairs of products that it multiplies; the minimum of each 16 elements. */
typedef struct {
  i8x32 q[8], minus[8];
  i16x16 scale[8], min;
  float d, dmin;
} span;

/* Sub-scales 2g and 2g + 1 of 16, each over half a vector. */
#define SPREAD(v, g)                                                                               \
  __builtin_shufflevector(v, v, 2 * g, 2 * g, 2 * g, 2 * g, 2 * g, 2 * g, 2 * g, 2 * g, 2 * g + 1, \
                          2 * g + 1, 2 * g + 1, 2 * g + 1, 2 * g + 1, 2 * g + 1, 2 * g + 1,        \
                          2 * g + 1)

DS4_INLINE void spread_scales(i16x16 v, span *s) {
  s->scale[0] = SPREAD(v, 0);
  s->scale[1] = SPREAD(v, 1);
  s->scale[2] = SPREAD(v, 2);
  s->scale[3] = SPREAD(v, 3);
  s->scale[4] = SPREAD(v, 4);
  s->scale[5] = SPREAD(v, 5);
  s->scale[6] = SPREAD(v, 6);
  s->scale[7] = SPREAD(v, 7);
}

/* Spec §14.2: u8 scales[16], u8 qs[64], f16 d, f16 dmin. */
DS4_INLINE void load_q2_k(const uint8_t *w, span *s) {
  for (uint32_t h = 0; h < 2; h++) {
    const u8x32 packed = DS4_LOAD(u8x32, w + 16 + 32 * h);
    s->q[4 * h] = (i8x32)(packed & 3);
    s->q[4 * h + 1] = (i8x32)(packed >> 2 & 3);
    s->q[4 * h + 2] = (i8x32)(packed >> 4 & 3);
    s->q[4 * h + 3] = (i8x32)(packed >> 6);
  }
  u8x16 both;
  memcpy(&both, w, sizeof both);
  spread_scales(__builtin_convertvector(both & 15, i16x16), s);
  s->min = __builtin_convertvector(both >> 4, i16x16);
  s->d = f16_at(w + 80);
  s->dmin = f16_at(w + 82);
}

/* 8 numbers of 6 bits, each twice. */
DS4_INLINE i16x16 doubled(uint32_t low, uint32_t high) {
  const uint64_t all = (uint64_t)high << 32 | low;
  u8x8 bytes;
  memcpy(&bytes, &all, sizeof bytes);
  const i16x8 v = __builtin_convertvector(bytes, i16x8);
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}

/* Spec §14.3: f16 d, f16 dmin, u8 s[12] of 6-bit scales and minimums, u8 qs[128]. */
DS4_INLINE void load_q4_k(const uint8_t *w, span *s) {
  for (uint32_t h = 0; h < 4; h++) {
    const u8x32 packed = DS4_LOAD(u8x32, w + 16 + 32 * h);
    s->q[2 * h] = (i8x32)(packed & 15);
    s->q[2 * h + 1] = (i8x32)(packed >> 4);
  }
  uint32_t p[3];
  memcpy(p, w + 4, sizeof p);
  const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, top = 0x30303030;
  spread_scales(doubled(p[0] & six, (p[2] & four) | (p[0] >> 2 & top)), s);
  s->min = doubled(p[1] & six, (p[2] >> 4 & four) | (p[1] >> 2 & top));
  s->d = f16_at(w);
  s->dmin = f16_at(w + 2);
}

/* Spec §14.4: f16 d, then for each 32 weights u8 grid[4] and u32 s << 28 | four sign indices. The
 * scale d (0.5 + s) 0.25 is d/8 (2s + 1). */
DS4_INLINE void load_iq2_xxs(const ds4_tables *t, const uint8_t *w, span *s) {
  DS4_UNROLL
  for (uint32_t g = 0; g < 8; g++) {
    const uint8_t *at = w + 2 + 8 * g;
    uint32_t word;
    memcpy(&word, at + 4, sizeof word);
    s->q[g] = (i8x32)(u64x4){t->grid[at[0]], t->grid[at[1]], t->grid[at[2]], t->grid[at[3]]};
    s->minus[g] = (i8x32)(u64x4){t->signs[word & 127], t->signs[word >> 7 & 127],
                                 t->signs[word >> 14 & 127], t->signs[word >> 21 & 127]};
    const int16_t v = (int16_t)(2 * (word >> 28) + 1);
    s->scale[g] = (i16x16){v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
  }
  s->d = 0.125f * f16_at(w);
}

DS4_INLINE void load_span(uint32_t type, const ds4_tables *t, const uint8_t *w, span *s) {
  if (type == DS4_Q2_K) load_q2_k(w, s);
  else if (type == DS4_Q4_K) load_q4_k(w, s);
  else load_iq2_xxs(t, w, s);
}

/* Adds super-block `at` of a weight row times n_x rows. */
DS4_INLINE void dot_span(uint32_t type, const span *s, const ds4_x *x, const uint32_t n_x,
                         uint64_t at, f32x8 *sum) {
  i32x8 acc[TILE] = {{0}};
  DS4_UNROLL
  for (uint32_t g = 0; g < 8; g++)
    for (uint32_t b = 0; b < n_x; b++) {
      i8x32 xq = DS4_LOAD(i8x32, x[b].q + at * 256 + 32 * g);
      if (type == DS4_IQ2_XXS) xq = (xq ^ s->minus[g]) - s->minus[g];
      acc[b] = dot32_unsigned(acc[b], s->q[g], xq, s->scale[g]);
    }
  for (uint32_t b = 0; b < n_x; b++) {
    const float d = x[b].d[at];
    sum[b] = fma8(__builtin_convertvector(acc[b], f32x8), splat8(s->d * d), sum[b]);
    if (type == DS4_IQ2_XXS) continue;
    const i32x8 mins = dot16(s->min, DS4_LOAD(i16x16, x[b].sums + at * 16));
    sum[b] = fma8(__builtin_convertvector(mins, f32x8), splat8(-s->dmin * d), sum[b]);
  }
}

/* One activation row: nothing leaves the registers. */
DS4_INLINE float dot_one(uint32_t type, uint32_t bytes, const ds4_tables *t, const uint8_t *w,
                         const ds4_x *x, uint32_t n_blocks) {
  f32x8 sum = {0};
  for (uint32_t at = 0; at < n_blocks; at++, w += bytes) {
    span s;
    load_span(type, t, w, &s);
    dot_span(type, &s, x, 1, at, &sum);
  }
  return sum8(sum);
}

DS4_INLINE void dot_rows(uint32_t type, uint32_t bytes, const ds4_dot *d) {
  const uint32_t n_blocks = d->n_in / 256;
  f32x8 sums[DS4_X_TILE];
  for (uint32_t a = 0; a < d->n_w; a++) {
    const uint8_t *w = d->w + a * d->w_bytes;
    if (d->n_x == 1) {
      d->out[a] = dot_one(type, bytes, d->tables, w, d->x, n_blocks);
      continue;
    }
    memset(sums, 0, d->n_x * sizeof sums[0]);
    for (uint32_t at = 0; at < n_blocks; at++, w += bytes) {
      span s;
      uint32_t b = 0;
      load_span(type, d->tables, w, &s);
      for (; b + TILE <= d->n_x; b += TILE) dot_span(type, &s, d->x + b, TILE, at, sums + b);
      for (; b < d->n_x; b++) dot_span(type, &s, d->x + b, 1, at, sums + b);
    }
    for (uint32_t b = 0; b < d->n_x; b++) d->out[a + b * d->out_x] = sum8(sums[b]);
  }
}

void DS4_FN(dot_q2_k)(const ds4_dot *d) { dot_rows(DS4_Q2_K, 84, d); }
void DS4_FN(dot_q4_k)(const ds4_dot *d) { dot_rows(DS4_Q4_K, 144, d); }
void DS4_FN(dot_iq2_xxs)(const ds4_dot *d) { dot_rows(DS4_IQ2_XXS, 66, d); }

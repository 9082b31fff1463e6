/* Dots with the super-blocks of 256, Q2_K, Q4_K and IQ2_XXS, and Q8_K activations (dot.h). */
#include "dot.h"
#include "unpack.h"

/* Weight rows that stream by at once: one vector of totals. */
#define ROWS 4

/* Scales 2g and 2g + 1 of the 16 bytes in each half of v, each over half a vector of 16 bits. */
#define LOW(g) 2 * g, 32
#define HIGH(g) 2 * g + 17, 32
#define SPREAD(v, g)                                                                             \
  __builtin_shufflevector(v, (u8x32){0}, LOW(g), LOW(g), LOW(g), LOW(g), LOW(g), LOW(g), LOW(g), \
                          LOW(g), HIGH(g), HIGH(g), HIGH(g), HIGH(g), HIGH(g), HIGH(g), HIGH(g), \
                          HIGH(g))

DS4_INLINE i16x16 spread_scale(u8x32 v, const uint32_t g) {
  switch (g) {
  case 0: return (i16x16)SPREAD(v, 0);
  case 1: return (i16x16)SPREAD(v, 1);
  case 2: return (i16x16)SPREAD(v, 2);
  case 3: return (i16x16)SPREAD(v, 3);
  case 4: return (i16x16)SPREAD(v, 4);
  case 5: return (i16x16)SPREAD(v, 5);
  case 6: return (i16x16)SPREAD(v, 6);
  default: return (i16x16)SPREAD(v, 7);
  }
}

/* Σ of a super-block's scaled codes times x, to be summed over the lanes. */
DS4_INLINE i32x8 super_sum(uint32_t type, const uint8_t *w, const int8_t *x) {
  const u8x32 scales = twice(super_scales(type, w));
  i32x8 sum = {0};
  DS4_UNROLL
  for (uint32_t g = 0; g < 8; g++)
    sum = dot32_scaled(sum, super_codes(type, NULL, w, g), DS4_LOAD(i8x32, x + 32 * g),
                       spread_scale(scales, g));
  return sum;
}

/* The same of the super-blocks at `at` of n_w ≤ ROWS rows of IQ2_XXS. An instruction set may have its
 * own way. */
#if !defined(DS4_HAS_IQ2_SUMS)
DS4_INLINE void iq2_sums(const ds4_tables *t, const uint8_t *const *w, uint64_t at,
                         const uint32_t n_w, const int8_t *x, i32x8 *sum) {
  iq2_words words[ROWS]; /* of all rows first: they take a while to come back from memory */
  for (uint32_t r = 0; r < n_w; r++) iq2_read(w[r] + at, words + r);
  DS4_NO_UNROLL
  for (uint32_t r = 0; r < n_w; r++) {
    i32x8 acc = {0};
    DS4_UNROLL
    for (uint32_t g = 0; g < 8; g++)
      acc = dot32_scaled(acc, super_codes(DS4_IQ2_XXS, t, w[r] + at, g),
                         with_sign(DS4_LOAD(i8x32, x + 32 * g), iq2_signs(words[r].minus[g])),
                         (i16x16)splat_bytes(words[r].scale + g));
    sum[r] = acc;
  }
}
#endif

/* out[r] = dot(row w[r], x). */
DS4_INLINE void dot_four(uint32_t type, const ds4_tables *t, const uint8_t *const w[ROWS],
                         const ds4_x *x, uint32_t n_blocks, float *out) {
  f32x4 sum = {0}, min_sum = {0};
  for (uint32_t b = 0; b < n_blocks; b++) {
    const uint64_t at = (uint64_t)b * super_bytes(type);
    i32x8 acc[ROWS], min[ROWS];
    f32x4 d, dmin;
    if (type == DS4_IQ2_XXS) iq2_sums(t, w, at, ROWS, x->q + b * 256, acc);
    DS4_NO_UNROLL
    for (uint32_t r = 0; r < ROWS; r++) {
      const uint8_t *block = w[r] + at;
      const uint8_t *next = w[0] + ((uint64_t)b * ROWS + r) * super_bytes(type) + DS4_AHEAD;
      prefetch(next);
      prefetch(next + super_bytes(type) - 1);
      if (type != DS4_IQ2_XXS) acc[r] = super_sum(type, block, x->q + b * 256);
      d[r] = super_scale(type, block);
      if (!has_minimums(type)) continue;
      min[r] = dot16(super_mins(type, block), DS4_LOAD(i16x16, x->sums + b * 16));
      dmin[r] = super_min_scale(type, block);
    }
    const f32x4 dx = {x->d[b], x->d[b], x->d[b], x->d[b]};
    sum = fma4(__builtin_convertvector(totals(acc[0], acc[1], acc[2], acc[3]), f32x4), d * dx, sum);
    if (has_minimums(type))
      min_sum = fma4(__builtin_convertvector(totals(min[0], min[1], min[2], min[3]), f32x4),
                     -dmin * dx, min_sum);
  }
  if (has_minimums(type)) sum += min_sum;
  memcpy(out, &sum, sizeof sum);
}

DS4_INLINE void dot_rows(uint32_t type, const ds4_dot *d) {
  if (d->n_x >= tile_rows(type)) {
    DS4_FN(dot_tile)(type, d);
    return;
  }
  for (uint32_t a = 0; a < d->n_w; a += ROWS) {
    const uint32_t n = DS4_MIN(ROWS, d->n_w - a);
    const uint8_t *w[ROWS];
    for (uint32_t r = 0; r < ROWS; r++) w[r] = d->w + (a + DS4_MIN(r, n - 1)) * d->w_bytes;
    for (uint32_t b = 0; b < d->n_x; b++) {
      float out[ROWS];
      dot_four(type, d->tables, w, d->x + b, d->n_in / 256, out);
      memcpy(d->out + a + b * d->out_x, out, n * sizeof *out);
    }
  }
}

void DS4_FN(dot_q2_k)(const ds4_dot *d) { dot_rows(DS4_Q2_K, d); }
void DS4_FN(dot_q4_k)(const ds4_dot *d) { dot_rows(DS4_Q4_K, d); }
void DS4_FN(dot_iq2_xxs)(const ds4_dot *d) { dot_rows(DS4_IQ2_XXS, d); }

/* Dots with F32, F16 and BF16 weights: f32 all through (dot.h). */
#include "dot.h"

#define TILE 4
/* Elements at a time: TILE rows of each side stay in L1 while they meet. */
#define K_BLOCK 1024

/* Sums of TILE weight rows with all activation rows. */
typedef f32x16 sums[TILE][DS4_X_TILE];

DS4_INLINE f32x16 load_weights(uint32_t type, const uint8_t *w, uint64_t i) {
  if (type == DS4_F32) return DS4_LOAD(f32x16, w + 4 * i);
  if (type == DS4_F16) return widen_f16(w + 2 * i);
  return (f32x16)(__builtin_convertvector(DS4_LOAD(u16x16, w + 2 * i), u32x16) << 16);
}

/* The last n < 16 weights, then zeros: a product of zeros changes no sum. */
DS4_INLINE f32x16 load_last_weights(uint32_t type, const uint8_t *w, uint64_t i, uint64_t n) {
  const uint64_t size = type == DS4_F32 ? 4 : 2;
  uint8_t part[64] = {0};
  memcpy(part, w + size * i, size * n);
  return load_weights(type, part, 0);
}

/* Elements [i0, i1) of n_w × n_x pairs at once: the loads are shared, and the sums do not wait for
 * each other. acc[a][b] of pair (w0 + a, x0 + b). */
DS4_INLINE void add_tile(uint32_t type, const ds4_dot *d, uint32_t w0, const uint32_t n_w,
                         uint32_t x0, const uint32_t n_x, uint64_t i0, uint64_t i1,
                         f32x16 (*acc)[DS4_X_TILE]) {
  f32x16 sum[TILE];
  const float *x[TILE];
  for (uint32_t b = 0; b < n_x; b++) x[b] = d->x[x0 + b].f;
  for (uint32_t a = 0; a < n_w; a++)
    for (uint32_t b = 0; b < n_x; b++) sum[a * n_x + b] = acc[a][x0 + b];
  for (uint64_t i = i0; i < i1; i += 16) {
    if (n_x == 1) {
      const uint8_t *next =
          d->w + w0 * d->w_bytes + i * n_w * (type == DS4_F32 ? 4 : 2) + DS4_AHEAD;
      prefetch(next);
      prefetch(next + 64);
    }
    for (uint32_t a = 0; a < n_w; a++) {
      const f32x16 v = load_weights(type, d->w + (w0 + a) * d->w_bytes, i);
      for (uint32_t b = 0; b < n_x; b++)
        sum[a * n_x + b] = fma16(v, DS4_LOAD(f32x16, x[b] + i), sum[a * n_x + b]);
    }
  }
  for (uint32_t a = 0; a < n_w; a++)
    for (uint32_t b = 0; b < n_x; b++) acc[a][x0 + b] = sum[a * n_x + b];
}

/* Elements [i0, i1) of weight rows [w0, w0 + n_w) with all activation rows. */
DS4_INLINE void add_block(uint32_t type, const ds4_dot *d, uint32_t w0, uint32_t n_w, uint64_t i0,
                          uint64_t i1, sums acc) {
  uint32_t x = 0;
  for (; x + TILE <= d->n_x; x += TILE)
    for (uint32_t a = 0; a < n_w; a++) add_tile(type, d, w0 + a, 1, x, TILE, i0, i1, acc + a);
  for (; x < d->n_x; x++) {
    if (n_w == TILE) add_tile(type, d, w0, TILE, x, 1, i0, i1, acc);
    else
      for (uint32_t a = 0; a < n_w; a++) add_tile(type, d, w0 + a, 1, x, 1, i0, i1, acc + a);
  }
}

DS4_INLINE void add_rest(uint32_t type, const ds4_dot *d, uint32_t w0, uint32_t n_w, uint64_t i,
                         sums acc) {
  for (uint32_t a = 0; a < n_w; a++) {
    const f32x16 v = load_last_weights(type, d->w + (w0 + a) * d->w_bytes, i, d->n_in - i);
    for (uint32_t b = 0; b < d->n_x; b++)
      acc[a][b] = fma16(v, load_part(d->x[b].f + i, d->n_in - i), acc[a][b]);
  }
}

DS4_INLINE void dot_rows(uint32_t type, const ds4_dot *d) {
  const uint64_t whole = d->n_in / 16 * 16;
  sums acc;
  for (uint32_t w = 0; w < d->n_w; w += TILE) {
    const uint32_t n_w = DS4_MIN(TILE, d->n_w - w);
    for (uint32_t a = 0; a < n_w; a++) memset(acc[a], 0, d->n_x * sizeof acc[a][0]);
    for (uint64_t i = 0; i < whole; i += K_BLOCK)
      add_block(type, d, w, n_w, i, DS4_MIN(i + K_BLOCK, whole), acc);
    if (whole < d->n_in) add_rest(type, d, w, n_w, whole, acc);
    for (uint32_t a = 0; a < n_w; a++)
      for (uint32_t b = 0; b < d->n_x; b++) d->out[w + a + b * d->out_x] = sum16(acc[a][b]);
  }
}

void DS4_FN(dot_f32)(const ds4_dot *d) { dot_rows(DS4_F32, d); }
void DS4_FN(dot_f16)(const ds4_dot *d) { dot_rows(DS4_F16, d); }
void DS4_FN(dot_bf16)(const ds4_dot *d) { dot_rows(DS4_BF16, d); }

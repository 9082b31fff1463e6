/* Dots with the blocks of 32, Q8_0 and MXFP4, and Q8_0 activations (dot.h). */
#include "dot.h"
#include "unpack.h"

/* Blocks at a time: one vector of totals. */
#define BLOCKS 4

/* Adds n ≤ BLOCKS blocks of w and x; those that are missing count as zero. */
DS4_INLINE f32x4 add_blocks(uint32_t type, const ds4_tables *t, const uint8_t *w, const ds4_x *x,
                            uint32_t at, const uint32_t n, f32x4 sum) {
  i32x8 quads[BLOCKS] = {{0}};
  f32x4 d = {0}, dx = {0};
  DS4_UNROLL
  for (uint32_t b = 0; b < n; b++) {
    const uint8_t *block = w + (uint64_t)b * block_bytes(type);
    quads[b] = dot32(block_codes(type, block), DS4_LOAD(i8x32, x->q + (at + b) * 32));
    d[b] = block_scale(type, t, block);
  }
  if (n == BLOCKS) dx = DS4_LOAD(f32x4, x->d + at);
  else
    for (uint32_t b = 0; b < n; b++) dx[b] = x->d[at + b];
  const i32x4 sums = totals(quads[0], quads[1], quads[2], quads[3]);
  return fma4(__builtin_convertvector(sums, f32x4), d * dx, sum);
}

DS4_INLINE float dot_one(uint32_t type, const ds4_tables *t, const uint8_t *w, const ds4_x *x,
                         uint32_t n_blocks) {
  f32x4 sum = {0};
  uint32_t at = 0;
  for (; at + BLOCKS <= n_blocks; at += BLOCKS, w += BLOCKS * block_bytes(type)) {
    prefetch(w + DS4_AHEAD);
    prefetch(w + DS4_AHEAD + 64);
    sum = add_blocks(type, t, w, x, at, BLOCKS, sum);
  }
  switch (n_blocks - at) {
  case 1: sum = add_blocks(type, t, w, x, at, 1, sum); break;
  case 2: sum = add_blocks(type, t, w, x, at, 2, sum); break;
  case 3: sum = add_blocks(type, t, w, x, at, 3, sum); break;
  }
  return sum4(sum);
}

DS4_INLINE void dot_rows(uint32_t type, const ds4_dot *d) {
  if (d->n_x >= tile_rows(type)) {
    DS4_FN(dot_tile)(type, d);
    return;
  }
  for (uint32_t a = 0; a < d->n_w; a++)
    for (uint32_t b = 0; b < d->n_x; b++)
      d->out[a + b * d->out_x] =
          dot_one(type, d->tables, d->w + a * d->w_bytes, d->x + b, d->n_in / 32);
}

void DS4_FN(dot_q8_0)(const ds4_dot *d) { dot_rows(DS4_Q8_0, d); }
void DS4_FN(dot_mxfp4)(const ds4_dot *d) { dot_rows(DS4_MXFP4, d); }

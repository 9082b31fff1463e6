/* Dots with F32, F16 and BF16 weights: f32 all through (dot.h). */
#include "dot.h"

#define TILE 4

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

/* n_w × n_x dots at once: the loads are shared, and the sums do not wait for each other. */
DS4_INLINE void dot_tile(uint32_t type, const ds4_dot *d, uint32_t w0, const uint32_t n_w,
                         uint32_t x0, const uint32_t n_x) {
  f32x16 acc[TILE] = {{0}};
  const uint8_t *w = d->w + w0 * d->w_bytes;
  const ds4_x *x = d->x + x0;
  const uint64_t whole = d->n_in / 16 * 16, rest = d->n_in - whole;
  for (uint64_t i = 0; i < whole; i += 16)
    for (uint32_t a = 0; a < n_w; a++) {
      const f32x16 v = load_weights(type, w + a * d->w_bytes, i);
      for (uint32_t b = 0; b < n_x; b++)
        acc[a * n_x + b] = fma16(v, DS4_LOAD(f32x16, x[b].f + i), acc[a * n_x + b]);
    }
  for (uint32_t a = 0; rest && a < n_w; a++) {
    const f32x16 v = load_last_weights(type, w + a * d->w_bytes, whole, rest);
    for (uint32_t b = 0; b < n_x; b++)
      acc[a * n_x + b] = fma16(v, load_part(x[b].f + whole, rest), acc[a * n_x + b]);
  }
  for (uint32_t a = 0; a < n_w; a++)
    for (uint32_t b = 0; b < n_x; b++)
      d->out[w0 + a + (x0 + b) * d->out_x] = sum16(acc[a * n_x + b]);
}

DS4_INLINE void dot_rows(uint32_t type, const ds4_dot *d) {
  for (uint32_t w = 0; w < d->n_w; w += TILE) {
    const uint32_t n_w = DS4_MIN(TILE, d->n_w - w);
    uint32_t x = 0;
    for (; x + TILE <= d->n_x; x += TILE)
      for (uint32_t a = 0; a < n_w; a++) dot_tile(type, d, w + a, 1, x, TILE);
    for (; x < d->n_x; x++) {
      if (n_w == TILE) dot_tile(type, d, w, TILE, x, 1);
      else
        for (uint32_t a = 0; a < n_w; a++) dot_tile(type, d, w + a, 1, x, 1);
    }
  }
}

void DS4_FN(dot_f32)(const ds4_dot *d) { dot_rows(DS4_F32, d); }
void DS4_FN(dot_f16)(const ds4_dot *d) { dot_rows(DS4_F16, d); }
void DS4_FN(dot_bf16)(const ds4_dot *d) { dot_rows(DS4_BF16, d); }

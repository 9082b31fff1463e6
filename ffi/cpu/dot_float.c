/* Dots with F32, F16 and BF16 weights: f32 all through (dot.h). One activation row: weight rows
 * stream by, four at once. Several: a block of weights is widened once for all of them. */
#include "dot.h"

/* Weight rows at a time. */
#define ROWS 4
/* Elements at a time: they stay in L1 while all pairs of rows meet. */
#define K_BLOCK 1024
/* Rows of each side whose sums stay in registers. */
#if DS4_BIG_TILES
#define TILE_W 4
#define TILE_X 6
#else
#define TILE_W 2
#define TILE_X 3
#endif
/* Activation rows from which tiles pay, and what is left over by a tile comes in. */
#define FEW_X 3
/* Activation rows from which widening a block first pays. */
#define WIDEN_ROWS 12

/* Sums of ROWS weight rows with all activation rows. */
typedef f32x16 sums_row[DS4_X_TILE];
typedef sums_row sums[ROWS];

DS4_INLINE uint64_t size_of(uint32_t type) { return type == DS4_F32 ? 4 : 2; }

DS4_INLINE f32x16 load_weights(uint32_t type, const uint8_t *w, uint64_t i) {
  if (type == DS4_F32) return DS4_LOAD(f32x16, w + 4 * i);
  if (type == DS4_F16) return widen_f16(w + 2 * i);
  return (f32x16)(__builtin_convertvector(DS4_LOAD(u16x16, w + 2 * i), u32x16) << 16);
}

/* The last n < 16 weights, then zeros: a product of zeros changes no sum. */
DS4_INLINE f32x16 load_last_weights(uint32_t type, const uint8_t *w, uint64_t i, uint64_t n) {
  uint8_t part[64] = {0};
  memcpy(part, w + size_of(type) * i, size_of(type) * n);
  return load_weights(type, part, 0);
}

/* Weight rows of a type, and where their element 0 is. */
typedef struct {
  uint32_t type;
  const uint8_t *at;
  uint64_t bytes;
} rows;

/* acc[a][b] += the dots of elements [i, i + n) of n_w weight rows, of which they are the first, with
 * n_x activation rows; n is a multiple of 16. Loads are shared, and no sum waits for another. */
DS4_INLINE void add_tile(rows w, const uint32_t n_w, const ds4_x *x, const uint32_t n_x, uint64_t i,
                         uint64_t n, bool ahead, sums_row *acc) {
  f32x16 sum[ROWS * TILE_X];
  const float *xf[TILE_X];
  for (uint32_t b = 0; b < n_x; b++) xf[b] = x[b].f + i;
  for (uint32_t a = 0; a < n_w; a++)
    for (uint32_t b = 0; b < n_x; b++) sum[a * n_x + b] = acc[a][b];
  for (uint64_t k = 0; k < n; k += 16) {
    if (ahead) {
      prefetch(w.at + k * n_w * size_of(w.type) + DS4_AHEAD);
      prefetch(w.at + k * n_w * size_of(w.type) + DS4_AHEAD + 64);
    }
    for (uint32_t a = 0; a < n_w; a++) {
      const f32x16 v = load_weights(w.type, w.at + a * w.bytes, k);
      for (uint32_t b = 0; b < n_x; b++)
        sum[a * n_x + b] = fma16(v, DS4_LOAD(f32x16, xf[b] + k), sum[a * n_x + b]);
    }
  }
  for (uint32_t a = 0; a < n_w; a++)
    for (uint32_t b = 0; b < n_x; b++) acc[a][b] = sum[a * n_x + b];
}

/* n_w weight rows with each activation row by itself. */
DS4_INLINE void add_streams(rows w, uint32_t n_w, const ds4_dot *d, uint64_t n, sums acc) {
  for (uint32_t b = 0; b < d->n_x; b++) {
    if (n_w == ROWS) add_tile(w, ROWS, d->x + b, 1, 0, n, true, (sums_row *)(acc[0] + b));
    else
      for (uint32_t a = 0; a < n_w; a++)
        add_tile((rows){w.type, w.at + a * w.bytes, w.bytes}, 1, d->x + b, 1, 0, n, true,
                 (sums_row *)(acc[a] + b));
  }
}

/* Elements [i, i + n) of n_w weight rows, a multiple of tile_w, with all activation rows. */
DS4_INLINE void add_tiles(rows w, uint32_t n_w, const uint32_t tile_w, const ds4_dot *d, uint64_t i,
                          uint64_t n, sums acc) {
  for (uint32_t a = 0; a < n_w; a += tile_w) {
    const rows part = {w.type, w.at + a * w.bytes, w.bytes};
    uint32_t b = 0;
    for (; b + TILE_X <= d->n_x; b += TILE_X)
      add_tile(part, tile_w, d->x + b, TILE_X, i, n, false, (sums_row *)(acc[a] + b));
    for (; TILE_X > FEW_X && b + FEW_X <= d->n_x; b += FEW_X)
      add_tile(part, tile_w, d->x + b, FEW_X, i, n, false, (sums_row *)(acc[a] + b));
    for (; b < d->n_x; b++)
      add_tile(part, tile_w, d->x + b, 1, i, n, false, (sums_row *)(acc[a] + b));
  }
}

/* The same by way of widened weights, ROWS of them whatever n_w is. */
DS4_INLINE void add_widened(rows w, uint32_t n_w, const ds4_dot *d, uint64_t i, uint64_t n,
                            sums acc) {
  _Alignas(64) float wide[ROWS][K_BLOCK];
  for (uint32_t a = 0; a < ROWS; a++)
    for (uint64_t k = 0; k < n; k += 16)
      ds4_store_f32x16(wide[a] + k, load_weights(w.type, w.at + DS4_MIN(a, n_w - 1) * w.bytes, k));
  add_tiles((rows){DS4_F32, (const uint8_t *)wide, sizeof wide[0]}, ROWS, TILE_W, d, i, n, acc);
}

DS4_INLINE void add_rest(rows w, uint32_t n_w, const ds4_dot *d, uint64_t i, sums acc) {
  for (uint32_t a = 0; a < n_w; a++) {
    const f32x16 v = load_last_weights(w.type, w.at + a * w.bytes, i, d->n_in - i);
    for (uint32_t b = 0; b < d->n_x; b++)
      acc[a][b] = fma16(v, load_part(d->x[b].f + i, d->n_in - i), acc[a][b]);
  }
}

DS4_INLINE void dot_rows(uint32_t type, const ds4_dot *d) {
  const uint64_t whole = d->n_in / 16 * 16;
  sums acc;
  for (uint32_t r = 0; r < d->n_w; r += ROWS) {
    const uint32_t n_w = DS4_MIN(ROWS, d->n_w - r);
    const rows w = {type, d->w + r * d->w_bytes, d->w_bytes};
    for (uint32_t a = 0; a < ROWS; a++) memset(acc[a], 0, d->n_x * sizeof acc[a][0]);
    if (d->n_x < FEW_X) add_streams(w, n_w, d, whole, acc);
    else
      for (uint64_t i = 0; i < whole; i += K_BLOCK) {
        const rows block = {type, w.at + i * size_of(type), w.bytes};
        const uint64_t n = DS4_MIN(K_BLOCK, whole - i);
        if (d->n_x < WIDEN_ROWS) add_tiles(block, n_w, 1, d, i, n, acc);
        else add_widened(block, n_w, d, i, n, acc);
      }
    if (whole < d->n_in) add_rest(w, n_w, d, whole, acc);
    for (uint32_t a = 0; a < n_w; a++)
      for (uint32_t b = 0; b < d->n_x; b++) d->out[r + a + b * d->out_x] = sum16(acc[a][b]);
  }
}

void DS4_FN(dot_f32)(const ds4_dot *d) { dot_rows(DS4_F32, d); }
void DS4_FN(dot_f16)(const ds4_dot *d) { dot_rows(DS4_F16, d); }
void DS4_FN(dot_bf16)(const ds4_dot *d) { dot_rows(DS4_BF16, d); }

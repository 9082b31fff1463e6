/* Dots of quantized weights with many activation rows (dot.h). A tile is 256 elements of 16 weight
 * rows, unpacked side by side so that each row has a lane of its own: a sum then never crosses
 * lanes. It is unpacked once, and stays in L1 while all activation rows pass. */
#include "dot.h"
#include "unpack.h"

#define TILE_W 16
#define TILE_K 256
/* Activation rows that share the weights in registers. */
#define TILE_X 4
/* f32 sums of a pair of rows: lanes of the blocks, or products and minimums of super-blocks. */
#define SUMS 4

typedef struct {
  int8_t codes[TILE_K / 4][TILE_W][4];
  int16_t scale[TILE_K / 16][TILE_W][2]; /* of each 16 elements, twice: super-blocks */
  int16_t min[TILE_K / 32][TILE_W][2];   /* of the two 16 of each 32 */
  float d[TILE_K / 32][TILE_W];          /* of each block; super-blocks: [0] scale, [1] minimums */
} tile;

typedef float sums[SUMS][TILE_W];

/* What is added to codes to make them ≥ 0, and taken off again by sums of x. Where a code cannot be
 * any byte, Q8_0 stays signed. */
DS4_INLINE int offset_of(uint32_t type) {
  if (type == DS4_Q8_0) return DS4_WIDE_CODES ? 128 : 0;
  return type == DS4_IQ2_XXS ? 43 : type == DS4_MXFP4 ? 12 : 0;
}

/* Whether scales are multiplied into the codes of a tile: Q2_K, 15 · 3 at most. */
DS4_INLINE bool is_scaled(uint32_t type) { return DS4_WIDE_CODES && type == DS4_Q2_K; }

/* Scales that multiply sums of a tile's super-block. */
DS4_INLINE uint32_t n_scales(uint32_t type) {
  return is_scaled(type) ? 0 : type == DS4_Q2_K ? 16 : 8;
}

DS4_INLINE i8x32 splat_i8(int v) { return (i8x32){0} + (int8_t)v; }

/* --- unpacking --- */

DS4_INLINE void unpack_blocks(uint32_t type, const ds4_tables *tables, const uint8_t *w, uint32_t n,
                              uint32_t r, int8_t *codes, tile *t) {
  for (uint32_t g = 0; g < n; g++, w += block_bytes(type)) {
    ds4_store_i8x32(codes + 32 * g, block_codes(type, w) + splat_i8(offset_of(type)));
    t->d[g][r] = block_scale(type, tables, w);
  }
}

/* What a weight row's super-block holds beside its codes, each in both halves of a dword or two of
 * them in one, as the tile has them. */
typedef struct {
  _Alignas(64) uint32_t scale[TILE_W][TILE_K / 16];
  uint32_t min[TILE_W][TILE_K / 32];
} scale_rows;

DS4_INLINE void unpack_iq2(const ds4_tables *tables, const uint8_t *w, uint32_t r, int8_t *codes,
                           scale_rows *rows) {
  iq2_words words;
  iq2_read(w, &words);
  DS4_UNROLL
  for (uint32_t g = 0; g < 8; g++) {
    const i8x32 q = super_codes(DS4_IQ2_XXS, tables, w, g);
    ds4_store_i8x32(codes + 32 * g,
                    with_sign(q, iq2_signs(words.minus[g])) + splat_i8(offset_of(DS4_IQ2_XXS)));
  }
  const u32x8 scale = DS4_LOAD(u32x8, words.scale);
  ds4_store_u32x8(rows->scale[r], scale);
  ds4_store_u32x8(rows->min[r], scale * (uint32_t)offset_of(DS4_IQ2_XXS));
}

DS4_INLINE void unpack_super(uint32_t type, const ds4_tables *tables, const uint8_t *w, uint32_t r,
                             int8_t *codes, tile *t, scale_rows *rows) {
  t->d[0][r] = super_scale(type, w);
  if (type == DS4_IQ2_XXS) return unpack_iq2(tables, w, r, codes, rows);
  t->d[1][r] = -super_min_scale(type, w);
  const u8x16 scales = super_scales(type, w);
  int8_t table[16];
  memcpy(table, &scales, sizeof table);
  DS4_UNROLL
  for (uint32_t g = 0; g < 8; g++) {
    i8x32 q = super_codes(type, tables, w, g);
    if (is_scaled(type)) { /* two codes at once: neither product leaves its byte */
      const u8x32 first = (u8x32){0} + (uint8_t)(2 * g), half = (u8x32)(u64x4){0, 0, ~0ull, ~0ull};
      q = (i8x32)((u16x16)q * ((u16x16)lookup16(table, first - half) & 0xff));
    }
    ds4_store_i8x32(codes + 32 * g, q);
  }
  const u16x16 wide = __builtin_convertvector(scales, u16x16);
  if (type == DS4_Q4_K) ds4_store_u16x16(rows->scale[r], wide);
  else if (!is_scaled(type))
    for (uint32_t s = 0; s < 16; s++) rows->scale[r][s] = wide[s] * 0x10001u;
  ds4_store_i16x16(rows->min[r], super_mins(type, w));
}

/* 8 rows of 8 dwords, `from` a row apart, to 8 of their columns, `to` apart. */
DS4_INLINE void transpose8(const void *first, uint64_t from, void *to_first, uint64_t to) {
  const uint8_t *in = first;
  uint8_t *out = to_first;
  i32x8 a[8], b[8];
  for (int i = 0; i < 8; i++) a[i] = DS4_LOAD(i32x8, in + i * from);
  for (int i = 0; i < 8; i += 2) {
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; k++) {
      a[i + 2 * k] = __builtin_shufflevector(b[i + k], b[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[i + 2 * k + 1] =
          __builtin_shufflevector(b[i + k], b[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    const i32x8 low = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const i32x8 high = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    ds4_store_i32x8(out + i * to, low);
    ds4_store_i32x8(out + (i + 4) * to, high);
  }
}

/* Elements [k0, k0 + 32 · n) of n_w weight rows; the lanes beyond n_w repeat the last row. */
DS4_INLINE void unpack_tile(uint32_t type, const ds4_dot *d, const uint8_t *w, uint32_t n_w,
                            uint32_t n, tile *t) {
  _Alignas(64) int8_t codes[TILE_W][TILE_K];
  scale_rows rows;
  for (uint32_t r = 0; r < TILE_W; r++) {
    const uint8_t *row = w + DS4_MIN(r, n_w - 1) * d->w_bytes;
    const uint64_t bytes = TILE_K / ds4_type(type).block * ds4_type(type).bytes;
    for (uint64_t i = 0; i < bytes; i += 64) prefetch(row + bytes + i); /* of the next tile */
    if (ds4_type(type).block == 32) unpack_blocks(type, d->tables, row, n, r, codes[r], t);
    else unpack_super(type, d->tables, row, r, codes[r], t, &rows);
  }
  for (uint32_t o = 0; o < TILE_W; o += 8) {
    for (uint32_t g = 0; g < n; g++)
      transpose8(codes[o] + 32 * g, TILE_K, t->codes[8 * g][o], sizeof t->codes[0]);
    if (ds4_type(type).block == 32) continue;
    for (uint32_t s = 0; s < n_scales(type); s += 8)
      transpose8(rows.scale[o] + s, sizeof rows.scale[0], t->scale[s][o], sizeof t->scale[0]);
    transpose8(rows.min[o], sizeof rows.min[0], t->min[0][o], sizeof t->min[0]);
  }
}

/* --- multiplying --- */

DS4_INLINE tile_f32 splat_f32(float v) { return v - (tile_f32){0}; }

/* at[0 … DS4_TILE_LANES) += total · d. */
DS4_INLINE void add_total(float *at, tile_i32 total, tile_f32 d) {
  const tile_f32 sum = DS4_LOAD(tile_f32, at);
  ds4_store_tile_f32(at, tile_fma(__builtin_convertvector(total, tile_f32), d, sum));
}

/* acc[b] += scale · (the tile's weight rows · x[b]) over n_steps of 4 elements; w as offset_of
 * says. */
DS4_INLINE void times_steps(uint32_t type, tile_i32 *acc, const tile_i8 *w, const int8_t *const *x,
                            const uint32_t n_x, const uint32_t n_steps, tile_i16 scale) {
  const bool scaled = ds4_type(type).block == 256 && !is_scaled(type);
  uint32_t b = 0;
#if defined(DS4_HAS_TILE_TWO)
  DS4_UNROLL
  for (; b + 2 <= n_x; b += 2) {
    tile_i32 sum[2];
    tile_two(w, x[b], x[b + 1], n_steps, sum);
    for (uint32_t i = 0; i < 2; i++)
      acc[b + i] += scaled ? sum[i] * ((tile_i32)scale >> 16) : sum[i];
  }
#endif
  DS4_UNROLL
  for (; b < n_x; b++) {
    if (type == DS4_IQ2_XXS) acc[b] = tile_unsigned(acc[b], w, x[b], n_steps, scale);
    else if (scaled) acc[b] = tile_small(acc[b], w, x[b], n_steps, scale);
    else if (offset_of(type) || is_scaled(type)) acc[b] = tile_plain(acc[b], w, x[b], n_steps);
#if !DS4_WIDE_CODES
    else acc[b] += tile_signed(w, x[b], n_steps);
#endif
  }
}

/* Lanes from o of n blocks, the first of which is block `at` of x, with n_x rows. */
DS4_INLINE void times_blocks(uint32_t type, const tile *t, uint32_t o, uint32_t n, const ds4_x *x,
                             const uint32_t n_x, uint32_t at, sums *s) {
  const uint32_t steps = type == DS4_MXFP4 ? 4 : 8;
  for (uint32_t g = 0; g < n; g++) {
    const tile_f32 d = DS4_LOAD(tile_f32, &t->d[g][o]);
    const int8_t *xq[TILE_X];
    tile_i32 total[TILE_X];
    tile_i8 w[8];
    for (uint32_t b = 0; b < n_x; b++)
      total[b] = (tile_i32){0} - offset_of(type) * x[b].sums[at + g];
    for (uint32_t k = 0; k < 8; k++) w[k] = DS4_LOAD(tile_i8, t->codes[8 * g + k][o]);
    DS4_UNROLL
    for (uint32_t k = 0; k < 8; k += steps) {
      for (uint32_t b = 0; b < n_x; b++) xq[b] = x[b].q + (at + g) * 32 + 4 * k;
      times_steps(type, total, w + k, xq, n_x, steps, (tile_i16){0});
    }
    for (uint32_t b = 0; b < n_x; b++)
      add_total(&s[b][g % SUMS][o], total[b], d * splat_f32(x[b].d[at + g]));
  }
}

/* Lanes from o of one super-block, block `at` of x, with n_x rows. */
DS4_INLINE void times_super(uint32_t type, const tile *t, uint32_t o, const ds4_x *x,
                            const uint32_t n_x, uint32_t at, sums *s) {
  const uint32_t steps = type == DS4_Q2_K ? 4 : 8; /* of 4 elements, that share a scale */
  tile_i32 acc[TILE_X] = {{0}}, min[TILE_X] = {{0}};
  for (uint32_t k = 0; k < TILE_K / 4; k += steps) {
    const tile_i16 scale = DS4_LOAD(tile_i16, t->scale[k / steps][o]);
    const int8_t *xq[TILE_X];
    tile_i8 w[8];
    for (uint32_t i = 0; i < steps; i++) w[i] = DS4_LOAD(tile_i8, t->codes[k + i][o]);
    for (uint32_t b = 0; b < n_x; b++) xq[b] = x[b].q + at * 256 + 4 * k;
    times_steps(type, acc, w, xq, n_x, steps, scale);
  }
  for (uint32_t j = 0; j < TILE_K / 32; j++) {
    const tile_i16 m = DS4_LOAD(tile_i16, t->min[j][o]);
    for (uint32_t b = 0; b < n_x; b++) {
      int32_t two;
      memcpy(&two, x[b].sums + at * 16 + 2 * j, sizeof two);
      min[b] += tile_dot16(m, (tile_i16)((tile_i32){0} + two));
    }
  }
  for (uint32_t b = 0; b < n_x; b++) {
    const tile_f32 dx = splat_f32(x[b].d[at]);
    if (has_minimums(type)) add_total(&s[b][1][o], min[b], DS4_LOAD(tile_f32, &t->d[1][o]) * dx);
    else acc[b] -= min[b];
    add_total(&s[b][0][o], acc[b], DS4_LOAD(tile_f32, &t->d[0][o]) * dx);
  }
}

DS4_INLINE void times_tile(uint32_t type, const tile *t, uint32_t n, const ds4_x *x,
                           const uint32_t n_x, uint32_t at, sums *s) {
  for (uint32_t o = 0; o < TILE_W; o += DS4_TILE_LANES)
    if (ds4_type(type).block == 32) times_blocks(type, t, o, n, x, n_x, at, s);
    else times_super(type, t, o, x, n_x, at, s);
}

DS4_INLINE void store_sums(uint32_t type, const ds4_dot *d, uint32_t a, uint32_t n_w,
                           const sums *s) {
  const bool blocks = ds4_type(type).block == 32;
  for (uint32_t b = 0; b < d->n_x; b++) {
    float out[TILE_W];
    for (uint32_t r = 0; r < TILE_W; r++)
      out[r] = blocks               ? (s[b][0][r] + s[b][2][r]) + (s[b][1][r] + s[b][3][r])
               : has_minimums(type) ? s[b][0][r] + s[b][1][r]
                                    : s[b][0][r];
    memcpy(d->out + a + b * d->out_x, out, n_w * sizeof *out);
  }
}

DS4_INLINE void dot_tiles(uint32_t type, const ds4_dot *d) {
  const uint32_t block = ds4_type(type).block, n_blocks = d->n_in / block, step = TILE_K / block;
  _Alignas(64) tile t;
  _Alignas(64) sums s[DS4_X_TILE];
  for (uint32_t a = 0; a < d->n_w; a += TILE_W) {
    const uint32_t n_w = DS4_MIN(TILE_W, d->n_w - a);
    const uint8_t *w = d->w + a * d->w_bytes;
    memset(s, 0, d->n_x * sizeof *s);
    for (uint32_t at = 0; at < n_blocks; at += step, w += (uint64_t)step * ds4_type(type).bytes) {
      const uint32_t n = DS4_MIN(step, n_blocks - at);
      const ds4_x *x = d->x;
      unpack_tile(type, d, w, n_w, block == 32 ? n : 8, &t);
      sums *at_x = s;
      for (; x + TILE_X <= d->x + d->n_x; x += TILE_X, at_x += TILE_X)
        times_tile(type, &t, n, x, TILE_X, at, at_x);
      switch (d->x + d->n_x - x) {
      case 1: times_tile(type, &t, n, x, 1, at, at_x); break;
      case 2: times_tile(type, &t, n, x, 2, at, at_x); break;
      case 3: times_tile(type, &t, n, x, 3, at, at_x); break;
      }
    }
    store_sums(type, d, a, n_w, (const sums *)s);
  }
}

void DS4_FN(dot_tile)(uint32_t type, const ds4_dot *d) {
  switch (type) {
  case DS4_Q8_0: dot_tiles(DS4_Q8_0, d); break;
  case DS4_MXFP4: dot_tiles(DS4_MXFP4, d); break;
  case DS4_Q2_K: dot_tiles(DS4_Q2_K, d); break;
  case DS4_Q4_K: dot_tiles(DS4_Q4_K, d); break;
  default: dot_tiles(DS4_IQ2_XXS, d);
  }
}

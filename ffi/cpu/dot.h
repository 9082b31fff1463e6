/* Dot products of weight rows with activation rows, the heart of matmul and experts.
 *
 * The result of a pair of rows depends on nothing but the two rows (design D9), so the order of its
 * sum is fixed, whatever computes it. Float weights: 16 lanes, element i in lane i mod 16, then the
 * tree of sum16. Quantized weights meet activations of 8 bits; their products are summed in exact
 * integers over a whole block, which any order gives alike, and only block totals are floats:
 *   blocks of 32        total · (d_w d_x) to lane (block mod 4) of 4, then sum4
 *   super-blocks of 256 total · (d_w d_x) in one chain, block after block; the minimums, summed up
 *                       exactly as well, times -(dmin_w d_x) in a second; the sum of the two
 * One activation row: 4 weight rows stream by, unpacked in registers (dot_q8.c, dot_k.c). Several: 16
 * weight rows are unpacked side by side, one to a lane, for all of them (dot_tile.c). */
#ifndef DS4_DOT_H
#define DS4_DOT_H

#include "simd.h"

/* At most so many activation rows a call, so that their sums stay in L1 while a weight row passes.
 */
#define DS4_X_TILE 64

/* An activation row, in the form that its partner's type asks for (ds4_x_form). */
typedef struct {
  const float *f;      /* DS4_X_F32 */
  const int8_t *q;     /* codes, |q| ≤ 127 */
  const float *d;      /* their scales, one for each 32 (Q8_0) or 256 (Q8_K) */
  const int16_t *sums; /* sums of each 32 (Q8_0) or 16 (Q8_K) codes */
} ds4_x;

/* out[w + x · out_x] = dot(weight row w, activation row x). */
typedef struct {
  const ds4_tables *tables;
  const uint8_t *w; /* [n_w] rows, w_bytes apart */
  uint64_t w_bytes;
  const ds4_x *x; /* [n_x], n_x ≤ DS4_X_TILE */
  float *out;
  uint64_t out_x;
  uint32_t n_w, n_x, n_in;
} ds4_dot;

typedef void ds4_dot_fn(const ds4_dot *d);

/* Bytes between the weights that are read and those that are asked for, where rows stream by from
 * memory: the processor's own guesses end at every page and every 4th stream. */
#define DS4_AHEAD 4096
/* Activation rows from which a tile pays: where one row is slow for its unpacking, sooner. */
static inline uint32_t tile_rows(uint32_t type) {
  return type == DS4_IQ2_XXS || type == DS4_MXFP4 ? 2 : type == DS4_Q4_K ? 5 : 3;
}

/* Quantized weights of `type` with n_x ≥ 1 rows, by tiles. */
void DS4_FN(dot_tile)(uint32_t type, const ds4_dot *d);
void DS4_FN(dot_f32)(const ds4_dot *d);
void DS4_FN(dot_f16)(const ds4_dot *d);
void DS4_FN(dot_bf16)(const ds4_dot *d);
void DS4_FN(dot_q8_0)(const ds4_dot *d);
void DS4_FN(dot_mxfp4)(const ds4_dot *d);
void DS4_FN(dot_q2_k)(const ds4_dot *d);
void DS4_FN(dot_q4_k)(const ds4_dot *d);
void DS4_FN(dot_iq2_xxs)(const ds4_dot *d);

static inline ds4_dot_fn *dot_of(uint32_t type) {
  switch (type) {
  case DS4_F32: return DS4_FN(dot_f32);
  case DS4_F16: return DS4_FN(dot_f16);
  case DS4_BF16: return DS4_FN(dot_bf16);
  case DS4_Q8_0: return DS4_FN(dot_q8_0);
  case DS4_MXFP4: return DS4_FN(dot_mxfp4);
  case DS4_Q2_K: return DS4_FN(dot_q2_k);
  case DS4_Q4_K: return DS4_FN(dot_q4_k);
  default: return DS4_FN(dot_iq2_xxs);
  }
}

/* Bytes that a quantized row of n elements takes; 0 for DS4_X_F32, which needs no copy. */
static inline uint64_t x_bytes(uint32_t form, uint64_t n) {
  if (form == DS4_X_F32) return 0;
  const uint64_t scales = form == DS4_X_Q8_0 ? n / 32 * 6 : n / 256 * 4 + n / 16 * 2;
  return ds4_round_up(n, 64) + ds4_round_up(scales, 64);
}

/* Row `row` of activations: f32 rows of n at `x`, or quantized ones at `storage`. */
DS4_INLINE ds4_x x_row(uint32_t form, const float *x, uint8_t *storage, uint64_t row, uint64_t n) {
  if (form == DS4_X_F32) return (ds4_x){.f = x + row * n};
  uint8_t *at = storage + row * x_bytes(form, n);
  uint8_t *scales = at + ds4_round_up(n, 64);
  return (ds4_x){.q = (int8_t *)at,
                 .d = (float *)scales,
                 .sums = (int16_t *)(scales + n / (form == DS4_X_Q8_0 ? 32 : 256) * 4)};
}

/* Quantizes n_rows rows of n into storage, [n_rows] of x_bytes; nothing to do for DS4_X_F32. */
void DS4_FN(quantize_rows)(ds4_ctx *ctx, uint32_t form, const float *x, uint8_t *storage,
                           uint64_t n_rows, uint64_t n);
/* Weights of one row or a part of it, n of them, as f32: bit-equal to src/quant/decode.ts. */
void DS4_FN(dequantize)(const ds4_tables *t, uint32_t type, const uint8_t *bytes, uint64_t n,
                        float *out);

/* Items below which a second thread costs more than it saves, at `work` operations an item. */
static inline uint64_t grain_of(uint64_t work) { return 20000 / (work + 1) + 1; }

#endif

/* Weights as f32, and the token embedding. Every product of a scale and a code fits 24 bits, so the
 * one subtraction of Q2_K and Q4_K is the only rounding (src/quant/decode.ts). */
#include "dot.h"

static void block_q8_0(const uint8_t *w, float *out) {
  const float d = f16_at(w);
  for (int i = 0; i < 32; i++) out[i] = d * (float)(int8_t)w[2 + i];
}

static void block_mxfp4(const uint8_t *w, float *out) {
  static const float e2m1[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                 -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  const uint32_t e = w[0];
  const float d = float_of(e == 255 ? DS4_NAN_BITS : e ? e << 23 : 1u << 22);
  for (int i = 0; i < 16; i++) {
    out[i] = d * e2m1[w[1 + i] & 15];
    out[i + 16] = d * e2m1[w[1 + i] >> 4];
  }
}

static void block_q2_k(const uint8_t *w, float *out) {
  const float d = f16_at(w + 80), dmin = f16_at(w + 82);
  for (uint32_t sub = 0; sub < 16; sub++) {
    const uint8_t *q = w + 16 + sub / 8 * 32 + sub % 2 * 16;
    const float scale = d * (float)(w[sub] & 15), min = dmin * (float)(w[sub] >> 4);
    for (uint32_t i = 0; i < 16; i++)
      out[sub * 16 + i] = scale * (float)(q[i] >> sub / 2 % 4 * 2 & 3) - min;
  }
}

static void block_q4_k(const uint8_t *w, float *out) {
  const float d = f16_at(w), dmin = f16_at(w + 2);
  const uint8_t *s = w + 4;
  for (uint32_t j = 0; j < 8; j++) {
    const uint32_t scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    const uint32_t least = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
    const float step = d * (float)scale, min = dmin * (float)least;
    for (uint32_t i = 0; i < 32; i++)
      out[j * 32 + i] = step * (float)(w[16 + j / 2 * 32 + i] >> j % 2 * 4 & 15) - min;
  }
}

static void block_iq2_xxs(const ds4_tables *t, const uint8_t *w, float *out) {
  const float d = f16_at(w);
  for (uint32_t g = 0; g < 8; g++) {
    uint32_t word;
    memcpy(&word, w + 2 + 8 * g + 4, sizeof word);
    const float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
    for (uint32_t l = 0; l < 4; l++) {
      const uint64_t level = t->grid[w[2 + 8 * g + l]];
      const uint32_t bits = word >> 7 * l & 127, minus = bits | (__builtin_popcount(bits) & 1) << 7;
      for (uint32_t k = 0; k < 8; k++) {
        const float v = scale * (float)(level >> 8 * k & 255);
        out[g * 32 + l * 8 + k] = minus >> k & 1 ? -v : v;
      }
    }
  }
}

void DS4_FN(dequantize)(const ds4_tables *t, uint32_t type, const uint8_t *w, uint64_t n,
                        float *out) {
  const ds4_type_info info = ds4_type(type);
  if (type == DS4_F32) {
    memcpy(out, w, n * sizeof *out);
    return;
  }
  for (uint64_t i = 0; i < n; i += info.block, w += info.bytes) switch (type) {
    case DS4_F16: out[i] = f16_at(w); break;
    case DS4_BF16: out[i] = float_of((uint32_t)w[0] << 16 | (uint32_t)w[1] << 24); break;
    case DS4_Q8_0: block_q8_0(w, out + i); break;
    case DS4_MXFP4: block_mxfp4(w, out + i); break;
    case DS4_Q2_K: block_q2_k(w, out + i); break;
    case DS4_Q4_K: block_q4_k(w, out + i); break;
    default: block_iq2_xxs(t, w, out + i);
    }
}

typedef struct {
  const ds4_embed_args *a;
  const ds4_tables *tables;
} embed_job;

static void embed_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_embed_args *a = ((const embed_job *)arg)->a;
  const ds4_row *rows = DS4_PTR(const ds4_row, a->rows);
  const uint64_t w_bytes = ds4_row_bytes(a->type, a->dim);
  for (uint64_t r = begin; r < end; r++) {
    float *out = DS4_PTR(float, a->out) + r * a->hc * a->dim;
    DS4_FN(dequantize)(((const embed_job *)arg)->tables, a->type,
                       DS4_PTR(const uint8_t, a->table) + rows[r].token * w_bytes, a->dim, out);
    for (uint64_t h = 1; h < a->hc; h++) memcpy(out + h * a->dim, out, a->dim * sizeof *out);
  }
}

ds4_status DS4_FN(embed)(ds4_ctx *ctx, const ds4_embed_args *a) {
  embed_job job = {a, &ctx->tables};
  ds4_parallel(ctx, a->n_rows, grain_of((uint64_t)a->dim * 4), embed_body, &job);
  return DS4_OK;
}

/* Hyper-connections: the weights of a mix, and the streams they gather and scatter (spec §5). */
#include "dot.h"
#include "vmath.h"

#define MAX_HC 16

/* out[i] = σ(mix[i] · scale + base[i]) · factor + eps. */
static void gates(float *out, const float *mix, const float *base, float scale, float factor,
                  float eps, uint32_t n) {
  const f32x16 z = load_upto16(mix, n) * scale + load_upto16(base, n);
  store_upto16(out, sigmoid16(z) * factor + eps, n);
}

/* Row softmax + eps of z [hc, hc]. */
static void softmax_rows(float *z, uint32_t hc, float eps) {
  for (uint32_t j = 0; j < hc; j++) {
    float *row = z + j * hc, most = row[0], sum = 0;
    for (uint32_t k = 1; k < hc; k++) most = row[k] > most ? row[k] : most;
    store_upto16(row, exp16(load_upto16(row, hc) - most), hc);
    for (uint32_t k = 0; k < hc; k++) sum += row[k];
    for (uint32_t k = 0; k < hc; k++) row[k] = row[k] / sum + eps;
  }
}

/* Divides every line of hc numbers, `step` apart, by its sum + eps; lines are `line` apart. */
static void divide_lines(float *c, uint32_t hc, uint32_t line, uint32_t step, float eps) {
  for (uint32_t j = 0; j < hc; j++) {
    float sum = 0;
    for (uint32_t k = 0; k < hc; k++) sum += c[j * line + k * step];
    for (uint32_t k = 0; k < hc; k++) c[j * line + k * step] /= sum + eps;
  }
}

static void hc_split_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_hc_split_args *a = arg;
  const uint32_t hc = a->hc, width = 2 * hc + hc * hc;
  const float *scale = DS4_PTR(const float, a->scale), *base = DS4_PTR(const float, a->base);
  for (uint64_t r = begin; r < end; r++) {
    const float *mix = DS4_PTR(const float, a->mix) + r * width;
    float *comb = DS4_PTR(float, a->comb) + r * hc * hc;
    gates(DS4_PTR(float, a->pre) + r * hc, mix, base, scale[0], 1.0f, a->eps, hc);
    gates(DS4_PTR(float, a->post) + r * hc, mix + hc, base + hc, scale[1], 2.0f, 0.0f, hc);
    for (uint32_t i = 0; i < hc * hc; i++) comb[i] = mix[2 * hc + i] * scale[2] + base[2 * hc + i];
    softmax_rows(comb, hc, a->eps);
    divide_lines(comb, hc, 1, hc, a->eps);
    for (uint32_t i = 1; i < a->n_iters; i++) {
      divide_lines(comb, hc, hc, 1, a->eps);
      divide_lines(comb, hc, 1, hc, a->eps);
    }
  }
}

ds4_status DS4_FN(hc_split)(ds4_ctx *ctx, const ds4_hc_split_args *a) {
  const uint64_t work = (uint64_t)a->hc * a->hc * a->n_iters * 8;
  ds4_parallel(ctx, a->n_rows, grain_of(work), hc_split_body, (void *)a);
  return DS4_OK;
}

static void hc_head_weights_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_hc_head_weights_args *a = arg;
  for (uint64_t r = begin; r < end; r++)
    gates(DS4_PTR(float, a->out) + r * a->hc, DS4_PTR(const float, a->mix) + r * a->hc,
          DS4_PTR(const float, a->base), *DS4_PTR(const float, a->scale), 1.0f, a->eps, a->hc);
}

ds4_status DS4_FN(hc_head_weights)(ds4_ctx *ctx, const ds4_hc_head_weights_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of(100), hc_head_weights_body, (void *)a);
  return DS4_OK;
}

/* --- streams: items are pieces of PIECE dims, so that one row still feeds all threads --- */

#define PIECE 256

static void hc_collapse_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_hc_collapse_args *a = arg;
  const uint64_t pieces = (a->dim + PIECE - 1) / PIECE;
  for (uint64_t at = begin; at < end; at++) {
    const uint64_t r = at / pieces, i0 = at % pieces * PIECE, i1 = DS4_MIN(i0 + PIECE, a->dim);
    const float *pre = DS4_PTR(const float, a->pre) + r * a->hc;
    const float *s = DS4_PTR(const float, a->streams) + r * a->hc * a->dim;
    float *out = DS4_PTR(float, a->out) + r * a->dim;
    for (uint64_t i = i0; i < i1; i++) out[i] = pre[0] * s[i];
    for (uint32_t h = 1; h < a->hc; h++)
      for (uint64_t i = i0; i < i1; i++) out[i] += pre[h] * s[(uint64_t)h * a->dim + i];
  }
}

ds4_status DS4_FN(hc_collapse)(ds4_ctx *ctx, const ds4_hc_collapse_args *a) {
  const uint64_t pieces = (a->dim + PIECE - 1) / PIECE;
  ds4_parallel(ctx, a->n_rows * pieces, grain_of((uint64_t)PIECE * a->hc), hc_collapse_body,
               (void *)a);
  return DS4_OK;
}

static void hc_expand_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_hc_expand_args *a = arg;
  const uint64_t pieces = (a->dim + PIECE - 1) / PIECE;
  const uint32_t hc = a->hc;
  for (uint64_t at = begin; at < end; at++) {
    const uint64_t r = at / pieces, i0 = at % pieces * PIECE, n = DS4_MIN(PIECE, a->dim - i0);
    const float *post = DS4_PTR(const float, a->post) + r * hc;
    const float *comb = DS4_PTR(const float, a->comb) + r * hc * hc;
    const float *y = DS4_PTR(const float, a->y) + r * a->dim + i0;
    float *s = DS4_PTR(float, a->streams) + r * hc * a->dim + i0;
    float old[MAX_HC][PIECE];
    for (uint32_t j = 0; j < hc; j++) memcpy(old[j], s + (uint64_t)j * a->dim, n * sizeof *s);
    for (uint32_t k = 0; k < hc; k++) {
      float *out = s + (uint64_t)k * a->dim;
      for (uint64_t i = 0; i < n; i++) out[i] = post[k] * y[i];
      for (uint32_t j = 0; j < hc; j++)
        for (uint64_t i = 0; i < n; i++) out[i] += comb[j * hc + k] * old[j][i];
    }
  }
}

ds4_status DS4_FN(hc_expand)(ds4_ctx *ctx, const ds4_hc_expand_args *a) {
  const uint64_t pieces = (a->dim + PIECE - 1) / PIECE;
  ds4_parallel(ctx, a->n_rows * pieces, grain_of((uint64_t)PIECE * a->hc * a->hc), hc_expand_body,
               (void *)a);
  return DS4_OK;
}

/* Root-mean-square norm: the sum of squares in 16 lanes and the one tree. */
#include "dot.h"

static void rms_norm_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_rms_norm_args *a = arg;
  const float *w = DS4_PTR(const float, a->w);
  const uint32_t n = a->dim;
  for (uint64_t r = begin; r < end; r++) {
    const float *x = DS4_PTR(const float, a->x) + r * n;
    float *out = DS4_PTR(float, a->out) + r * n;
    f32x16 squares = {0};
    for (uint32_t i = 0; i < n; i += 16) {
      const f32x16 v = load_upto16(x + i, n - i);
      squares = fma16(v, v, squares);
    }
    const float scale = 1.0f / __builtin_sqrtf(sum16(squares) / (float)n + a->eps);
    if (w)
      for (uint32_t i = 0; i < n; i++) out[i] = x[i] * scale * w[i];
    else
      for (uint32_t i = 0; i < n; i++) out[i] = x[i] * scale;
  }
}

ds4_status DS4_FN(rms_norm)(ds4_ctx *ctx, const ds4_rms_norm_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of(a->dim), rms_norm_body, (void *)a);
  return DS4_OK;
}

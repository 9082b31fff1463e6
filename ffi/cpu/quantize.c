/* Activations in 8 bits, as quantized weights want them (spec §13). */
#include "dot.h"

/* rint(x · scale) within ±127, where scale brings |x| there but for rounding; NaN becomes 127. */
DS4_INLINE void quantize_16(const float *x, float scale, int8_t *q) {
  const f32x16 limit = splat16(127.0f);
  const f32x16 v = max16(min16(DS4_LOAD(f32x16, x) * scale, limit), -limit);
  const i32x16 code = (i32x16)(v + 0x1.8p23f) - 0x4b400000; /* the sum's last bit is worth 1 */
  for (int i = 0; i < 16; i++) q[i] = (int8_t)code[i];
}

static int16_t sum_of(const int8_t *q, uint32_t n) {
  int32_t sum = 0;
  for (uint32_t i = 0; i < n; i++) sum += q[i];
  return (int16_t)sum;
}

/* Q8_0: d = max|x| / 127 for each 32. A NaN or infinity makes d one, and so the result. */
static void quantize_q8_0(const float *x, uint64_t n, int8_t *q, float *d, int16_t *sums) {
  for (uint64_t i = 0; i < n; i += 32) {
    const uint32_t most = max_abs_bits(x + i, 32);
    const float scale = float_of(most) / 127.0f;
    const float inverse = scale != 0 && most < DS4_INF_BITS ? 1.0f / scale : 0;
    d[i / 32] = most < DS4_INF_BITS ? scale : float_of(DS4_NAN_BITS);
    quantize_16(x + i, inverse, q + i);
    quantize_16(x + i + 16, inverse, q + i + 16);
    sums[i / 32] = sum_of(q + i, 32);
  }
}

/* The first x of the largest magnitude, with its sign. */
static float signed_max(const float *x, uint32_t n, uint32_t bits) {
  for (uint32_t i = 0; i < n; i++)
    if ((bits_of(x[i]) & 0x7fffffffu) == bits) return x[i];
  return 0;
}

/* Q8_K: for each 256, is = -127 / m with m the signed maximum, d = 1 / is; sums of each 16 codes.
 */
static void quantize_q8_k(const float *x, uint64_t n, int8_t *q, float *d, int16_t *sums) {
  for (uint64_t i = 0; i < n; i += 256) {
    const uint32_t most = max_abs_bits(x + i, 256);
    const bool plain = most != 0 && most < DS4_INF_BITS;
    const float scale = plain ? -127.0f / signed_max(x + i, 256, most) : 0;
    d[i / 256] = plain ? 1.0f / scale : most == 0 ? 0 : float_of(DS4_NAN_BITS);
    for (uint64_t j = i; j < i + 256; j += 16) {
      quantize_16(x + j, scale, q + j);
      sums[j / 16] = sum_of(q + j, 16);
    }
  }
}

typedef struct {
  uint32_t form;
  const float *x;
  uint8_t *storage;
  uint64_t n;
} quantize_job;

static void quantize_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const quantize_job *j = arg;
  for (uint64_t r = begin; r < end; r++) {
    const ds4_x row = x_row(j->form, NULL, j->storage, r, j->n);
    const float *x = j->x + r * j->n;
    (j->form == DS4_X_Q8_0 ? quantize_q8_0 : quantize_q8_k)(x, j->n, (int8_t *)row.q,
                                                            (float *)row.d, (int16_t *)row.sums);
  }
}

void DS4_FN(quantize_rows)(ds4_ctx *ctx, uint32_t form, const float *x, uint8_t *storage,
                           uint64_t n_rows, uint64_t n) {
  if (form == DS4_X_F32) return;
  quantize_job job = {form, x, storage, n};
  ds4_parallel(ctx, n_rows, grain_of(n), quantize_body, &job);
}

/* Ops without a sum: swiglu, add, gather_rows. */
#include "dot.h"
#include "vmath.h"

/* Ranges are in units of 16 elements, so that no vector is cut by a thread. */
static void swiglu_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_swiglu_args *a = arg;
  const float *gate = DS4_PTR(const float, a->gate), *up = DS4_PTR(const float, a->up);
  float *out = DS4_PTR(float, a->out);
  for (uint64_t i = begin * 16; i < end * 16 && i < a->n; i += 16) {
    const uint64_t n = a->n - i;
    const f32x16 v = swiglu16(load_upto16(gate + i, n), load_upto16(up + i, n), a->clamp);
    store_upto16(out + i, v, n);
  }
}

ds4_status DS4_FN(swiglu)(ds4_ctx *ctx, const ds4_swiglu_args *a) {
  ds4_parallel(ctx, ((uint64_t)a->n + 15) / 16, grain_of(64), swiglu_body, (void *)a);
  return DS4_OK;
}

static void add_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_add_args *args = arg;
  const float *a = DS4_PTR(const float, args->a), *b = DS4_PTR(const float, args->b);
  float *out = DS4_PTR(float, args->out);
  for (uint64_t i = begin; i < end; i++) out[i] = a[i] + b[i];
}

ds4_status DS4_FN(add)(ds4_ctx *ctx, const ds4_add_args *a) {
  ds4_parallel(ctx, a->n, grain_of(0), add_body, (void *)a);
  return DS4_OK;
}

static void gather_rows_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_gather_rows_args *a = arg;
  const uint32_t *index = DS4_PTR(const uint32_t, a->index);
  const uint64_t bytes = (uint64_t)a->width * sizeof(float);
  for (uint64_t i = begin; i < end; i++)
    memcpy(DS4_PTR(char, a->out) + i * bytes, DS4_PTR(const char, a->x) + index[i] * bytes, bytes);
}

ds4_status DS4_FN(gather_rows)(ds4_ctx *ctx, const ds4_gather_rows_args *a) {
  ds4_parallel(ctx, a->n_out, grain_of(a->width), gather_rows_body, (void *)a);
  return DS4_OK;
}

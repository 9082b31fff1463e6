/* Rotary positions (spec §7). */
#include "dot.h"
#include <math.h>

static void rope_table_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_rope_table_args *a = arg;
  const ds4_row *rows = DS4_PTR(const ds4_row, a->rows);
  const float *freqs = DS4_PTR(const float, a->freqs);
  for (uint64_t r = begin; r < end; r++) {
    float *out = DS4_PTR(float, a->out) + r * a->n_pairs * 2;
    const uint32_t next = rows[r].pos + 1;
    const float start = (float)(next > a->ratio ? next - a->ratio : 0);
    for (uint32_t i = 0; i < a->n_pairs; i++) {
      /* The angle is rounded to f32 as in the official code; f64 makes its cosine the nearest f32.
       */
      const float angle = start * freqs[i];
      out[2 * i] = (float)cos((double)angle);
      out[2 * i + 1] = (float)sin((double)angle);
    }
  }
}

ds4_status DS4_FN(rope_table)(ds4_ctx *ctx, const ds4_rope_table_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of((uint64_t)a->n_pairs * 50), rope_table_body, (void *)a);
  return DS4_OK;
}

/* Items are heads of all rows. */
static void rope_tail_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_rope_tail_args *a = arg;
  const float sign = a->inverse ? -1.0f : 1.0f;
  for (uint64_t h = begin; h < end; h++) {
    float *x = DS4_PTR(float, a->x) + (h + 1) * a->dim - a->rope_dim;
    const float *table = DS4_PTR(const float, a->table) + h / a->n_heads * a->rope_dim;
    for (uint32_t i = 0; i < a->rope_dim; i += 2) {
      const float c = table[i], s = sign * table[i + 1], x0 = x[i], x1 = x[i + 1];
      x[i] = x0 * c - x1 * s;
      x[i + 1] = x0 * s + x1 * c;
    }
  }
}

ds4_status DS4_FN(rope_tail)(ds4_ctx *ctx, const ds4_rope_tail_args *a) {
  ds4_parallel(ctx, (uint64_t)a->n_rows * a->n_heads, grain_of(2 * a->rope_dim), rope_tail_body,
               (void *)a);
  return DS4_OK;
}

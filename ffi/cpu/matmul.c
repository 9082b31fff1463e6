/* out[r, g] = W_g x[r, g]. Threads share the weight rows; a thread takes a tile of activation rows
 * through all of its weight rows, so that a weight row is decoded once for the whole tile. */
#include "dot.h"

/* Weight rows of one call of a dot: enough to amortize it, few enough to stay in L1. */
#define W_TILE 16

typedef struct {
  const ds4_matmul_args *a;
  const ds4_tables *tables;
  uint8_t *storage;
  uint32_t form;
} matmul_job;

/* Weight rows [begin, end) of one group times x rows [x0, x0 + n_x). */
static void matmul_tile(const matmul_job *j, uint64_t begin, uint64_t end, uint32_t x0,
                        uint32_t n_x) {
  const ds4_matmul_args *a = j->a;
  const uint64_t group = begin / a->n_out, w_bytes = ds4_row_bytes(a->type, a->n_in);
  const uint64_t out_x = (uint64_t)a->n_groups * a->n_out;
  ds4_x x[DS4_X_TILE];
  for (uint32_t i = 0; i < n_x; i++)
    x[i] = x_row(j->form, DS4_PTR(const float, a->x), j->storage,
                 (uint64_t)(x0 + i) * a->n_groups + group, a->n_in);
  ds4_dot d = {
      .tables = j->tables, .w_bytes = w_bytes, .x = x, .n_x = n_x, .n_in = a->n_in, .out_x = out_x};
  for (uint64_t o = begin; o < end; o += W_TILE) {
    d.w = DS4_PTR(const uint8_t, a->w) + o * w_bytes;
    d.n_w = (uint32_t)DS4_MIN(W_TILE, end - o);
    d.out = DS4_PTR(float, a->out) + x0 * out_x + o;
    dot_of(a->type)(&d);
  }
}

static void matmul_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const matmul_job *j = arg;
  const ds4_matmul_args *a = j->a;
  const uint64_t first = begin * W_TILE,
                 last = DS4_MIN(end * W_TILE, (uint64_t)a->n_groups * a->n_out);
  for (uint32_t x = 0; x < a->n_rows; x += DS4_X_TILE)
    for (uint64_t o = first; o < last;) {
      const uint64_t group_end = (o / a->n_out + 1) * a->n_out, until = DS4_MIN(last, group_end);
      matmul_tile(j, o, until, x, DS4_MIN(DS4_X_TILE, a->n_rows - x));
      o = until;
    }
}

ds4_status DS4_FN(matmul)(ds4_ctx *ctx, const ds4_matmul_args *a) {
  matmul_job job = {a, &ctx->tables, NULL, ds4_type(a->type).x_form};
  const uint64_t n_x = (uint64_t)a->n_rows * a->n_groups;
  if (job.form != DS4_X_F32) {
    job.storage = ds4_scratch(ctx, n_x * x_bytes(job.form, a->n_in));
    if (!job.storage) return DS4_NO_MEMORY;
    DS4_FN(quantize_rows)(ctx, job.form, DS4_PTR(const float, a->x), job.storage, n_x, a->n_in);
  }
  const uint64_t n_tiles = ((uint64_t)a->n_groups * a->n_out + W_TILE - 1) / W_TILE;
  ds4_parallel(ctx, n_tiles, grain_of((uint64_t)a->n_in * a->n_rows * W_TILE), matmul_body, &job);
  return DS4_OK;
}

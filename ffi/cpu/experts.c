/* The routed experts (spec §11). Pairs (row, slot) are grouped by expert, so that an expert's
 * weights are read and decoded once for all rows that chose it. Threads share the weight rows of
 * every expert: the load is even however the rows are spread. */
#include "dot.h"
#include "vmath.h"

/* Weight rows of one call of a dot, one vector of results. */
#define W_TILE 16

/* Pairs in order of their expert: expert e has order[start[e]] … order[start[e + 1] - 1], and a
 * pair is row · k + slot. */
typedef struct {
  uint32_t *start; /* [n_experts + 1] */
  uint32_t *order; /* [n_pairs] */
  uint32_t n_experts;
} pair_groups;

static uint64_t groups_bytes(uint32_t n_experts, uint64_t n_pairs) {
  return ds4_round_up((n_experts + 1 + n_pairs) * sizeof(uint32_t), 64);
}

static pair_groups group_pairs(void *memory, const int32_t *sel, uint64_t n_pairs,
                               uint32_t n_experts) {
  pair_groups g = {memory, (uint32_t *)memory + n_experts + 1, n_experts};
  memset(g.start, 0, (n_experts + 1) * sizeof(uint32_t));
  for (uint64_t i = 0; i < n_pairs; i++) g.start[sel[i] + 1]++;
  for (uint32_t e = 0; e < n_experts; e++) g.start[e + 1] += g.start[e];
  for (uint64_t i = 0; i < n_pairs; i++) g.order[g.start[sel[i]]++] = (uint32_t)i;
  memmove(g.start + 1, g.start, n_experts * sizeof(uint32_t)); /* each start had moved to its end */
  g.start[0] = 0;
  return g;
}

/* --- gate and up --- */

typedef struct {
  const ds4_experts_gate_up_args *a;
  const ds4_tables *tables;
  pair_groups groups;
  uint8_t *storage;
  uint32_t form;
} gate_up_job;

/* Hidden dims [f0, f0 + n_w) of the pairs at order[p0] … of expert e. */
static void gate_up_tile(const gate_up_job *j, uint32_t e, uint32_t p0, uint32_t n_x, uint32_t f0,
                         uint32_t n_w) {
  const ds4_experts_gate_up_args *a = j->a;
  const uint64_t w_bytes = ds4_row_bytes(a->type, a->dim),
                 at = ((uint64_t)e * a->ff + f0) * w_bytes;
  float gate[DS4_X_TILE][W_TILE], up[DS4_X_TILE][W_TILE];
  ds4_x x[DS4_X_TILE];
  const uint32_t *pairs = j->groups.order + p0;
  for (uint32_t i = 0; i < n_x; i++)
    x[i] = x_row(j->form, DS4_PTR(const float, a->x), j->storage, pairs[i] / a->k, a->dim);
  ds4_dot d = {.tables = j->tables,
               .w = DS4_PTR(const uint8_t, a->gate) + at,
               .w_bytes = w_bytes,
               .x = x,
               .out = gate[0],
               .out_x = W_TILE,
               .n_w = n_w,
               .n_x = n_x,
               .n_in = a->dim};
  dot_of(a->type)(&d);
  d.w = DS4_PTR(const uint8_t, a->up) + at;
  d.out = up[0];
  dot_of(a->type)(&d);
  for (uint32_t i = 0; i < n_x; i++) {
    const float weight = DS4_PTR(const float, a->weights)[pairs[i]];
    const f32x16 h =
        swiglu16(load_upto16(gate[i], n_w), load_upto16(up[i], n_w), a->clamp) * weight;
    store_upto16(DS4_PTR(float, a->out) + (uint64_t)pairs[i] * a->ff + f0, h, n_w);
  }
}

static void gate_up_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const gate_up_job *j = arg;
  const pair_groups *g = &j->groups;
  for (uint32_t e = 0; e < g->n_experts; e++)
    for (uint32_t p = g->start[e]; p < g->start[e + 1]; p += DS4_X_TILE)
      for (uint64_t f = begin * W_TILE; f < end * W_TILE && f < j->a->ff; f += W_TILE)
        gate_up_tile(j, e, p, DS4_MIN(DS4_X_TILE, g->start[e + 1] - p), (uint32_t)f,
                     (uint32_t)DS4_MIN(W_TILE, j->a->ff - f));
}

ds4_status DS4_FN(experts_gate_up)(ds4_ctx *ctx, const ds4_experts_gate_up_args *a) {
  const uint64_t n_pairs = (uint64_t)a->n_rows * a->k, head = groups_bytes(a->n_experts, n_pairs);
  gate_up_job job = {.a = a, .tables = &ctx->tables, .form = ds4_type(a->type).x_form};
  uint8_t *memory = ds4_scratch(ctx, head + a->n_rows * x_bytes(job.form, a->dim));
  if (!memory) return DS4_NO_MEMORY;
  job.groups = group_pairs(memory, DS4_PTR(const int32_t, a->sel), n_pairs, a->n_experts);
  job.storage = memory + head;
  DS4_FN(quantize_rows)(ctx, job.form, DS4_PTR(const float, a->x), job.storage, a->n_rows, a->dim);
  const uint64_t work = n_pairs * a->dim * W_TILE * 2;
  ds4_parallel(ctx, (a->ff + W_TILE - 1) / W_TILE, grain_of(work), gate_up_body, &job);
  return DS4_OK;
}

/* --- down --- */

/* Tiles of output dims at a time: an expert's activations serve all of them from cache. */
#define DOWN_TILES 8
#define DOWN_WIDTH (DOWN_TILES * W_TILE)

typedef struct {
  const ds4_experts_down_args *a;
  const ds4_tables *tables;
  pair_groups groups;
  uint8_t *storage;
  float *partial; /* [n_threads, n_pairs, DOWN_WIDTH] */
  uint32_t form;
} down_job;

/* Output dims [o, o + n_w) of every pair, into partial [n_pairs, DOWN_WIDTH]. */
static void down_pairs(const down_job *j, uint64_t o, uint32_t n_w, float *partial) {
  const ds4_experts_down_args *a = j->a;
  const pair_groups *g = &j->groups;
  const uint64_t w_bytes = ds4_row_bytes(a->type, a->ff);
  float sums[DS4_X_TILE][W_TILE];
  ds4_x x[DS4_X_TILE];
  ds4_dot d = {.tables = j->tables,
               .w_bytes = w_bytes,
               .x = x,
               .out = sums[0],
               .out_x = W_TILE,
               .n_in = a->ff};
  for (uint32_t e = 0; e < g->n_experts; e++)
    for (uint32_t p = g->start[e]; p < g->start[e + 1]; p += DS4_X_TILE) {
      d.n_x = DS4_MIN(DS4_X_TILE, g->start[e + 1] - p);
      for (uint32_t i = 0; i < d.n_x; i++)
        x[i] = x_row(j->form, DS4_PTR(const float, a->h), j->storage, g->order[p + i], a->ff);
      for (uint32_t t = 0; t < n_w; t += W_TILE) {
        d.w = DS4_PTR(const uint8_t, a->down) + ((uint64_t)e * a->dim + o + t) * w_bytes;
        d.n_w = DS4_MIN(W_TILE, n_w - t);
        dot_of(a->type)(&d);
        for (uint32_t i = 0; i < d.n_x; i++)
          memcpy(partial + (uint64_t)g->order[p + i] * DOWN_WIDTH + t, sums[i], sizeof sums[i]);
      }
    }
}

static void down_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  const down_job *j = arg;
  const ds4_experts_down_args *a = j->a;
  float *partial = j->partial + (uint64_t)thread * a->n_rows * a->k * DOWN_WIDTH;
  for (uint64_t o = begin * W_TILE; o < end * W_TILE && o < a->dim; o += DOWN_WIDTH) {
    const uint32_t n_w = (uint32_t)DS4_MIN(DOWN_WIDTH, DS4_MIN(end * W_TILE, a->dim) - o);
    down_pairs(j, o, n_w, partial);
    for (uint64_t r = 0; r < a->n_rows; r++)
      for (uint32_t t = 0; t < n_w; t += W_TILE) {
        f32x16 sum = {0};
        for (uint64_t i = 0; i < a->k; i++)
          sum += load_upto16(partial + (r * a->k + i) * DOWN_WIDTH + t, n_w - t);
        store_upto16(DS4_PTR(float, a->out) + r * a->dim + o + t, sum, n_w - t);
      }
  }
}

ds4_status DS4_FN(experts_down)(ds4_ctx *ctx, const ds4_experts_down_args *a) {
  const uint64_t n_pairs = (uint64_t)a->n_rows * a->k, head = groups_bytes(a->n_experts, n_pairs);
  down_job job = {.a = a, .tables = &ctx->tables, .form = ds4_type(a->type).x_form};
  const uint64_t partials = (uint64_t)ctx->n_threads * n_pairs * DOWN_WIDTH * sizeof(float);
  uint8_t *memory = ds4_scratch(ctx, head + partials + n_pairs * x_bytes(job.form, a->ff));
  if (!memory) return DS4_NO_MEMORY;
  job.groups = group_pairs(memory, DS4_PTR(const int32_t, a->sel), n_pairs, a->n_experts);
  job.partial = (float *)(memory + head);
  job.storage = memory + head + partials;
  DS4_FN(quantize_rows)(ctx, job.form, DS4_PTR(const float, a->h), job.storage, n_pairs, a->ff);
  const uint64_t work = n_pairs * a->ff * W_TILE;
  ds4_parallel(ctx, (a->dim + W_TILE - 1) / W_TILE, grain_of(work), down_body, &job);
  return DS4_OK;
}

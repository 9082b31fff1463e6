/* Pools a block of tokens into one row: a softmax over the candidates for every dim (spec §9). */
#include "dot.h"
#include "vmath.h"

/* Dims of one item. */
#define PIECE 64
#define MAX_CANDIDATES (2 * DS4_PAGE_TOKENS)

/* A candidate token: its projections and the position bias, each from its half's first dim on. */
typedef struct {
  const float *k, *s, *ape;
} candidate;

typedef struct {
  const ds4_compress_args *a;
  const float *ape; /* [ratio, width] */
} compress_job;

static bool completes(const ds4_row *row, uint32_t ratio) { return (row->pos + 1) % ratio == 0; }

/* Candidates of the block that row r completes, in order of position. */
static uint32_t find_candidates(const compress_job *j, uint64_t r, candidate *out) {
  const ds4_compress_args *a = j->a;
  const ds4_row *row = DS4_PTR(const ds4_row, a->rows) + r;
  const uint64_t width = a->overlap ? 2 * (uint64_t)a->dim : a->dim;
  const bool two_blocks = a->overlap && row->pos + 1 >= 2 * a->ratio;
  const uint32_t n = two_blocks ? 2 * a->ratio : a->ratio;
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t back = n - 1 - i, pos = row->pos - back;
    const bool own = back < a->ratio;
    const uint64_t half = a->overlap && own ? a->dim : 0;
    const uint64_t slot = (uint64_t)row->seq * a->n_slots + pos % a->n_slots;
    const bool here = back <= row->before;
    const uint64_t at = (here ? r - back : slot) * width + half;
    out[i].k = DS4_PTR(const float, here ? a->k : a->ring_k) + at;
    out[i].s = DS4_PTR(const float, here ? a->s : a->ring_s) + at;
    out[i].ape = j->ape + pos % a->ratio * width + half;
  }
  return n;
}

/* 16 dims from `i` on, of which `left` are. */
static f32x16 pool16(const candidate *c, uint32_t n, uint64_t i, uint64_t left) {
  f32x16 most = splat16(-__builtin_inff()), sum = {0}, out = {0};
  for (uint32_t t = 0; t < n; t++)
    most = max16(load_upto16(c[t].s + i, left) + load_upto16(c[t].ape + i, left), most);
  for (uint32_t t = 0; t < n; t++) {
    const f32x16 e = exp16(load_upto16(c[t].s + i, left) + load_upto16(c[t].ape + i, left) - most);
    sum += e;
    out = fma16(e, load_upto16(c[t].k + i, left), out);
  }
  return out / sum;
}

static void compress_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const compress_job *j = arg;
  const ds4_compress_args *a = j->a;
  const uint64_t pieces = (a->dim + PIECE - 1) / PIECE;
  candidate candidates[MAX_CANDIDATES];
  for (uint64_t at = begin; at < end; at++) {
    const uint64_t r = at / pieces, i0 = at % pieces * PIECE, i1 = DS4_MIN(i0 + PIECE, a->dim);
    float *out = DS4_PTR(float, a->out) + r * a->dim;
    if (!completes(DS4_PTR(const ds4_row, a->rows) + r, a->ratio)) {
      memset(out + i0, 0, (i1 - i0) * sizeof *out);
      continue;
    }
    const uint32_t n = find_candidates(j, r, candidates);
    for (uint64_t i = i0; i < i1; i += 16)
      store_upto16(out + i, pool16(candidates, n, i, i1 - i), i1 - i);
  }
}

ds4_status DS4_FN(compress)(ds4_ctx *ctx, const ds4_compress_args *a) {
  const uint64_t n_ape = (uint64_t)a->ratio * a->dim * (a->overlap ? 2 : 1);
  compress_job job = {a, DS4_PTR(const float, a->ape)};
  bool any = false;
  for (uint32_t r = 0; r < a->n_rows; r++)
    any |= completes(DS4_PTR(const ds4_row, a->rows) + r, a->ratio);
  if (any && a->ape_type != DS4_F32) {
    float *wide = ds4_scratch(ctx, n_ape * sizeof *wide);
    if (!wide) return DS4_NO_MEMORY;
    DS4_FN(dequantize)(&ctx->tables, a->ape_type, DS4_PTR(const uint8_t, a->ape), n_ape, wide);
    job.ape = wide;
  }
  const uint64_t pieces = (a->dim + PIECE - 1) / PIECE;
  ds4_parallel(ctx, a->n_rows * pieces, any ? 1 : UINT64_MAX, compress_body, &job);
  return DS4_OK;
}

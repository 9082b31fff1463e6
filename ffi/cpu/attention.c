/* Attention of all heads over one latent row per key, K = V, with a sink (spec §6). An item is a
 * row and a group of heads: keys are unpacked once for the group, in blocks that stay in cache.
 * Scores of all keys come first, then maximum, exponentials and sum, then the values in key order,
 * so nothing depends on how keys are blocked or heads are grouped. */
#include "dot.h"
#include "kv_rows.h"
#include "vmath.h"

/* Keys unpacked at a time: 12 rows of 512 f32 are 24 KiB. */
#define KEYS 12
/* Keys and heads whose sums stay in registers. */
#if DS4_BIG_TILES
#define KEY_TILE 6
#define HEAD_TILE 4
#else
#define KEY_TILE 3
#define HEAD_TILE 2
#endif
/* Unpacked keys are kept for the second pass if all of them take no more than this. */
#define KEPT_BYTES (256u << 10)
/* Heads of an item at most: their queries, sums and scores stay in L2. */
#define MAX_GROUP 32

typedef struct {
  const ds4_attend_args *a;
  uint8_t *scratch;
  uint64_t thread_bytes;
  uint32_t max_keys; /* of any row, and room for a block */
  uint32_t width;    /* dim rounded up to 32 */
  uint32_t group;    /* heads of an item */
  uint32_t kept;     /* unpacked keys that there is room for, at least KEYS */
} attend_job;

/* Scratch of a thread. */
typedef struct {
  const uint8_t **keys; /* [max_keys] packed rows */
  float *scores;        /* [group, max_keys], then probabilities */
  float *block;         /* [kept, width] unpacked */
  float *q, *acc;       /* [group, width] */
} workspace;

static uint64_t workspace_bytes(const attend_job *j) {
  const uint64_t n = j->max_keys,
                 floats = j->group * n + (j->kept + 2 * (uint64_t)j->group) * j->width;
  return ds4_round_up(n * sizeof(void *), 64) + ds4_round_up(floats * sizeof(float), 64);
}

static workspace workspace_of(const attend_job *j, uint32_t thread) {
  uint8_t *at = j->scratch + thread * j->thread_bytes;
  workspace s = {.keys = (const uint8_t **)at};
  s.scores = (float *)(at + ds4_round_up(j->max_keys * sizeof(void *), 64));
  s.block = s.scores + (uint64_t)j->group * j->max_keys;
  s.q = s.block + (uint64_t)j->kept * j->width;
  s.acc = s.q + (uint64_t)j->group * j->width;
  return s;
}

static uint32_t n_raw(const ds4_attend_args *a, const ds4_row *row) {
  return DS4_MIN(row->pos + 1, a->window);
}

static uint32_t n_compressed(const ds4_attend_args *a, const ds4_row *row) {
  const uint32_t n = a->ratio ? (row->pos + 1) / a->ratio : 0;
  return a->sel ? DS4_MIN(n, a->top_k) : n;
}

/* Raw rows from the oldest to the row's own, then compressed rows. */
static uint32_t find_keys(const ds4_attend_args *a, uint64_t r, const uint8_t **keys) {
  const ds4_row *row = DS4_PTR(const ds4_row, a->rows) + r;
  const uint8_t *ring =
      DS4_PTR(const uint8_t, a->ring) + (uint64_t)row->seq * a->n_slots * a->row_bytes;
  const uint8_t *step = DS4_PTR(const uint8_t, a->step);
  uint32_t n = 0;
  for (uint32_t back = n_raw(a, row); back-- > 0;)
    keys[n++] = back <= row->before
                    ? step + (r - back) * a->row_bytes
                    : ring + (uint64_t)((row->pos - back) % a->n_slots) * a->row_bytes;
  const int32_t *sel = a->sel ? DS4_PTR(const int32_t, a->sel) + r * a->top_k : NULL;
  const uint32_t *line = DS4_PTR(const uint32_t, a->page_table) + (uint64_t)row->seq * a->table_len;
  const uint32_t n_rows = n_compressed(a, row), per = a->ratio ? DS4_PAGE_TOKENS / a->ratio : 1;
  for (uint32_t i = 0; i < n_rows; i++)
    keys[n++] = ds4_paged_row(DS4_PTR(const uint8_t, a->pages), line, per, a->row_bytes,
                              sel ? (uint32_t)sel[i] : i);
  return n;
}

/* Keys [i, i + n) of `of` keys. Those of the second pass are there already if all are kept. */
static const float *unpack_block(const attend_job *j, const workspace *s, uint32_t i, uint32_t n,
                                 uint32_t of, bool again) {
  const ds4_attend_args *a = j->a;
  float *block = s->block + (of <= j->kept ? (uint64_t)i * j->width : 0);
  if (again && of <= j->kept) return block;
  for (uint32_t t = 0; t < n; t++) {
    float *key = block + (uint64_t)t * j->width;
    unpack_kv(s->keys[i + t], a->dim, a->rope_dim, key);
    memset(key + a->dim, 0, (j->width - a->dim) * sizeof *key);
  }
  return block;
}

/* Scores of n_heads heads, max_keys apart, for the keys of a block; those beyond n are unused. */
DS4_INLINE void score_heads(const attend_job *j, const workspace *s, const float *block, uint32_t h,
                            const uint32_t n_heads, uint32_t n, float *out) {
  const float *q = s->q + (uint64_t)h * j->width;
  for (uint32_t i = 0; i < n; i += KEY_TILE) {
    f32x16 acc[HEAD_TILE][KEY_TILE] = {{{0}}};
    const float *key = block + (uint64_t)i * j->width;
    for (uint32_t d = 0; d < j->width; d += 16)
      for (uint32_t t = 0; t < KEY_TILE; t++) {
        const f32x16 k = DS4_LOAD(f32x16, key + (uint64_t)t * j->width + d);
        for (uint32_t g = 0; g < n_heads; g++)
          acc[g][t] = fma16(DS4_LOAD(f32x16, q + (uint64_t)g * j->width + d), k, acc[g][t]);
      }
    for (uint32_t g = 0; g < n_heads; g++)
      for (uint32_t t = 0; t < KEY_TILE; t++)
        out[(uint64_t)g * j->max_keys + i + t] = j->a->scale * sum16(acc[g][t]);
  }
}

/* Scores to e^(s - M), in place; returns their sum with the sink's. */
static float exponentials(float *scores, uint32_t n, float sink) {
  float most = sink;
  for (uint32_t i = 0; i < n; i++) most = scores[i] > most ? scores[i] : most;
  for (uint32_t i = n; i < ds4_round_up(n, 16); i++) scores[i] = -__builtin_inff();
  f32x16 sum = {0};
  for (uint32_t i = 0; i < n; i += 16) {
    const f32x16 e = exp16(DS4_LOAD(f32x16, scores + i) - most);
    ds4_store_f32x16(scores + i, e);
    sum += e;
  }
  return exp1(sink - most) + sum16(sum);
}

/* acc += Σ p_i · key_i over a block for n_heads heads, every dim a sum of its own in key order. */
DS4_INLINE void add_values(const attend_job *j, const workspace *s, const float *block, uint32_t h,
                           const uint32_t n_heads, const float *p, uint32_t n) {
  float *acc = s->acc + (uint64_t)h * j->width;
  for (uint32_t d = 0; d < j->width; d += 32) {
    f32x16 sum[HEAD_TILE][2];
    for (uint32_t g = 0; g < n_heads; g++)
      for (uint32_t t = 0; t < 2; t++)
        sum[g][t] = DS4_LOAD(f32x16, acc + (uint64_t)g * j->width + d + 16 * t);
    for (uint32_t i = 0; i < n; i++)
      for (uint32_t t = 0; t < 2; t++) {
        const f32x16 k = DS4_LOAD(f32x16, block + (uint64_t)i * j->width + d + 16 * t);
        for (uint32_t g = 0; g < n_heads; g++)
          sum[g][t] = fma16(splat16(p[(uint64_t)g * j->max_keys + i]), k, sum[g][t]);
      }
    for (uint32_t g = 0; g < n_heads; g++)
      for (uint32_t t = 0; t < 2; t++)
        ds4_store_f32x16(acc + (uint64_t)g * j->width + d + 16 * t, sum[g][t]);
  }
}

/* Scores of a block of keys, the first of which is key i; or with `values` their share of acc. */
static void block_heads(const attend_job *j, const workspace *s, const float *block,
                        uint32_t n_heads, uint32_t i, uint32_t n, bool values) {
  for (uint32_t h = 0; h < n_heads;) {
    float *scores = s->scores + (uint64_t)h * j->max_keys + i;
    const bool whole = h + HEAD_TILE <= n_heads;
    if (values && whole) add_values(j, s, block, h, HEAD_TILE, scores, n);
    else if (values) add_values(j, s, block, h, 1, scores, n);
    else if (whole) score_heads(j, s, block, h, HEAD_TILE, n, scores);
    else score_heads(j, s, block, h, 1, n, scores);
    h += whole ? HEAD_TILE : 1;
  }
}

/* Heads [h0, h0 + n_heads) of row r. */
static void attend_group(const attend_job *j, const workspace *s, uint64_t r, uint32_t h0,
                         uint32_t n_heads) {
  const ds4_attend_args *a = j->a;
  const uint64_t first = (r * a->n_heads + h0) * a->dim;
  const uint32_t n = find_keys(a, r, s->keys);
  memset(s->q, 0, 2 * (uint64_t)j->group * j->width * sizeof(float)); /* and acc */
  for (uint32_t h = 0; h < n_heads; h++)
    memcpy(s->q + (uint64_t)h * j->width, DS4_PTR(const float, a->q) + first + (uint64_t)h * a->dim,
           a->dim * sizeof(float));
  for (uint32_t i = 0; i < n; i += KEYS) {
    const uint32_t count = DS4_MIN(KEYS, n - i);
    block_heads(j, s, unpack_block(j, s, i, count, n, false), n_heads, i, count, false);
  }
  float sums[MAX_GROUP];
  for (uint32_t h = 0; h < n_heads; h++)
    sums[h] = exponentials(s->scores + (uint64_t)h * j->max_keys, n,
                           DS4_PTR(const float, a->sinks)[h0 + h]);
  for (uint32_t i = 0; i < n; i += KEYS) {
    const uint32_t count = DS4_MIN(KEYS, n - i);
    block_heads(j, s, unpack_block(j, s, i, count, n, true), n_heads, i, count, true);
  }
  for (uint32_t h = 0; h < n_heads; h++) {
    float *out = DS4_PTR(float, a->out) + first + (uint64_t)h * a->dim;
    for (uint32_t d = 0; d < a->dim; d++) out[d] = s->acc[(uint64_t)h * j->width + d] / sums[h];
  }
}

static void attend_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  const attend_job *j = arg;
  const workspace s = workspace_of(j, thread);
  const uint64_t groups = (j->a->n_heads + j->group - 1) / j->group;
  for (uint64_t at = begin; at < end; at++) {
    const uint32_t h0 = (uint32_t)(at % groups) * j->group;
    attend_group(j, &s, at / groups, h0, DS4_MIN(j->group, j->a->n_heads - h0));
  }
}

ds4_status DS4_FN(attend)(ds4_ctx *ctx, const ds4_attend_args *a) {
  const ds4_row *rows = DS4_PTR(const ds4_row, a->rows);
  attend_job job = {.a = a, .width = (uint32_t)ds4_round_up(a->dim, 32), .group = MAX_GROUP};
  for (uint32_t r = 0; r < a->n_rows; r++)
    job.max_keys = DS4_MAX(job.max_keys, n_raw(a, rows + r) + n_compressed(a, rows + r));
  job.max_keys = (uint32_t)ds4_round_up(job.max_keys + KEYS, 16);
  while (job.group > 1 &&
         (uint64_t)a->n_rows * ((a->n_heads + job.group - 1) / job.group) < ctx->n_threads)
    job.group /= 2;
  job.kept = DS4_MIN(job.max_keys, DS4_MAX(KEYS, KEPT_BYTES / (job.width * 4)));
  job.thread_bytes = workspace_bytes(&job);
  job.scratch = ds4_scratch(ctx, job.thread_bytes * ctx->n_threads);
  if (!job.scratch) return DS4_NO_MEMORY;
  const uint64_t groups = (a->n_heads + job.group - 1) / job.group;
  ds4_parallel(ctx, a->n_rows * groups, 1, attend_body, &job);
  return DS4_OK;
}

/* The compressed rows that a query will see: scores of all, and the best top_k (spec §10). */
#include "dot.h"
#include "kv_rows.h"

#define HEADS 4
#define MAX_DIM 1024

typedef struct {
  const ds4_index_top_k_args *a;
  float *scores; /* [n_lists, list_len] */
  uint64_t list_len;
  uint32_t row; /* where threads share the keys of one row */
} index_job;

static uint32_t n_visible(const ds4_index_top_k_args *a, uint64_t r) {
  return (DS4_PTR(const ds4_row, a->rows)[r].pos + 1) / a->ratio;
}

/* Σ_h scale w_h max(0, q_h · key), heads in order; dim is a multiple of 32. */
static float score_key(const ds4_index_top_k_args *a, const float *q, const float *w,
                       const float *key) {
  float score = 0;
  for (uint32_t h0 = 0; h0 < a->n_heads; h0 += HEADS) {
    const uint32_t n = DS4_MIN(HEADS, a->n_heads - h0);
    f32x16 acc[HEADS] = {{0}};
    for (uint32_t i = 0; i < a->dim; i += 16) {
      const f32x16 k = DS4_LOAD(f32x16, key + i);
      for (uint32_t h = 0; h < HEADS; h++) /* the last heads stand in for those beyond the end */
        acc[h] = fma16(DS4_LOAD(f32x16, q + (h0 + (h < n ? h : n - 1)) * (uint64_t)a->dim + i), k,
                       acc[h]);
    }
    for (uint32_t h = 0; h < n; h++) {
      const float dot = sum16(acc[h]);
      score += w[h0 + h] * a->scale * (dot < 0 ? 0 : dot); /* a NaN stays one */
    }
  }
  return score;
}

static void score_keys(const ds4_index_top_k_args *a, uint64_t r, uint32_t c0, uint32_t c1,
                       float *scores) {
  const uint32_t seq = DS4_PTR(const ds4_row, a->rows)[r].seq;
  const uint32_t *line = DS4_PTR(const uint32_t, a->page_table) + (uint64_t)seq * a->table_len;
  const float *q = DS4_PTR(const float, a->q) + r * a->n_heads * a->dim;
  const float *w = DS4_PTR(const float, a->weights) + r * a->n_heads;
  _Alignas(64) float key[MAX_DIM];
  for (uint32_t c = c0; c < c1; c++) {
    unpack_index(ds4_paged_row(DS4_PTR(const uint8_t, a->pages), line, DS4_PAGE_TOKENS / a->ratio,
                               a->row_bytes, c),
                 a->dim, key);
    scores[c] = score_key(a, q, w, key);
  }
}

/* --- selection in linear time --- */

/* Bits that order as unsigned like the scores: -0 equal to 0, NaN below all. */
static inline uint32_t sortable(float score) {
  if (score != score) return 0;
  const uint32_t bits = bits_of(score + 0.0f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* The k-th largest of n > k sortable scores, found digit by digit; *n_equal gets how many scores
 * equal to it belong to the k. */
static uint32_t kth_largest(const float *scores, uint32_t n, uint32_t k, uint32_t *n_equal) {
  static const uint32_t shifts[3] = {21, 10, 0}, sizes[3] = {2048, 2048, 1024};
  uint32_t prefix = 0, mask = 0, counts[2048];
  for (int digit = 0; digit < 3; digit++) {
    memset(counts, 0, sizeof counts);
    for (uint32_t c = 0; c < n; c++) {
      const uint32_t key = sortable(scores[c]);
      if ((key & mask) == prefix) counts[key >> shifts[digit] & (sizes[digit] - 1)]++;
    }
    uint32_t bin = sizes[digit] - 1;
    for (; counts[bin] < k; bin--) k -= counts[bin];
    prefix |= bin << shifts[digit];
    mask |= (sizes[digit] - 1) << shifts[digit];
  }
  *n_equal = k;
  return prefix;
}

static void select_top(const float *scores, uint32_t n, uint32_t top_k, int32_t *sel) {
  uint32_t n_out = 0, n_equal = 0;
  const uint32_t least = n > top_k ? kth_largest(scores, n, top_k, &n_equal) : 0;
  for (uint32_t c = 0; c < n; c++) {
    const uint32_t key = n > top_k ? sortable(scores[c]) : 1;
    if (key < least || (key == least && n_equal == 0)) continue;
    if (key == least) n_equal--;
    sel[n_out++] = (int32_t)c;
  }
  while (n_out < top_k) sel[n_out++] = -1;
}

static void finish_row(const ds4_index_top_k_args *a, uint64_t r, const float *scores) {
  const uint32_t n = n_visible(a, r);
  select_top(scores, n, a->top_k, DS4_PTR(int32_t, a->sel) + r * a->top_k);
  if (a->scores && n)
    memcpy(DS4_PTR(float, a->scores) + (uint64_t)r * a->score_len, scores,
           DS4_MIN(n, a->score_len) * sizeof *scores);
}

/* Rows that see no more than top_k are taken whole: no score is computed unless someone looks. */
static bool needs_scores(const ds4_index_top_k_args *a, uint64_t r) {
  return a->scores || n_visible(a, r) > a->top_k;
}

static void rows_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  const index_job *j = arg;
  float *scores = j->scores + thread * j->list_len;
  for (uint64_t r = begin; r < end; r++) {
    if (needs_scores(j->a, r)) score_keys(j->a, r, 0, n_visible(j->a, r), scores);
    finish_row(j->a, r, scores);
  }
}

static void keys_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const index_job *j = arg;
  score_keys(j->a, j->row, (uint32_t)begin, (uint32_t)end, j->scores);
}

/* Many rows: each thread takes whole rows. Few: all threads share the keys of a row. */
ds4_status DS4_FN(index_top_k)(ds4_ctx *ctx, const ds4_index_top_k_args *a) {
  index_job job = {.a = a};
  for (uint32_t r = 0; r < a->n_rows; r++) job.list_len = DS4_MAX(job.list_len, n_visible(a, r));
  job.list_len = ds4_round_up(job.list_len, 16);
  job.scores = ds4_scratch(ctx, job.list_len * ctx->n_threads * sizeof *job.scores + 64);
  if (!job.scores) return DS4_NO_MEMORY;
  if (a->n_rows >= 2 * ctx->n_threads) {
    ds4_parallel(ctx, a->n_rows, 1, rows_body, &job);
    return DS4_OK;
  }
  for (job.row = 0; job.row < a->n_rows; job.row++) {
    const uint64_t work = (uint64_t)a->n_heads * a->dim / 4;
    if (needs_scores(a, job.row))
      ds4_parallel(ctx, n_visible(a, job.row), grain_of(work), keys_body, &job);
    finish_row(a, job.row, job.scores);
  }
  return DS4_OK;
}

/* The compressed rows that a query will see: scores of all, and the best top_k (spec §10). Queries
 * and keys hold E2M1 codes with a power of two for each 32, so the sums over 32 are exact integers;
 * heads lie side by side as weight rows in a tile do, and meet in 8 lanes at the end. */
#include "dot.h"
#include "kv_rows.h"
#include "unpack.h"

/* Keys at a time, that share the queries in registers. */
#define KEYS 4
#define MAX_DIM 1024
#define MAX_BLOCKS (MAX_DIM / 32)
/* Added to doubled codes of a query to make them ≥ 0. */
#define OFFSET 12

typedef struct {
  const ds4_index_top_k_args *a;
  float *scores; /* [n_lists, list_len] */
  uint64_t list_len;
  uint8_t *queries; /* [n_threads] of query_bytes */
  uint32_t row;     /* where threads share the keys of one row */
} index_job;

/* All heads of a row; those up to `heads`, a multiple of DS4_TILE_LANES, that do not exist weigh
 * nothing. */
typedef struct {
  uint32_t heads, blocks;
  float *weight; /* [heads], scale included */
  float *d;      /* [blocks, heads], for doubled codes of both sides */
  int8_t *codes; /* [dim / 4, heads, 4]; of each 32 elements the even ones first, like keys */
} index_query;

typedef struct {
  _Alignas(32) int8_t codes[MAX_DIM];
  float d[MAX_BLOCKS];
  int32_t bias[MAX_BLOCKS]; /* -OFFSET · Σ codes */
} index_key;

static uint32_t n_visible(const ds4_index_top_k_args *a, uint64_t r) {
  return (DS4_PTR(const ds4_row, a->rows)[r].pos + 1) / a->ratio;
}

/* --- queries and keys as integers --- */

static uint64_t query_bytes(const ds4_index_top_k_args *a) {
  const uint64_t heads = ds4_round_up(a->n_heads, DS4_TILE_LANES);
  return ds4_round_up(heads * (a->dim + 4 + a->dim / 32 * 4), 64);
}

static index_query query_at(const ds4_index_top_k_args *a, uint8_t *memory) {
  index_query q = {.heads = (uint32_t)ds4_round_up(a->n_heads, DS4_TILE_LANES),
                   .blocks = a->dim / 32};
  q.weight = (float *)memory;
  q.d = q.weight + q.heads;
  q.codes = (int8_t *)(q.d + (uint64_t)q.blocks * q.heads);
  return q;
}

/* 32 rounded values as doubled codes, even elements first. The unit is that of the largest, 4 or 6
 * times a power of two; all others are multiples of half of it, or of a quarter where the largest
 * is 3 times the unit it was rounded with. Returns the factor of a doubled code; NaN for values
 * that are none. */
static float query_block(const float *x, int8_t *codes) {
  const uint32_t most = max_abs_bits(x, 32);
  memset(codes, 0, 32);
  if (most == 0) return 0;
  if (most >= DS4_INF_BITS) return float_of(DS4_NAN_BITS);
  const int32_t exponent = (int32_t)(most >> 23) - 2;
  if (exponent < 2) return 0; /* below 2^-123 */
  const float half = float_of((uint32_t)(exponent - 1) << 23);
  const float per_half = float_of((uint32_t)(254 - (exponent - 1)) << 23);
  for (uint32_t i = 0; i < 16; i++) {
    codes[i] = (int8_t)(x[2 * i] * per_half);
    codes[16 + i] = (int8_t)(x[2 * i + 1] * per_half);
  }
  return half;
}

static void prepare_query(const ds4_index_top_k_args *a, uint64_t r, const index_query *q) {
  const float *x = DS4_PTR(const float, a->q) + r * a->n_heads * a->dim;
  for (uint32_t h = 0; h < q->heads; h++) {
    const bool here = h < a->n_heads;
    q->weight[h] = here ? DS4_PTR(const float, a->weights)[r * a->n_heads + h] * a->scale : 0;
    for (uint32_t b = 0; b < q->blocks; b++) {
      int8_t codes[32] = {0};
      q->d[b * q->heads + h] = here ? query_block(x + (uint64_t)h * a->dim + 32 * b, codes) : 0;
      for (uint32_t i = 0; i < 32; i++)
        q->codes[((8 * b + i / 4) * (uint64_t)q->heads + h) * 4 + i % 4] = codes[i] + OFFSET;
    }
  }
}

static void prepare_key(const uint8_t *row, uint32_t dim, index_key *k) {
  for (uint32_t b = 0; b < dim / 32; b++) {
    const u8x16 packed = DS4_LOAD(u8x16, row + 16 * b);
    const i8x32 codes = e2m1_pairs(packed);
    const i32x8 sums = dot32(codes, (i8x32){0} + (int8_t)-OFFSET);
    ds4_store_i8x32(k->codes + 32 * b, codes);
    k->bias[b] = totals(sums, sums, sums, sums)[0];
    k->d[b] = 0.5f * e8m0(row[dim / 2 + b]);
  }
}

/* --- scores --- */

/* score[t] += weight · max(0, q · key t) for heads [h, h + DS4_TILE_LANES), head i in lane i mod 8.
 */
DS4_INLINE void score_heads(const index_query *q, uint32_t h, const index_key *keys,
                            f32x8 score[KEYS]) {
  tile_f32 dot[KEYS] = {{0}};
  for (uint32_t b = 0; b < q->blocks; b++) {
    const tile_f32 d = DS4_LOAD(tile_f32, q->d + b * q->heads + h);
    tile_i8 w[8];
    for (uint32_t i = 0; i < 8; i++)
      w[i] = DS4_LOAD(tile_i8, q->codes + ((8 * b + i) * (uint64_t)q->heads + h) * 4);
    DS4_UNROLL
    for (uint32_t t = 0; t < KEYS; t++) {
      const tile_i32 bias = (tile_i32){0} + keys[t].bias[b];
      const tile_i32 total = tile_plain(bias, w, keys[t].codes + 32 * b, 8);
      dot[t] = tile_fma(__builtin_convertvector(total, tile_f32), d * keys[t].d[b], dot[t]);
    }
  }
  const tile_f32 weight = DS4_LOAD(tile_f32, q->weight + h);
  for (uint32_t t = 0; t < KEYS; t++) {
    const tile_i32 negative = dot[t] < 0; /* a NaN stays one */
    const tile_f32 part = weight * (tile_f32)((tile_i32)dot[t] & ~negative);
    for (uint32_t i = 0; i < DS4_TILE_LANES; i += 8)
      score[t] += DS4_LOAD(f32x8, (const float *)&part + i);
  }
}

static void score_keys(const ds4_index_top_k_args *a, const index_query *q, uint64_t r, uint32_t c0,
                       uint32_t c1, float *scores) {
  const uint32_t seq = DS4_PTR(const ds4_row, a->rows)[r].seq, per = DS4_PAGE_TOKENS / a->ratio;
  const uint32_t *line = DS4_PTR(const uint32_t, a->page_table) + (uint64_t)seq * a->table_len;
  index_key keys[KEYS];
  for (uint32_t c = c0; c < c1; c += KEYS) {
    const uint32_t n = DS4_MIN(KEYS, c1 - c);
    f32x8 score[KEYS] = {{0}};
    for (uint32_t t = 0; t < KEYS; t++)
      prepare_key(ds4_paged_row(DS4_PTR(const uint8_t, a->pages), line, per, a->row_bytes,
                                c + DS4_MIN(t, n - 1)),
                  a->dim, keys + t);
    for (uint32_t h = 0; h < q->heads; h += DS4_TILE_LANES) score_heads(q, h, keys, score);
    for (uint32_t t = 0; t < n; t++) scores[c + t] = sum8(score[t]);
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
  const index_query q = query_at(j->a, j->queries + thread * query_bytes(j->a));
  for (uint64_t r = begin; r < end; r++) {
    if (needs_scores(j->a, r)) {
      prepare_query(j->a, r, &q);
      score_keys(j->a, &q, r, 0, n_visible(j->a, r), scores);
    }
    finish_row(j->a, r, scores);
  }
}

static void keys_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const index_job *j = arg;
  const index_query q = query_at(j->a, j->queries);
  score_keys(j->a, &q, j->row, (uint32_t)begin, (uint32_t)end, j->scores);
}

/* Many rows: each thread takes whole rows. Few: all threads share the keys of a row. */
ds4_status DS4_FN(index_top_k)(ds4_ctx *ctx, const ds4_index_top_k_args *a) {
  index_job job = {.a = a};
  for (uint32_t r = 0; r < a->n_rows; r++) job.list_len = DS4_MAX(job.list_len, n_visible(a, r));
  job.list_len = ds4_round_up(job.list_len, 16);
  const uint64_t lists = job.list_len * ctx->n_threads * sizeof *job.scores;
  job.scores = ds4_scratch(ctx, lists + query_bytes(a) * ctx->n_threads + 64);
  if (!job.scores) return DS4_NO_MEMORY;
  job.queries = (uint8_t *)job.scores + lists;
  if (a->n_rows >= 2 * ctx->n_threads) {
    ds4_parallel(ctx, a->n_rows, 1, rows_body, &job);
    return DS4_OK;
  }
  for (job.row = 0; job.row < a->n_rows; job.row++) {
    const uint64_t work = (uint64_t)a->n_heads * a->dim / 4;
    if (needs_scores(a, job.row)) {
      const index_query q = query_at(a, job.queries);
      prepare_query(a, job.row, &q);
      ds4_parallel(ctx, n_visible(a, job.row), grain_of(work), keys_body, &job);
    }
    finish_row(a, job.row, job.scores);
  }
  return DS4_OK;
}

/* What sampling needs of a row of logits (design D4). The vocabulary is cut into fixed chunks,
 * whose results are combined in order: nothing depends on the number of threads. */
#include "dot.h"
#include "vmath.h"

#define CHUNK 4096

/* What a chunk of a row found. */
typedef struct {
  double sum;               /* Σ exp(logit - max of the row) over the allowed ids */
  float max;                /* of the allowed ids; -inf if there is none */
  uint32_t argmax;          /* UINT32_MAX if there is none */
  uint32_t n_passed, first; /* ids within delta, and the place of the first among the row's */
  bool bad;
} chunk_result;

typedef struct {
  const ds4_candidates_args *a;
  chunk_result *chunks; /* [n_rows, n_chunks] */
  uint64_t n_chunks;
} candidates_job;

typedef double f64x8 __attribute__((vector_size(64)));

static const uint32_t *mask_of(const ds4_candidates_args *a, uint64_t row) {
  return a->mask ? DS4_PTR(const uint32_t, a->mask) + row * ((a->vocab + 31) / 32) : NULL;
}

/* Which of the ids [id, id + 16) are allowed, of `left` that exist; id is a multiple of 16. */
DS4_INLINE i32x16 allowed16(const uint32_t *mask, uint64_t id, uint64_t left) {
  const u32x16 lane = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                       1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
  const uint32_t exist = left >= 16 ? 0xffff : (1u << left) - 1;
  const uint32_t bits = (mask ? mask[id / 32] >> id % 32 : 0xffff) & exist;
  return ((u32x16){0} + bits & lane) != 0;
}

/* Logits of 16 ids, -inf where they are not allowed. */
DS4_INLINE f32x16 allowed_logits(const float *logits, const uint32_t *mask, uint64_t id,
                                 uint64_t end) {
  const f32x16 v = load_upto16(logits + id, end - id);
  return select16(allowed16(mask, id, end - id), v, splat16(-__builtin_inff()));
}

static float max_lane(f32x16 v) {
  float most = v[0];
  for (int i = 1; i < 16; i++) most = v[i] > most ? v[i] : most;
  return most;
}

/* The first id of [id, end) that has this logit and is allowed. */
static uint32_t find_logit(const float *logits, const uint32_t *mask, uint64_t id, uint64_t end,
                           float logit) {
  for (; id < end; id++)
    if (logits[id] == logit && (!mask || mask[id / 32] >> id % 32 & 1)) return (uint32_t)id;
  return UINT32_MAX;
}

static void max_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const candidates_job *j = arg;
  const ds4_candidates_args *a = j->a;
  for (uint64_t at = begin; at < end; at++) {
    const uint64_t row = at / j->n_chunks, first = at % j->n_chunks * CHUNK;
    const uint64_t last = DS4_MIN(first + CHUNK, a->vocab);
    const float *logits = DS4_PTR(const float, a->logits) + row * a->vocab;
    const uint32_t *mask = mask_of(a, row);
    f32x16 most = splat16(-__builtin_inff());
    for (uint64_t id = first; id < last; id += 16)
      most = max16(allowed_logits(logits, mask, id, last), most);
    chunk_result c = {.max = max_lane(most), .argmax = UINT32_MAX};
    c.bad = max_abs_bits(logits + first, (uint32_t)(last - first)) >= DS4_INF_BITS;
    if (c.max > -__builtin_inff()) c.argmax = find_logit(logits, mask, first, last, c.max);
    j->chunks[at] = c;
  }
}

/* The row's maximum into its info; the sum and the count come later. */
static void combine_max(const candidates_job *j, uint64_t row, ds4_candidate_row *info) {
  const chunk_result *c = j->chunks + row * j->n_chunks;
  *info = (ds4_candidate_row){.argmax = UINT32_MAX, .max = -__builtin_inff()};
  for (uint64_t i = 0; i < j->n_chunks; i++) {
    info->bad |= c[i].bad;
    if (c[i].argmax == UINT32_MAX || !(c[i].max > info->max)) continue;
    info->max = c[i].max;
    info->argmax = c[i].argmax;
  }
  info->bad |= info->argmax == UINT32_MAX;
}

static void sum_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const candidates_job *j = arg;
  const ds4_candidates_args *a = j->a;
  for (uint64_t at = begin; at < end; at++) {
    const uint64_t row = at / j->n_chunks, first = at % j->n_chunks * CHUNK;
    const ds4_candidate_row *info = DS4_PTR(const ds4_candidate_row, a->info) + row;
    if (info->bad) continue;
    const uint64_t last = DS4_MIN(first + CHUNK, a->vocab);
    const float *logits = DS4_PTR(const float, a->logits) + row * a->vocab;
    const float least = info->max - DS4_PTR(const float, a->delta)[row];
    const uint32_t *mask = mask_of(a, row);
    f64x8 sum = {0};
    i32x16 passed = {0};
    for (uint64_t id = first; id < last; id += 16) {
      const f32x16 v = allowed_logits(logits, mask, id, last);
      const f32x16 e = exp16(v - info->max);
      sum += __builtin_convertvector(low8(e), f64x8) + __builtin_convertvector(high8(e), f64x8);
      passed -= (v >= least) & (v > -__builtin_inff());
    }
    chunk_result *c = j->chunks + at;
    for (int i = 0; i < 8; i++) c->sum += sum[i];
    for (int i = 0; i < 16; i++) c->n_passed += (uint32_t)passed[i];
  }
}

static void combine_sum(const candidates_job *j, uint64_t row, ds4_candidate_row *info) {
  chunk_result *c = j->chunks + row * j->n_chunks;
  double sum = 0;
  for (uint64_t i = 0; i < j->n_chunks; i++) {
    sum += c[i].sum;
    c[i].first = info->n_passed;
    info->n_passed += c[i].n_passed;
  }
  info->lse = info->bad ? float_of(DS4_NAN_BITS) : (float)((double)info->max + log_f64(sum));
}

static void collect_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const candidates_job *j = arg;
  const ds4_candidates_args *a = j->a;
  for (uint64_t at = begin; at < end; at++) {
    const uint64_t row = at / j->n_chunks;
    const ds4_candidate_row *info = DS4_PTR(const ds4_candidate_row, a->info) + row;
    if (info->bad || j->chunks[at].n_passed == 0) continue;
    const float *logits = DS4_PTR(const float, a->logits) + row * a->vocab;
    const float least = info->max - DS4_PTR(const float, a->delta)[row];
    const uint32_t *mask = mask_of(a, row);
    uint32_t to = j->chunks[at].first, id = (uint32_t)(at % j->n_chunks * CHUNK);
    const uint32_t end_to = DS4_MIN(to + j->chunks[at].n_passed, a->limit);
    for (; to < end_to; id++) {
      if (!(logits[id] >= least) || (mask && !(mask[id / 32] >> id % 32 & 1))) continue;
      DS4_PTR(uint32_t, a->ids)[row * a->limit + to] = id;
      DS4_PTR(float, a->values)[row * a->limit + to++] = logits[id];
    }
  }
}

ds4_status DS4_FN(candidates)(ds4_ctx *ctx, const ds4_candidates_args *a) {
  candidates_job job = {.a = a, .n_chunks = (a->vocab + CHUNK - 1) / CHUNK};
  const uint64_t n = a->n_rows * job.n_chunks;
  job.chunks = ds4_scratch(ctx, n * sizeof *job.chunks);
  if (!job.chunks) return DS4_NO_MEMORY;
  const ds4_logit_bias *bias = DS4_PTR(const ds4_logit_bias, a->bias);
  for (uint32_t i = 0; i < a->n_bias; i++)
    DS4_PTR(float, a->logits)[(uint64_t)bias[i].row * a->vocab + bias[i].id] += bias[i].value;
  ds4_candidate_row *info = DS4_PTR(ds4_candidate_row, a->info);
  ds4_parallel(ctx, n, 2, max_body, &job);
  for (uint64_t r = 0; r < a->n_rows; r++) combine_max(&job, r, info + r);
  ds4_parallel(ctx, n, 1, sum_body, &job);
  for (uint64_t r = 0; r < a->n_rows; r++) combine_sum(&job, r, info + r);
  ds4_parallel(ctx, n, 8, collect_body, &job);
  return DS4_OK;
}

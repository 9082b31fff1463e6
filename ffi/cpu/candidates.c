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

static bool allowed(const uint32_t *mask, uint32_t id) {
  return !mask || mask[id / 32] >> id % 32 & 1;
}

static const uint32_t *mask_of(const ds4_candidates_args *a, uint64_t row) {
  return a->mask ? DS4_PTR(const uint32_t, a->mask) + row * ((a->vocab + 31) / 32) : NULL;
}

static void max_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const candidates_job *j = arg;
  const ds4_candidates_args *a = j->a;
  for (uint64_t at = begin; at < end; at++) {
    const uint64_t row = at / j->n_chunks, first = at % j->n_chunks * CHUNK;
    const float *logits = DS4_PTR(const float, a->logits) + row * a->vocab;
    const uint32_t *mask = mask_of(a, row);
    chunk_result c = {.max = -__builtin_inff(), .argmax = UINT32_MAX};
    for (uint32_t id = (uint32_t)first; id < a->vocab && id < first + CHUNK; id++) {
      c.bad |= (bits_of(logits[id]) & 0x7fffffffu) >= DS4_INF_BITS;
      if (!(logits[id] > c.max) || !allowed(mask, id)) continue;
      c.max = logits[id];
      c.argmax = id;
    }
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
    chunk_result *c = j->chunks + at;
    for (uint64_t i = first; i < last; i += 16) {
      float v[16];
      for (uint64_t k = 0; k < 16; k++)
        v[k] = i + k < last && allowed(mask, (uint32_t)(i + k)) ? logits[i + k] : -__builtin_inff();
      const f32x16 e = exp16(DS4_LOAD(f32x16, v) - info->max);
      for (uint64_t k = 0; k < 16; k++) {
        c->sum += (double)e[k];
        c->n_passed += v[k] >= least && v[k] > -__builtin_inff();
      }
    }
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
      if (!(logits[id] >= least) || !allowed(mask, id)) continue;
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

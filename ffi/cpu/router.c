/* Which experts a token goes to, and with what weight (spec §11). */
#include "dot.h"
#include "vmath.h"

/* √softplus of a logit; e is e^logit. A NaN stays one. */
static float score(float logit, float e) {
  if (logit != logit) return logit;
  if (logit > 20.0f) return __builtin_sqrtf(logit);
  if (logit < -20.0f) return __builtin_sqrtf(e);
  return __builtin_sqrtf((float)log1p_f64((double)e));
}

/* weights_k = scale · p_k / max(Σ p, 2^-14), p summed in slot order. */
static void weigh(float *weights, uint32_t k, float scale) {
  float sum = 0;
  for (uint32_t i = 0; i < k; i++) sum += weights[i];
  const float divisor = sum < 0x1p-14f ? 0x1p-14f : sum;
  for (uint32_t i = 0; i < k; i++) weights[i] = scale * weights[i] / divisor;
}

typedef struct {
  const ds4_router_top_k_args *a;
  float *scratch; /* [n_threads, 2, n_experts] */
} top_k_job;

/* p of all experts, and p + bias with NaN below all, so that ids are valid whatever comes in. */
static void score_experts(const ds4_router_top_k_args *a, const float *logits, float *p,
                          float *rank) {
  const float *bias = DS4_PTR(const float, a->bias);
  for (uint32_t e = 0; e < a->n_experts; e += 16) {
    const f32x16 powers = exp16(load_upto16(logits + e, a->n_experts - e));
    for (uint32_t i = 0; i < 16 && e + i < a->n_experts; i++) {
      p[e + i] = score(logits[e + i], powers[i]);
      const float v = bias ? p[e + i] + bias[e + i] : p[e + i];
      rank[e + i] = v == v ? v : -__builtin_inff();
    }
  }
}

static void router_top_k_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  const top_k_job *j = arg;
  const ds4_router_top_k_args *a = j->a;
  float *p = j->scratch + (uint64_t)thread * 2 * a->n_experts, *rank = p + a->n_experts;
  for (uint64_t r = begin; r < end; r++) {
    int32_t *sel = DS4_PTR(int32_t, a->sel) + r * a->k;
    float *weights = DS4_PTR(float, a->weights) + r * a->k;
    score_experts(a, DS4_PTR(const float, a->logits) + r * a->n_experts, p, rank);
    for (uint32_t i = 0; i < a->k; i++) {
      int32_t best = -1;
      for (uint32_t e = 0; e < a->n_experts; e++) {
        bool taken = false;
        if (best >= 0 && !(rank[e] > rank[best])) continue;
        for (uint32_t before = 0; before < i; before++) taken |= sel[before] == (int32_t)e;
        if (!taken) best = (int32_t)e;
      }
      sel[i] = best;
      weights[i] = p[best];
    }
    weigh(weights, a->k, a->scale);
  }
}

ds4_status DS4_FN(router_top_k)(ds4_ctx *ctx, const ds4_router_top_k_args *a) {
  top_k_job job = {a,
                   ds4_scratch(ctx, (uint64_t)ctx->n_threads * 2 * a->n_experts * sizeof(float))};
  if (!job.scratch) return DS4_NO_MEMORY;
  ds4_parallel(ctx, a->n_rows, grain_of((uint64_t)a->n_experts * 20), router_top_k_body, &job);
  return DS4_OK;
}

static void router_hash_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_router_hash_args *a = arg;
  for (uint64_t r = begin; r < end; r++) {
    const uint64_t token = DS4_PTR(const ds4_row, a->rows)[r].token;
    const int32_t *table = DS4_PTR(const int32_t, a->table) + token * a->k;
    const float *logits = DS4_PTR(const float, a->logits) + r * a->n_experts;
    float *weights = DS4_PTR(float, a->weights) + r * a->k;
    for (uint32_t i = 0; i < a->k; i++) {
      DS4_PTR(int32_t, a->sel)[r * a->k + i] = table[i];
      weights[i] = score(logits[table[i]], exp1(logits[table[i]]));
    }
    weigh(weights, a->k, a->scale);
  }
}

ds4_status DS4_FN(router_hash)(ds4_ctx *ctx, const ds4_router_hash_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of(500), router_hash_body, (void *)a);
  return DS4_OK;
}

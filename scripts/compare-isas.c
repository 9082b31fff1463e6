/* Compares the kernels of every instruction set of this machine with the scalar ones, bit by bit, and
 * needs nothing but a kernel to run on: for emulators, where the processor at hand lacks one.
 *
 *   zig cc -static … scripts/compare-isas.c (see docs/performance.md) && ./compare-isas
 *
 * The suite does the same through the library (tests/ffi/variants.test.ts). */
#include "../ffi/cpu/cpu.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const uint32_t types[] = {DS4_F32,  DS4_F16,  DS4_BF16,    DS4_Q8_0,
                                 DS4_Q2_K, DS4_Q4_K, DS4_IQ2_XXS, DS4_MXFP4};
static const char *const names[] = {"F32",  "F16",  "BF16",    "Q8_0",
                                    "Q2_K", "Q4_K", "IQ2_XXS", "MXFP4"};
#define N_TYPES (sizeof types / sizeof types[0])

static uint64_t state = 88172645463325252ull;
static uint32_t random32(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 16);
}
static float random_float(void) { return (float)((int32_t)random32() >> 8) * 0x1p-22f; }

static float *floats(uint64_t n) {
  float *x = ds4_alloc(n * sizeof *x);
  for (uint64_t i = 0; i < n; i++) x[i] = random_float();
  return x;
}

/* Random blocks whose scales are halves between 1/1024 and 1/8. */
static uint8_t *weights(uint32_t type, uint64_t n) {
  const ds4_type_info t = ds4_type(type);
  const uint64_t bytes = n / t.block * t.bytes;
  uint8_t *w = ds4_alloc(bytes);
  for (uint64_t i = 0; i < bytes; i++) w[i] = (uint8_t)random32();
  for (uint64_t at = 0; at < bytes; at += t.bytes) {
    const uint16_t d = (uint16_t)(0x1400 + random32() % 0x1c00), dmin = (uint16_t)(d / 2 + 0x800);
    const float f = random_float();
    switch (type) {
    case DS4_F32: memcpy(w + at, &f, 4); break;
    case DS4_F16: w[at + 1] &= 0xb7; break;
    case DS4_BF16: w[at + 1] = (uint8_t)((w[at + 1] & 0x80) | 0x3e); break;
    case DS4_MXFP4: w[at] = (uint8_t)(110 + random32() % 20); break;
    case DS4_Q2_K:
      memcpy(w + at + 80, &d, 2);
      memcpy(w + at + 82, &dmin, 2);
      break;
    default: memcpy(w + at, &d, 2);
    }
    if (type == DS4_Q4_K) memcpy(w + at + 2, &dmin, 2);
  }
  return w;
}

static int failures;

static void compare(const char *isa, const char *what, const void *a, const void *b,
                    uint64_t bytes) {
  if (memcmp(a, b, bytes) == 0) return;
  uint64_t i = 0;
  while (((const uint32_t *)a)[i] == ((const uint32_t *)b)[i]) i++;
  printf("%s differs from scalar: %s, word %llu: %g, expected %g\n", isa, what,
         (unsigned long long)i, (double)((const float *)a)[i], (double)((const float *)b)[i]);
  failures++;
}

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
/* Runs an op on both contexts and compares the field `out` of `bytes`. */
#define BOTH(op, args, bytes, what)                                                 \
  do {                                                                              \
    void *got = ds4_alloc(bytes), *expected = ds4_alloc(bytes);                     \
    (args).out = ADDRESS(got);                                                      \
    if (ds4_##op(fast, &(args)) != DS4_OK) printf("%s\n", fast->error), failures++; \
    (args).out = ADDRESS(expected);                                                 \
    if (ds4_##op(slow, &(args)) != DS4_OK) printf("%s\n", slow->error), failures++; \
    compare(fast->kernels->isa, what, got, expected, bytes);                        \
    ds4_free(got, bytes), ds4_free(expected, bytes);                                \
  } while (0)

static void matmuls(ds4_ctx *fast, ds4_ctx *slow, uint32_t t) {
  static const uint32_t rows[] = {1, 2, 3, 4, 5, 6, 7, 13, 66};
  static const uint32_t ins[] = {256, 768, 1280}, outs[] = {16, 21};
  for (int i = 0; i < 3; i++)
    for (int o = 0; o < 2; o++) {
      const uint32_t n_in = ins[i] + (ds4_type(types[t]).block < 256 ? 32 : 0);
      uint8_t *w = weights(types[t], (uint64_t)n_in * outs[o]);
      for (int r = 0; r < 9; r++) {
        float *x = floats((uint64_t)rows[r] * n_in);
        char what[80];
        ds4_matmul_args a = {.x = ADDRESS(x),
                             .w = ADDRESS(w),
                             .n_rows = rows[r],
                             .n_groups = 1,
                             .n_in = n_in,
                             .n_out = outs[o],
                             .type = types[t]};
        snprintf(what, sizeof what, "matmul %s %u x [%u, %u]", names[t], rows[r], outs[o], n_in);
        BOTH(matmul, a, (uint64_t)rows[r] * outs[o] * 4, what);
        ds4_free(x, (uint64_t)rows[r] * n_in * 4);
      }
      ds4_free(w, (uint64_t)n_in * outs[o]);
    }
}

static void experts(ds4_ctx *fast, ds4_ctx *slow, uint32_t t) {
  enum { ROWS = 23, K = 3, EXPERTS = 5, DIM = 512, FF = 256 };
  uint8_t *w = weights(types[t], (uint64_t)EXPERTS * DIM * FF);
  float *x = floats(ROWS * DIM), *h = floats(ROWS * K * FF), *p = floats(ROWS * K);
  int32_t sel[ROWS * K];
  for (int i = 0; i < ROWS * K; i++) sel[i] = (int32_t)(random32() % EXPERTS);
  ds4_experts_gate_up_args g = {.x = ADDRESS(x),
                                .gate = ADDRESS(w),
                                .up = ADDRESS(w),
                                .sel = ADDRESS(sel),
                                .weights = ADDRESS(p),
                                .n_rows = ROWS,
                                .k = K,
                                .n_experts = EXPERTS,
                                .dim = DIM,
                                .ff = FF,
                                .type = types[t],
                                .clamp = 10};
  BOTH(experts_gate_up, g, ROWS * K * FF * 4, names[t]);
  ds4_experts_down_args d = {.h = ADDRESS(h),
                             .down = ADDRESS(w),
                             .sel = ADDRESS(sel),
                             .n_rows = ROWS,
                             .k = K,
                             .n_experts = EXPERTS,
                             .dim = DIM,
                             .ff = FF,
                             .type = types[t]};
  BOTH(experts_down, d, ROWS * DIM * 4, names[t]);
}

/* Attention over raw rows, and all scores of the indexer, for three tokens of one sequence. */
static void attention(ds4_ctx *fast, ds4_ctx *slow) {
  enum { ROWS = 3, HEADS = 12, DIM = 512, ROPE = 64, BYTES = 584, SLOTS = 160, KEYS = 96 };
  enum { INDEX_DIM = 128, INDEX_BYTES = 68, PAGES = 3 };
  ds4_row rows[ROWS];
  for (uint32_t r = 0; r < ROWS; r++) rows[r] = (ds4_row){0, 381 + r, 0, r, ROWS - 1 - r};
  uint8_t *ring = ds4_alloc(SLOTS * BYTES), *pages = ds4_alloc(PAGES * 32 * INDEX_BYTES);
  for (int i = 0; i < SLOTS * BYTES; i++) ring[i] = random32() & 0xbb;
  for (int i = 0; i < SLOTS; i++) memset(ring + i * BYTES + 576, 121, 7);
  for (int i = 0; i < PAGES * 32 * INDEX_BYTES; i++) pages[i] = (uint8_t)random32();
  for (int i = 0; i < PAGES * 32; i++) memset(pages + i * INDEX_BYTES + 64, 125, 4);
  float *q = floats(ROWS * HEADS * DIM), *sinks = floats(HEADS), *weight = floats(ROWS * HEADS);
  ds4_attend_args a = {.q = ADDRESS(q),
                       .step = ADDRESS(ring),
                       .ring = ADDRESS(ring),
                       .sinks = ADDRESS(sinks),
                       .rows = ADDRESS(rows),
                       .n_rows = ROWS,
                       .n_heads = HEADS,
                       .dim = DIM,
                       .rope_dim = ROPE,
                       .row_bytes = BYTES,
                       .window = 128,
                       .n_slots = SLOTS,
                       .n_seqs = 1,
                       .scale = 0.044f};
  BOTH(attend, a, ROWS * HEADS * DIM * 4, "attend");
  uint32_t table[PAGES] = {2, 0, 1};
  float *rounded = ds4_alloc(ROWS * HEADS * INDEX_DIM * 4), *scores[2];
  for (int i = 0; i < ROWS * HEADS * INDEX_DIM; i++)
    rounded[i] = 0.5f * (float)(random32() % 9) - 2;
  for (int i = 0; i < 2; i++) {
    int32_t sel[ROWS * KEYS];
    scores[i] = ds4_alloc(ROWS * KEYS * 4);
    ds4_index_top_k_args k = {.sel = ADDRESS(sel),
                              .q = ADDRESS(rounded),
                              .weights = ADDRESS(weight),
                              .pages = ADDRESS(pages),
                              .page_table = ADDRESS(table),
                              .rows = ADDRESS(rows),
                              .scores = ADDRESS(scores[i]),
                              .n_rows = ROWS,
                              .n_heads = HEADS,
                              .dim = INDEX_DIM,
                              .top_k = KEYS,
                              .ratio = 4,
                              .row_bytes = INDEX_BYTES,
                              .n_pages = PAGES,
                              .n_seqs = 1,
                              .table_len = PAGES,
                              .score_len = KEYS,
                              .scale = 0.02f};
    if (ds4_index_top_k(i ? slow : fast, &k) != DS4_OK) printf("%s\n", fast->error), failures++;
  }
  compare(fast->kernels->isa, "index scores", scores[0], scores[1], ROWS * KEYS * 4);
}

int main(void) {
  uint64_t grid[256];
  static const uint8_t levels[3] = {8, 25, 43};
  for (int i = 0; i < 256; i++) {
    grid[i] = 0;
    for (int k = 0; k < 8; k++) grid[i] |= (uint64_t)levels[random32() % 3] << 8 * k;
  }
  uint32_t n;
  const ds4_kernels *const *all = ds4_variants(&n);
  ds4_ctx *slow = NULL;
  if (ds4_open(&slow, 1, "scalar", grid) != DS4_OK) return 2;
  for (uint32_t v = 1; v < n; v++) {
    ds4_ctx *fast = NULL;
    if (ds4_open(&fast, 1, all[v]->isa, grid) != DS4_OK) return 2;
    for (uint32_t t = 0; t < N_TYPES; t++) {
      matmuls(fast, slow, t);
      experts(fast, slow, t);
    }
    attention(fast, slow);
    printf("%s: %d differences from scalar so far\n", all[v]->isa, failures);
    ds4_close(fast);
  }
  ds4_close(slow);
  return failures != 0;
}

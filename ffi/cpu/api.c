/* Contexts: opening, closing, errors, and what the library says of itself. */
#include "cpu.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_THREADS 512

/* The last failure without a context belongs to the thread that met it. */
static _Thread_local char loose_error[256];

ds4_status ds4_fail(ds4_ctx *ctx, ds4_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(ctx ? ctx->error : loose_error, sizeof loose_error, format, args);
  va_end(args);
  return status;
}

const char *ds4_last_error(ds4_ctx *ctx) { return ctx ? ctx->error : loose_error; }

void *ds4_scratch(ds4_ctx *ctx, uint64_t bytes) {
  if (bytes <= ctx->scratch_bytes) return ctx->scratch;
  const uint64_t size = ds4_round_up(bytes + bytes / 4, 1 << 16);
  uint8_t *grown = ds4_alloc(size);
  if (!grown) {
    ds4_fail(ctx, DS4_NO_MEMORY, "Cannot get %llu bytes of scratch memory",
             (unsigned long long)size);
    return NULL;
  }
  if (ctx->scratch) ds4_free(ctx->scratch, ctx->scratch_bytes);
  ctx->scratch = grown;
  ctx->scratch_bytes = size;
  return grown;
}

static const ds4_kernels *find_kernels(const char *isa) {
  uint32_t n;
  const ds4_kernels *const *all = ds4_variants(&n);
  if (!isa || !*isa) return all[n - 1];
  for (uint32_t i = 0; i < n; i++)
    if (strcmp(all[i]->isa, isa) == 0) return all[i];
  return NULL;
}

static void fill_tables(ds4_tables *t, const uint64_t *iq2_grid) {
  if (iq2_grid) memcpy(t->grid, iq2_grid, sizeof t->grid);
  for (uint32_t i = 0; i < 256; i++)
    for (uint32_t k = 0; k < 8; k++) {
      const uint32_t level = t->grid[i] >> 8 * k & 255; /* 8, 25 or 43 */
      t->grid_codes[i] |= (uint16_t)((level > 8) + (level > 25)) << 2 * k;
    }
  for (int e = 0; e < 255; e++) t->half_e8m0[e] = ldexpf(1, e - 128);
  t->half_e8m0[255] = __builtin_nanf("");
}

static void describe(ds4_ctx *ctx) {
  uint32_t n;
  const ds4_kernels *const *all = ds4_variants(&n);
  char *at = ctx->abi, *end = ctx->abi + sizeof ctx->abi;
  at +=
      snprintf(at, (size_t)(end - at),
               "{\"abi\":%d,\"structs\":{\"ds4_row\":%zu,"
               "\"ds4_candidate_row\":%zu,\"ds4_logit_bias\":%zu",
               DS4_ABI_VERSION, sizeof(ds4_row), sizeof(ds4_candidate_row), sizeof(ds4_logit_bias));
#define DS4_SIZE(name) \
  at += snprintf(at, (size_t)(end - at), ",\"ds4_" #name "_args\":%zu", sizeof(ds4_##name##_args));
  DS4_OPS(DS4_SIZE)
#undef DS4_SIZE
  at += snprintf(at, (size_t)(end - at), "},\"isas\":[");
  for (uint32_t i = 0; i < n; i++)
    at += snprintf(at, (size_t)(end - at), "%s\"%s\"", i ? "," : "", all[i]->isa);
  snprintf(at, (size_t)(end - at), "],\"isa\":\"%s\",\"threads\":%u,\"iq2_grid\":%s}",
           ctx->kernels->isa, ctx->n_threads, ctx->tables.grid[0] ? "true" : "false");
}

ds4_status ds4_open(ds4_ctx **out, uint32_t n_threads, const char *isa, const uint64_t *iq2_grid) {
  if (!out) return ds4_fail(NULL, DS4_BAD_ARG, "open: out is null");
  *out = NULL;
  const ds4_kernels *kernels = find_kernels(isa);
  if (!kernels)
    return ds4_fail(NULL, DS4_UNSUPPORTED, "Instruction set \"%s\" is not on this machine", isa);
  if (n_threads == 0) n_threads = ds4_physical_cores();
  if (n_threads > MAX_THREADS)
    return ds4_fail(NULL, DS4_BAD_ARG, "open: %u threads, at most %u", n_threads, MAX_THREADS);
  ds4_ctx *ctx = calloc(1, sizeof *ctx);
  ds4_pool *pool = ctx ? ds4_pool_open(n_threads) : NULL;
  if (!pool) {
    free(ctx);
    return ds4_fail(NULL, DS4_NO_MEMORY, "Cannot start %u threads", n_threads);
  }
  ctx->kernels = kernels;
  ctx->pool = pool;
  ctx->n_threads = n_threads;
  fill_tables(&ctx->tables, iq2_grid);
  describe(ctx);
  *out = ctx;
  return DS4_OK;
}

void ds4_close(ds4_ctx *ctx) {
  if (!ctx) return;
  ds4_pool_close(ctx->pool);
  if (ctx->scratch) ds4_free(ctx->scratch, ctx->scratch_bytes);
  free(ctx);
}

const char *ds4_abi_json(ds4_ctx *ctx) { return ctx->abi; }

/* Inside of the CPU library: the context, the thread pool, the table of kernels of one instruction
 * set. Files without DS4_ISA (api, checks, dispatch, host, ops, threads) are compiled once; the
 * kernel families once per instruction set, their external names suffixed by DS4_FN. */
#ifndef DS4_CPU_H
#define DS4_CPU_H

#include "../ds4.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DS4_PTR(type, p) ((type *)(uintptr_t)(p))
#define DS4_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DS4_MAX(a, b) ((a) > (b) ? (a) : (b))

#define DS4_GLUE_(a, b) ds4_##a##_##b
#define DS4_GLUE(a, b) DS4_GLUE_(a, b)
/* The name of a function of this variant: DS4_FN(matmul) is ds4_matmul_avx2. */
#define DS4_FN(name) DS4_GLUE(name, DS4_ISA)

#define DS4_CACHE_LINE 64

/* --- kernels of an instruction set --- */

typedef struct {
  const char *isa;
#define DS4_KERNEL(name) ds4_status (*name)(ds4_ctx * ctx, const ds4_##name##_args *a);
  DS4_OPS(DS4_KERNEL)
#undef DS4_KERNEL
} ds4_kernels;

/* Kernels of the variants this machine can run, worst first; *n gets their number. */
const ds4_kernels *const *ds4_variants(uint32_t *n);

/* --- threads --- */

typedef struct ds4_pool ds4_pool;
/* Works on items [begin, end); thread is below the pool's size and indexes per-thread scratch. */
typedef void ds4_body(void *job, uint32_t thread, uint64_t begin, uint64_t end);

ds4_pool *ds4_pool_open(uint32_t n_threads);
void ds4_pool_close(ds4_pool *pool);
/* Splits [0, n) into contiguous ranges, some for each thread, the caller's included, and returns when
 * all are done. A range has at least `grain` items, so that small work stays on the caller. */
void ds4_parallel(ds4_ctx *ctx, uint64_t n, uint64_t grain, ds4_body *body, void *job);
uint32_t ds4_physical_cores(void);

/* --- context --- */

/* Tables of formats. IQ2_XXS: 8 levels a grid entry, and the same as 2 bits each. MXFP4:
 * 2^(e - 128), half of E8M0 because its codes are doubled. */
typedef struct {
  uint64_t grid[256];
  uint16_t grid_codes[256];
  float half_e8m0[256];
} ds4_tables;

struct ds4_ctx {
  const ds4_kernels *kernels;
  ds4_pool *pool;
  uint32_t n_threads;
  uint8_t *scratch;
  uint64_t scratch_bytes;
  ds4_tables tables;
  char error[256];
  char abi[2048];
};

/* Scratch of the running op, 64-byte aligned, kept and grown between calls; NULL without memory.
 * Every call returns the same memory: an op asks once, for all it needs. */
void *ds4_scratch(ds4_ctx *ctx, uint64_t bytes);
/* Records the text of a failure and returns its status. ctx may be NULL. */
__attribute__((format(printf, 3, 4))) ds4_status ds4_fail(ds4_ctx *ctx, ds4_status status,
                                                          const char *format, ...);

static inline uint64_t ds4_round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* --- weight types --- */

/* What an activation row must be for a dot with weights of a type. */
enum ds4_x_form { DS4_X_F32, DS4_X_Q8_0, DS4_X_Q8_K };

typedef struct {
  uint32_t block;  /* elements of a block; 0: not a weight type */
  uint32_t bytes;  /* bytes of a block */
  uint32_t x_form; /* ds4_x_form */
} ds4_type_info;

static inline ds4_type_info ds4_type(uint32_t type) {
  switch (type) {
  case DS4_F32: return (ds4_type_info){1, 4, DS4_X_F32};
  case DS4_F16: return (ds4_type_info){1, 2, DS4_X_F32};
  case DS4_BF16: return (ds4_type_info){1, 2, DS4_X_F32};
  case DS4_Q8_0: return (ds4_type_info){32, 34, DS4_X_Q8_0};
  case DS4_MXFP4: return (ds4_type_info){32, 17, DS4_X_Q8_0};
  case DS4_Q2_K: return (ds4_type_info){256, 84, DS4_X_Q8_K};
  case DS4_Q4_K: return (ds4_type_info){256, 144, DS4_X_Q8_K};
  case DS4_IQ2_XXS: return (ds4_type_info){256, 66, DS4_X_Q8_K};
  default: return (ds4_type_info){0, 0, 0};
  }
}

static inline uint64_t ds4_row_bytes(uint32_t type, uint64_t n) {
  const ds4_type_info t = ds4_type(type);
  return n / t.block * t.bytes;
}

/* --- rows and pages --- */

#define DS4_PAGE_TOKENS 128

/* Compressed row c of a sequence: page c / per of its line in the page table, place c % per. */
static inline const uint8_t *ds4_paged_row(const uint8_t *pages, const uint32_t *line, uint32_t per,
                                           uint32_t row_bytes, uint32_t c) {
  return pages + ((uint64_t)line[c / per] * per + c % per) * row_bytes;
}

#endif

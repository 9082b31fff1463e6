/* The C ABI of every native backend. Each function returns a ds4_status; the text of the last
 * failure of a context is ds4_last_error(). No function exits, throws or calls back. */
#ifndef DS4_H
#define DS4_H

#include "types.h"
#include <stddef.h>

#if defined(_WIN32)
#define DS4_API
#else
#define DS4_API __attribute__((visibility("default")))
#endif

typedef int32_t ds4_status;
typedef struct ds4_ctx ds4_ctx;

/* Every op by its name: DS4_OPS(X) expands X(name) for each. scripts/gen-ffi.ts reads this list. */
#define DS4_OPS(X) \
  X(embed)          \
  X(rms_norm)       \
  X(matmul)         \
  X(rope_table)     \
  X(rope_tail)      \
  X(hc_split)       \
  X(hc_collapse)    \
  X(hc_expand)      \
  X(hc_head_weights) \
  X(round_kv)       \
  X(round_index)    \
  X(pack_rows)      \
  X(store_ring)     \
  X(store_pages)    \
  X(compress)       \
  X(index_top_k)    \
  X(attend)         \
  X(router_top_k)   \
  X(router_hash)    \
  X(experts_gate_up) \
  X(experts_down)   \
  X(swiglu)         \
  X(add)            \
  X(gather_rows)    \
  X(candidates)

#define DS4_DECLARE_OP(name) DS4_API ds4_status ds4_##name(ds4_ctx *ctx, const ds4_##name##_args *a);
DS4_OPS(DS4_DECLARE_OP)
#undef DS4_DECLARE_OP

/* --- contexts --- */

/* Opens a context with n_threads threads (the caller's included; 0: one per physical core) on the
 * instruction set named (NULL or "": the best of this machine). The quant tables come from
 * TypeScript: iq2_grid u64 [256] (8 levels each, element 0 lowest). *out is NULL on failure. */
DS4_API ds4_status ds4_open(ds4_ctx **out, uint32_t n_threads, const char *isa,
                            const uint64_t *iq2_grid);
DS4_API void ds4_close(ds4_ctx *ctx);
/* Text of the last failure on this context, or of the last failure without one if ctx is NULL. */
DS4_API const char *ds4_last_error(ds4_ctx *ctx);
/* JSON: ABI version, sizes of all argument structs, instruction sets here, the one in use. */
DS4_API const char *ds4_abi_json(ds4_ctx *ctx);

/* --- memory and files of the host --- */

/* 64-byte aligned, zeroed, committed only when touched. NULL when there is not enough. */
DS4_API void *ds4_alloc(uint64_t bytes);
DS4_API void ds4_free(void *p, uint64_t bytes);
DS4_API void ds4_copy(void *dst, const void *src, uint64_t bytes);
/* Maps a whole file read-only; path is UTF-8, path_len bytes. *bytes gets its size. A file that
 * shrinks while mapped ends the process with a message and exit code 74. */
DS4_API ds4_status ds4_map_file(void **out, uint64_t *bytes, const char *path, uint32_t path_len);
DS4_API ds4_status ds4_unmap(void *p, uint64_t bytes);
/* 0 normal, 1 random, 2 sequential, 3 will need, 4 do not need. */
DS4_API ds4_status ds4_advise(void *p, uint64_t bytes, uint32_t kind);

#endif

/* Checks of what TypeScript cannot see: ids and row tables in device memory. All run before the
 * parallel part of an op, so that a kernel never meets an index out of range. */
#ifndef DS4_CHECKS_H
#define DS4_CHECKS_H

#include "cpu.h"

/* Row tables: positions that leave room for arithmetic, and before and after that name rows of the
 * step which belong to the same sequence and follow each other. n_seqs 0: sequences are not used.
 */
ds4_status ds4_check_rows(ds4_ctx *ctx, const char *op, ds4_ptr rows, uint32_t n_rows,
                          uint32_t n_seqs);
/* Tokens below vocab. */
ds4_status ds4_check_tokens(ds4_ctx *ctx, const char *op, ds4_ptr rows, uint32_t n_rows,
                            uint32_t vocab);
/* Every id in [0, limit). */
ds4_status ds4_check_ids(ds4_ctx *ctx, const char *op, const char *what, const int32_t *ids,
                         uint64_t n, uint32_t limit);
/* Pages that the rows' compressed rows lie in. Rows have been checked. */
typedef struct {
  ds4_ptr rows, table;
  uint32_t n_rows, ratio, table_len, n_pages;
} ds4_page_check;
ds4_status ds4_check_pages(ds4_ctx *ctx, const char *op, const ds4_page_check *p);
/* Selected compressed rows [n_rows, top_k]: those that hold are visible. */
ds4_status ds4_check_selection(ds4_ctx *ctx, const char *op, ds4_ptr rows, uint32_t n_rows,
                               ds4_ptr sel, uint32_t top_k, uint32_t ratio);
/* A weight type with kernels, and rows that fill whole blocks. */
ds4_status ds4_check_type(ds4_ctx *ctx, const char *op, uint32_t type, uint32_t n_in);

#endif

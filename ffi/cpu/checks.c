#include "checks.h"

/* Positions stay below 2^30: pos + 1, 2 · ratio and the like never wrap. */
#define MAX_POS (1u << 30)

ds4_status ds4_check_rows(ds4_ctx *ctx, const char *op, ds4_ptr p, uint32_t n_rows,
                          uint32_t n_seqs) {
  const ds4_row *rows = DS4_PTR(const ds4_row, p);
  for (uint32_t i = 0; i < n_rows; i++) {
    const ds4_row *r = rows + i;
    if (r->pos >= MAX_POS)
      return ds4_fail(ctx, DS4_BAD_DATA, "%s: row %u has position %u", op, i, r->pos);
    if (n_seqs && r->seq >= n_seqs)
      return ds4_fail(ctx, DS4_BAD_DATA, "%s: row %u is of sequence %u of %u", op, i, r->seq,
                      n_seqs);
    bool fits = r->before <= i && r->before <= r->pos && r->after < n_rows - i;
    if (fits && r->before > 0)
      fits = r[-1].seq == r->seq && r[-1].pos + 1 == r->pos && r[-1].before + 1 == r->before &&
             r[-1].after == r->after + 1;
    if (fits && r->after > 0) fits = r[1].seq == r->seq && r[1].after + 1 == r->after;
    if (!fits)
      return ds4_fail(ctx, DS4_BAD_DATA,
                      "%s: row %u (sequence %u, position %u) says %u before and %u after", op, i,
                      r->seq, r->pos, r->before, r->after);
  }
  return DS4_OK;
}

ds4_status ds4_check_tokens(ds4_ctx *ctx, const char *op, ds4_ptr p, uint32_t n_rows,
                            uint32_t vocab) {
  const ds4_row *rows = DS4_PTR(const ds4_row, p);
  for (uint32_t i = 0; i < n_rows; i++)
    if (rows[i].token >= vocab)
      return ds4_fail(ctx, DS4_BAD_DATA, "%s: row %u has token %u of %u", op, i, rows[i].token,
                      vocab);
  return DS4_OK;
}

ds4_status ds4_check_ids(ds4_ctx *ctx, const char *op, const char *what, const int32_t *ids,
                         uint64_t n, uint32_t limit) {
  for (uint64_t i = 0; i < n; i++)
    if ((uint32_t)ids[i] >= limit)
      return ds4_fail(ctx, DS4_BAD_DATA, "%s: %s %d of %u", op, what, ids[i], limit);
  return DS4_OK;
}

ds4_status ds4_check_pages(ds4_ctx *ctx, const char *op, const ds4_page_check *p) {
  const ds4_row *rows = DS4_PTR(const ds4_row, p->rows);
  const uint32_t per = DS4_PAGE_TOKENS / p->ratio;
  for (uint32_t i = 0; i < p->n_rows; i++) {
    if (rows[i].after > 0) continue; /* the last row of a run sees all that the others see */
    const uint32_t n = ((rows[i].pos + 1) / p->ratio + per - 1) / per;
    const uint32_t *line = DS4_PTR(const uint32_t, p->table) + (uint64_t)rows[i].seq * p->table_len;
    if (n > p->table_len)
      return ds4_fail(ctx, DS4_BAD_DATA, "%s: position %u needs %u pages, the table has %u", op,
                      rows[i].pos, n, p->table_len);
    for (uint32_t k = 0; k < n; k++)
      if (line[k] >= p->n_pages)
        return ds4_fail(ctx, DS4_BAD_DATA, "%s: page %u of sequence %u is %u of %u", op, k,
                        rows[i].seq, line[k], p->n_pages);
  }
  return DS4_OK;
}

ds4_status ds4_check_selection(ds4_ctx *ctx, const char *op, ds4_ptr rows, uint32_t n_rows,
                               ds4_ptr sel, uint32_t top_k, uint32_t ratio) {
  for (uint64_t i = 0; i < n_rows; i++) {
    const uint32_t n = (DS4_PTR(const ds4_row, rows)[i].pos + 1) / ratio;
    const ds4_status status = ds4_check_ids(ctx, op, "sel", DS4_PTR(const int32_t, sel) + i * top_k,
                                            DS4_MIN(n, top_k), n);
    if (status != DS4_OK) return status;
  }
  return DS4_OK;
}

ds4_status ds4_check_type(ds4_ctx *ctx, const char *op, uint32_t type, uint32_t n_in) {
  const ds4_type_info t = ds4_type(type);
  if (t.block == 0)
    return ds4_fail(ctx, DS4_BAD_TYPE, "%s: no kernel for tensor type %u", op, type);
  if (n_in % t.block != 0)
    return ds4_fail(ctx, DS4_BAD_ARG, "%s: rows of %u elements do not fill blocks of %u", op, n_in,
                    t.block);
  if (type == DS4_IQ2_XXS && ctx->tables.grid[0] == 0)
    return ds4_fail(ctx, DS4_BAD_TYPE, "%s: IQ2_XXS needs the grid at open", op);
  return DS4_OK;
}

/* The entry points of the ops: checks, then the kernel of the context's instruction set. An op on
 * nothing is done before it starts. */
#include "checks.h"

#define BAD_IF(condition) \
  if (condition) return ds4_fail(ctx, DS4_BAD_ARG, "%s: %s", op, #condition)
#define CHECK(call)                        \
  do {                                     \
    const ds4_status status_ = call;       \
    if (status_ != DS4_OK) return status_; \
  } while (0)
/* Begins op `name`; without an element in `n` there is nothing to do. */
#define BEGIN(name, n)                                               \
  static const char op[] = #name;                                    \
  if (!ctx || !a) return ds4_fail(ctx, DS4_BAD_ARG, "%s: null", op); \
  if ((n) == 0) return DS4_OK

ds4_status ds4_embed(ds4_ctx *ctx, const ds4_embed_args *a) {
  BEGIN(embed, a->n_rows);
  BAD_IF(!a->out || !a->table || !a->rows);
  BAD_IF(a->hc == 0 || a->dim == 0);
  CHECK(ds4_check_type(ctx, op, a->type, a->dim));
  CHECK(ds4_check_tokens(ctx, op, a->rows, a->n_rows, a->vocab));
  return ctx->kernels->embed(ctx, a);
}

ds4_status ds4_rms_norm(ds4_ctx *ctx, const ds4_rms_norm_args *a) {
  BEGIN(rms_norm, a->n_rows);
  BAD_IF(!a->out || !a->x);
  BAD_IF(a->dim == 0);
  return ctx->kernels->rms_norm(ctx, a);
}

ds4_status ds4_matmul(ds4_ctx *ctx, const ds4_matmul_args *a) {
  BEGIN(matmul, (uint64_t)a->n_rows * a->n_groups * a->n_out);
  BAD_IF(!a->out || !a->x || !a->w);
  BAD_IF(a->n_in == 0);
  CHECK(ds4_check_type(ctx, op, a->type, a->n_in));
  return ctx->kernels->matmul(ctx, a);
}

ds4_status ds4_rope_table(ds4_ctx *ctx, const ds4_rope_table_args *a) {
  BEGIN(rope_table, (uint64_t)a->n_rows * a->n_pairs);
  BAD_IF(!a->out || !a->freqs || !a->rows);
  BAD_IF(a->ratio == 0);
  return ctx->kernels->rope_table(ctx, a);
}

ds4_status ds4_rope_tail(ds4_ctx *ctx, const ds4_rope_tail_args *a) {
  BEGIN(rope_tail, (uint64_t)a->n_rows * a->n_heads);
  BAD_IF(!a->x || !a->table);
  BAD_IF(a->rope_dim > a->dim || a->rope_dim % 2 != 0);
  return ctx->kernels->rope_tail(ctx, a);
}

ds4_status ds4_hc_split(ds4_ctx *ctx, const ds4_hc_split_args *a) {
  BEGIN(hc_split, a->n_rows);
  BAD_IF(!a->pre || !a->post || !a->comb || !a->mix || !a->scale || !a->base);
  BAD_IF(a->hc == 0 || a->hc > 16);
  return ctx->kernels->hc_split(ctx, a);
}

ds4_status ds4_hc_collapse(ds4_ctx *ctx, const ds4_hc_collapse_args *a) {
  BEGIN(hc_collapse, (uint64_t)a->n_rows * a->dim);
  BAD_IF(!a->out || !a->streams || !a->pre);
  BAD_IF(a->hc == 0);
  return ctx->kernels->hc_collapse(ctx, a);
}

ds4_status ds4_hc_expand(ds4_ctx *ctx, const ds4_hc_expand_args *a) {
  BEGIN(hc_expand, (uint64_t)a->n_rows * a->dim);
  BAD_IF(!a->streams || !a->y || !a->post || !a->comb);
  BAD_IF(a->hc == 0 || a->hc > 16);
  return ctx->kernels->hc_expand(ctx, a);
}

ds4_status ds4_hc_head_weights(ds4_ctx *ctx, const ds4_hc_head_weights_args *a) {
  BEGIN(hc_head_weights, a->n_rows);
  BAD_IF(!a->out || !a->mix || !a->scale || !a->base);
  BAD_IF(a->hc == 0 || a->hc > 16);
  return ctx->kernels->hc_head_weights(ctx, a);
}

ds4_status ds4_round_kv(ds4_ctx *ctx, const ds4_round_kv_args *a) {
  BEGIN(round_kv, (uint64_t)a->n_rows * a->dim);
  BAD_IF(!a->x);
  BAD_IF(a->rope_dim > a->dim || (a->dim - a->rope_dim) % 64 != 0);
  return ctx->kernels->round_kv(ctx, a);
}

ds4_status ds4_round_index(ds4_ctx *ctx, const ds4_round_index_args *a) {
  BEGIN(round_index, a->n_rows);
  BAD_IF(!a->x);
  BAD_IF(a->dim < 32 || (a->dim & (a->dim - 1)) != 0);
  return ctx->kernels->round_index(ctx, a);
}

ds4_status ds4_pack_rows(ds4_ctx *ctx, const ds4_pack_rows_args *a) {
  BEGIN(pack_rows, a->n_rows);
  BAD_IF(!a->out || !a->x);
  BAD_IF(a->format != DS4_ROW_KV && a->format != DS4_ROW_INDEX);
  if (a->format == DS4_ROW_INDEX) {
    BAD_IF(a->dim == 0 || a->dim % 32 != 0 || a->row_bytes < a->dim / 2 + a->dim / 32);
  } else {
    BAD_IF(a->rope_dim > a->dim || (a->dim - a->rope_dim) % 64 != 0);
    BAD_IF(a->row_bytes < a->dim + a->rope_dim + (a->dim - a->rope_dim) / 64);
  }
  return ctx->kernels->pack_rows(ctx, a);
}

ds4_status ds4_store_ring(ds4_ctx *ctx, const ds4_store_ring_args *a) {
  BEGIN(store_ring, a->n_rows);
  BAD_IF(!a->ring || !a->src || !a->rows);
  BAD_IF(a->n_seqs == 0 || a->n_slots == 0);
  CHECK(ds4_check_rows(ctx, op, a->rows, a->n_rows, a->n_seqs));
  return ctx->kernels->store_ring(ctx, a);
}

ds4_status ds4_store_pages(ds4_ctx *ctx, const ds4_store_pages_args *a) {
  BEGIN(store_pages, a->n_rows);
  BAD_IF(!a->pages || !a->src || !a->page_table || !a->rows);
  BAD_IF(a->n_seqs == 0);
  BAD_IF(a->ratio == 0 || DS4_PAGE_TOKENS % a->ratio != 0);
  CHECK(ds4_check_rows(ctx, op, a->rows, a->n_rows, a->n_seqs));
  const ds4_page_check pages = {a->rows,  a->page_table, a->n_rows,
                                a->ratio, a->table_len,  a->n_pages};
  CHECK(ds4_check_pages(ctx, op, &pages));
  return ctx->kernels->store_pages(ctx, a);
}

ds4_status ds4_compress(ds4_ctx *ctx, const ds4_compress_args *a) {
  BEGIN(compress, (uint64_t)a->n_rows * a->dim);
  BAD_IF(!a->out || !a->k || !a->s || !a->ring_k || !a->ring_s || !a->ape || !a->rows);
  BAD_IF(a->n_seqs == 0);
  BAD_IF(a->ratio == 0 || a->ratio > DS4_PAGE_TOKENS);
  BAD_IF(a->n_slots + 1 < a->ratio * (a->overlap ? 2 : 1));
  CHECK(ds4_check_type(ctx, op, a->ape_type, a->overlap ? 2 * a->dim : a->dim));
  CHECK(ds4_check_rows(ctx, op, a->rows, a->n_rows, a->n_seqs));
  return ctx->kernels->compress(ctx, a);
}

ds4_status ds4_index_top_k(ds4_ctx *ctx, const ds4_index_top_k_args *a) {
  BEGIN(index_top_k, a->n_rows);
  BAD_IF(!a->sel || !a->q || !a->weights || !a->pages || !a->page_table || !a->rows);
  BAD_IF(a->n_seqs == 0 || a->n_heads == 0 || a->top_k == 0);
  BAD_IF(a->dim == 0 || a->dim % 32 != 0 || a->dim > 1024);
  BAD_IF(a->ratio == 0 || DS4_PAGE_TOKENS % a->ratio != 0);
  BAD_IF(a->row_bytes < a->dim / 2 + a->dim / 32);
  CHECK(ds4_check_rows(ctx, op, a->rows, a->n_rows, a->n_seqs));
  const ds4_page_check pages = {a->rows,  a->page_table, a->n_rows,
                                a->ratio, a->table_len,  a->n_pages};
  CHECK(ds4_check_pages(ctx, op, &pages));
  return ctx->kernels->index_top_k(ctx, a);
}

ds4_status ds4_attend(ds4_ctx *ctx, const ds4_attend_args *a) {
  BEGIN(attend, (uint64_t)a->n_rows * a->n_heads);
  BAD_IF(!a->out || !a->q || !a->step || !a->ring || !a->sinks || !a->rows);
  BAD_IF(a->n_seqs == 0 || a->window == 0);
  BAD_IF(a->n_slots == 0 || a->n_slots + 1 < a->window);
  BAD_IF(a->dim == 0 || a->rope_dim > a->dim || (a->dim - a->rope_dim) % 64 != 0);
  BAD_IF(a->row_bytes < a->dim + a->rope_dim + (a->dim - a->rope_dim) / 64);
  CHECK(ds4_check_rows(ctx, op, a->rows, a->n_rows, a->n_seqs));
  if (a->ratio != 0) {
    BAD_IF(!a->pages || !a->page_table);
    BAD_IF(DS4_PAGE_TOKENS % a->ratio != 0);
    const ds4_page_check pages = {a->rows,  a->page_table, a->n_rows,
                                  a->ratio, a->table_len,  a->n_pages};
    CHECK(ds4_check_pages(ctx, op, &pages));
    if (a->sel) CHECK(ds4_check_selection(ctx, op, a->rows, a->n_rows, a->sel, a->top_k, a->ratio));
  }
  return ctx->kernels->attend(ctx, a);
}

ds4_status ds4_router_top_k(ds4_ctx *ctx, const ds4_router_top_k_args *a) {
  BEGIN(router_top_k, a->n_rows);
  BAD_IF(!a->sel || !a->weights || !a->logits);
  BAD_IF(a->k == 0 || a->k > a->n_experts);
  return ctx->kernels->router_top_k(ctx, a);
}

ds4_status ds4_router_hash(ds4_ctx *ctx, const ds4_router_hash_args *a) {
  BEGIN(router_hash, a->n_rows);
  BAD_IF(!a->sel || !a->weights || !a->logits || !a->table || !a->rows);
  BAD_IF(a->k == 0 || a->n_experts == 0);
  CHECK(ds4_check_tokens(ctx, op, a->rows, a->n_rows, a->vocab));
  for (uint32_t r = 0; r < a->n_rows; r++) {
    const uint64_t at = (uint64_t)DS4_PTR(const ds4_row, a->rows)[r].token * a->k;
    CHECK(ds4_check_ids(ctx, op, "expert", DS4_PTR(const int32_t, a->table) + at, a->k,
                        a->n_experts));
  }
  return ctx->kernels->router_hash(ctx, a);
}

ds4_status ds4_experts_gate_up(ds4_ctx *ctx, const ds4_experts_gate_up_args *a) {
  BEGIN(experts_gate_up, (uint64_t)a->n_rows * a->k * a->ff);
  BAD_IF(!a->out || !a->x || !a->gate || !a->up || !a->sel || !a->weights);
  BAD_IF(a->dim == 0 || (uint64_t)a->n_rows * a->k > UINT32_MAX);
  CHECK(ds4_check_type(ctx, op, a->type, a->dim));
  CHECK(ds4_check_ids(ctx, op, "expert", DS4_PTR(const int32_t, a->sel), (uint64_t)a->n_rows * a->k,
                      a->n_experts));
  return ctx->kernels->experts_gate_up(ctx, a);
}

ds4_status ds4_experts_down(ds4_ctx *ctx, const ds4_experts_down_args *a) {
  BEGIN(experts_down, (uint64_t)a->n_rows * a->dim);
  BAD_IF(!a->out || !a->h || !a->down || !a->sel);
  BAD_IF(a->ff == 0 || (uint64_t)a->n_rows * a->k > UINT32_MAX);
  CHECK(ds4_check_type(ctx, op, a->type, a->ff));
  CHECK(ds4_check_ids(ctx, op, "expert", DS4_PTR(const int32_t, a->sel), (uint64_t)a->n_rows * a->k,
                      a->n_experts));
  return ctx->kernels->experts_down(ctx, a);
}

ds4_status ds4_swiglu(ds4_ctx *ctx, const ds4_swiglu_args *a) {
  BEGIN(swiglu, a->n);
  BAD_IF(!a->out || !a->gate || !a->up);
  return ctx->kernels->swiglu(ctx, a);
}

ds4_status ds4_add(ds4_ctx *ctx, const ds4_add_args *a) {
  BEGIN(add, a->n);
  BAD_IF(!a->out || !a->a || !a->b);
  return ctx->kernels->add(ctx, a);
}

ds4_status ds4_gather_rows(ds4_ctx *ctx, const ds4_gather_rows_args *a) {
  BEGIN(gather_rows, a->n_out);
  BAD_IF(!a->out || !a->x || !a->index);
  CHECK(ds4_check_ids(ctx, op, "row", DS4_PTR(const int32_t, a->index), a->n_out, a->n_rows));
  return ctx->kernels->gather_rows(ctx, a);
}

ds4_status ds4_candidates(ds4_ctx *ctx, const ds4_candidates_args *a) {
  BEGIN(candidates, a->n_rows);
  BAD_IF(!a->info || !a->ids || !a->values || !a->logits || !a->delta);
  BAD_IF(a->vocab == 0 || a->vocab > INT32_MAX);
  BAD_IF(a->n_bias != 0 && !a->bias);
  const ds4_logit_bias *bias = DS4_PTR(const ds4_logit_bias, a->bias);
  for (uint32_t i = 0; i < a->n_bias; i++)
    if (bias[i].row >= a->n_rows || bias[i].id >= a->vocab)
      return ds4_fail(ctx, DS4_BAD_DATA, "%s: bias of row %u, id %u", op, bias[i].row, bias[i].id);
  return ctx->kernels->candidates(ctx, a);
}

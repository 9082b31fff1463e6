/* The border between TypeScript and the machines: one argument struct per op, included by C, CUDA
 * and Metal alike, and read by scripts/gen-ffi.ts, which makes the TypeScript packers from it.
 *
 * Rules the generator relies on: a struct named ds4_<op>_args; one field a line; ds4_ptr fields
 * first, then 4-byte fields (uint32_t, int32_t, float). A ds4_ptr is an address on the backend's
 * device (host memory on the CPU), 0 where an operand is absent.
 *
 * Shapes are written outermost first, contiguous last: x [n_rows, dim]. Activations are f32 unless
 * stated. A weight's type is its ggml type id; its rows are n_in long and lie as in the file.
 * A row's result never depends on which other rows share the call. Formulas: src/ops/ops.ts. */
#ifndef DS4_TYPES_H
#define DS4_TYPES_H

#ifndef __METAL_VERSION__
#include <stdint.h>
#endif

#define DS4_ABI_VERSION 1

typedef uint64_t ds4_ptr;

enum ds4_status_code {
  DS4_OK = 0,
  DS4_BAD_ARG = 1,     /* a shape, a pointer or a size that the op cannot take */
  DS4_BAD_TYPE = 2,    /* a tensor type this op has no kernel for */
  DS4_BAD_DATA = 3,    /* a token or expert id out of range in device memory */
  DS4_NO_MEMORY = 4,
  DS4_IO = 5,          /* a file could not be opened, mapped or read */
  DS4_UNSUPPORTED = 6, /* an instruction set or device that is not here */
};

enum ds4_type_id {
  DS4_F32 = 0,
  DS4_F16 = 1,
  DS4_Q8_0 = 8,
  DS4_Q2_K = 10,
  DS4_Q4_K = 12,
  DS4_IQ2_XXS = 16,
  DS4_I32 = 26,
  DS4_BF16 = 30,
  DS4_MXFP4 = 39,
};

enum ds4_row_format {
  DS4_ROW_KV = 0,    /* FP8 codes [dim - rope], f16 [rope], E8M0 exponents [(dim - rope) / 64], pad to 8 */
  DS4_ROW_INDEX = 1, /* FP4 nibbles [dim / 2] (element 2j low), E8M0 exponents [dim / 32], pad to 4 */
};

/* One row of a step. The rows of a sequence follow each other by position without a gap. */
typedef struct {
  uint32_t seq;    /* slot of the sequence: its rings, its line of the page table */
  uint32_t pos;    /* absolute position of the token */
  uint32_t token;  /* token id */
  uint32_t before; /* rows of the same sequence that stand before this one in the step */
  uint32_t after;  /* rows of the same sequence that stand after it */
} ds4_row;

typedef struct {
  ds4_ptr out;   /* [n_rows, hc, dim] */
  ds4_ptr table; /* weight [vocab, dim] */
  ds4_ptr rows;  /* ds4_row [n_rows] */
  uint32_t n_rows;
  uint32_t hc;
  uint32_t dim;
  uint32_t vocab;
  uint32_t type;
} ds4_embed_args;

typedef struct {
  ds4_ptr out; /* [n_rows, dim], may be x */
  ds4_ptr x;   /* [n_rows, dim] */
  ds4_ptr w;   /* [dim] f32, 0: all ones */
  uint32_t n_rows;
  uint32_t dim;
  float eps;
} ds4_rms_norm_args;

typedef struct {
  ds4_ptr out; /* [n_rows, n_groups, n_out] */
  ds4_ptr x;   /* [n_rows, n_groups, n_in] */
  ds4_ptr w;   /* weight [n_groups, n_out, n_in] */
  uint32_t n_rows;
  uint32_t n_groups;
  uint32_t n_in;
  uint32_t n_out;
  uint32_t type;
} ds4_matmul_args;

typedef struct {
  ds4_ptr out;   /* [n_rows, n_pairs, 2]: cos, sin */
  ds4_ptr freqs; /* [n_pairs] */
  ds4_ptr rows;
  uint32_t n_rows;
  uint32_t n_pairs;
  uint32_t ratio; /* 1: the token's own position; r: pos + 1 - r, the start of the block it completes */
} ds4_rope_table_args;

typedef struct {
  ds4_ptr x;     /* [n_rows, n_heads, dim], in place */
  ds4_ptr table; /* [n_rows, rope_dim / 2, 2] */
  uint32_t n_rows;
  uint32_t n_heads;
  uint32_t dim;
  uint32_t rope_dim;
  uint32_t inverse; /* 1: rotate back */
} ds4_rope_tail_args;

typedef struct {
  ds4_ptr pre;   /* [n_rows, hc] */
  ds4_ptr post;  /* [n_rows, hc] */
  ds4_ptr comb;  /* [n_rows, hc source, hc destination] */
  ds4_ptr mix;   /* [n_rows, 2 hc + hc hc] */
  ds4_ptr scale; /* [3] f32 */
  ds4_ptr base;  /* [2 hc + hc hc] f32 */
  uint32_t n_rows;
  uint32_t hc;
  uint32_t n_iters;
  float eps;
} ds4_hc_split_args;

typedef struct {
  ds4_ptr out;     /* [n_rows, dim] */
  ds4_ptr streams; /* [n_rows, hc, dim] */
  ds4_ptr pre;     /* [n_rows, hc] */
  uint32_t n_rows;
  uint32_t hc;
  uint32_t dim;
} ds4_hc_collapse_args;

typedef struct {
  ds4_ptr streams; /* [n_rows, hc, dim], in place */
  ds4_ptr y;       /* [n_rows, dim] */
  ds4_ptr post;    /* [n_rows, hc] */
  ds4_ptr comb;    /* [n_rows, hc, hc] */
  uint32_t n_rows;
  uint32_t hc;
  uint32_t dim;
} ds4_hc_expand_args;

typedef struct {
  ds4_ptr out;   /* [n_rows, hc] */
  ds4_ptr mix;   /* [n_rows, hc] */
  ds4_ptr scale; /* [1] f32 */
  ds4_ptr base;  /* [hc] f32 */
  uint32_t n_rows;
  uint32_t hc;
  float eps;
} ds4_hc_head_weights_args;

typedef struct {
  ds4_ptr x; /* [n_rows, dim], in place */
  uint32_t n_rows;
  uint32_t dim;
  uint32_t rope_dim;
} ds4_round_kv_args;

typedef struct {
  ds4_ptr x; /* [n_rows, dim], in place */
  uint32_t n_rows;
  uint32_t dim;
} ds4_round_index_args;

typedef struct {
  ds4_ptr out; /* bytes [n_rows, row_bytes] */
  ds4_ptr x;   /* [n_rows, dim], already rounded */
  uint32_t n_rows;
  uint32_t dim;
  uint32_t rope_dim;
  uint32_t row_bytes;
  uint32_t format; /* ds4_row_format */
} ds4_pack_rows_args;

typedef struct {
  ds4_ptr ring; /* bytes [n_seqs, n_slots, row_bytes] */
  ds4_ptr src;  /* bytes [n_rows, row_bytes] */
  ds4_ptr rows;
  uint32_t n_rows;
  uint32_t n_seqs;
  uint32_t n_slots;
  uint32_t row_bytes;
} ds4_store_ring_args;

typedef struct {
  ds4_ptr pages;      /* bytes [n_pages, 128 / ratio, row_bytes] */
  ds4_ptr src;        /* bytes [n_rows, row_bytes] */
  ds4_ptr page_table; /* u32 [n_seqs, table_len] */
  ds4_ptr rows;
  uint32_t n_rows;
  uint32_t n_pages;
  uint32_t n_seqs;
  uint32_t table_len;
  uint32_t ratio;
  uint32_t row_bytes;
} ds4_store_pages_args;

typedef struct {
  ds4_ptr out;    /* [n_rows, dim]; 0 where a row completes no block */
  ds4_ptr k;      /* [n_rows, width]: this step's projections; width = 2 dim if overlap else dim */
  ds4_ptr s;      /* [n_rows, width] */
  ds4_ptr ring_k; /* [n_seqs, n_slots, width]: earlier steps' */
  ds4_ptr ring_s; /* [n_seqs, n_slots, width] */
  ds4_ptr ape;    /* weight [ratio, width] */
  ds4_ptr rows;
  uint32_t n_rows;
  uint32_t n_seqs;
  uint32_t n_slots;
  uint32_t dim;
  uint32_t ratio;
  uint32_t overlap; /* 1: 2 ratio candidates, the previous block's first halves (ratio 4) */
  uint32_t ape_type;
} ds4_compress_args;

typedef struct {
  ds4_ptr sel;        /* i32 [n_rows, top_k], ascending; the first min(n_visible, top_k) hold */
  ds4_ptr q;          /* [n_rows, n_heads, dim], rounded */
  ds4_ptr weights;    /* [n_rows, n_heads] */
  ds4_ptr pages;      /* packed index rows */
  ds4_ptr page_table;
  ds4_ptr rows;
  ds4_ptr scores;     /* 0, or [n_rows, score_len] where the scores are kept for inspection */
  uint32_t n_rows;
  uint32_t n_heads;
  uint32_t dim;
  uint32_t top_k;
  uint32_t ratio;
  uint32_t row_bytes;
  uint32_t n_pages;
  uint32_t n_seqs;
  uint32_t table_len;
  uint32_t score_len;
  float scale;
} ds4_index_top_k_args;

typedef struct {
  ds4_ptr out;        /* [n_rows, n_heads, dim] */
  ds4_ptr q;          /* [n_rows, n_heads, dim] */
  ds4_ptr step;       /* packed rows of this step [n_rows, row_bytes] */
  ds4_ptr ring;       /* packed rows of earlier steps [n_seqs, n_slots, row_bytes] */
  ds4_ptr pages;      /* packed compressed rows, 0 without compression */
  ds4_ptr page_table; /* u32 [n_seqs, table_len], 0 without compression */
  ds4_ptr sel;        /* i32 [n_rows, top_k], 0: every visible compressed row */
  ds4_ptr sinks;      /* [n_heads] f32 */
  ds4_ptr rows;
  uint32_t n_rows;
  uint32_t n_heads;
  uint32_t dim;
  uint32_t rope_dim;
  uint32_t row_bytes;
  uint32_t window;
  uint32_t n_slots;
  uint32_t ratio; /* 0: no compressed rows */
  uint32_t top_k;
  uint32_t n_pages;
  uint32_t n_seqs;
  uint32_t table_len;
  float scale;
} ds4_attend_args;

typedef struct {
  ds4_ptr sel;     /* i32 [n_rows, k] */
  ds4_ptr weights; /* [n_rows, k] */
  ds4_ptr logits;  /* [n_rows, n_experts] */
  ds4_ptr bias;    /* [n_experts] f32, 0: none */
  uint32_t n_rows;
  uint32_t n_experts;
  uint32_t k;
  float scale;
} ds4_router_top_k_args;

typedef struct {
  ds4_ptr sel;     /* i32 [n_rows, k] */
  ds4_ptr weights; /* [n_rows, k] */
  ds4_ptr logits;  /* [n_rows, n_experts] */
  ds4_ptr table;   /* i32 [vocab, k] */
  ds4_ptr rows;
  uint32_t n_rows;
  uint32_t n_experts;
  uint32_t k;
  uint32_t vocab;
  float scale;
} ds4_router_hash_args;

typedef struct {
  ds4_ptr out;     /* [n_rows, k, ff] */
  ds4_ptr x;       /* [n_rows, dim] */
  ds4_ptr gate;    /* weight [n_experts, ff, dim] */
  ds4_ptr up;      /* weight [n_experts, ff, dim], same type */
  ds4_ptr sel;     /* i32 [n_rows, k] */
  ds4_ptr weights; /* [n_rows, k] */
  uint32_t n_rows;
  uint32_t k;
  uint32_t n_experts;
  uint32_t dim;
  uint32_t ff;
  uint32_t type;
  float clamp;
} ds4_experts_gate_up_args;

typedef struct {
  ds4_ptr out;  /* [n_rows, dim] */
  ds4_ptr h;    /* [n_rows, k, ff] */
  ds4_ptr down; /* weight [n_experts, dim, ff] */
  ds4_ptr sel;  /* i32 [n_rows, k] */
  uint32_t n_rows;
  uint32_t k;
  uint32_t n_experts;
  uint32_t dim;
  uint32_t ff;
  uint32_t type;
} ds4_experts_down_args;

typedef struct {
  ds4_ptr out;  /* [n], may be gate */
  ds4_ptr gate; /* [n] */
  ds4_ptr up;   /* [n] */
  uint32_t n;
  float clamp;
} ds4_swiglu_args;

typedef struct {
  ds4_ptr out; /* [n], may be a or b */
  ds4_ptr a;
  ds4_ptr b;
  uint32_t n;
} ds4_add_args;

typedef struct {
  ds4_ptr out;   /* [n_out, width] */
  ds4_ptr x;     /* [n_rows, width] */
  ds4_ptr index; /* u32 [n_out], each below n_rows */
  uint32_t n_out;
  uint32_t n_rows;
  uint32_t width;
} ds4_gather_rows_args;

/* What candidates() says of one row of logits. */
typedef struct {
  uint32_t argmax; /* lowest id among equals; masked ids never */
  float max;
  float lse;         /* ln Σ exp(logit) over the allowed ids */
  uint32_t bad;      /* 1: NaN or infinity among the logits, or no id allowed */
  uint32_t n_passed; /* ids within delta of the maximum; more than limit: fetch the row whole */
} ds4_candidate_row;

typedef struct {
  ds4_ptr info;   /* ds4_candidate_row [n_rows] */
  ds4_ptr ids;    /* u32 [n_rows, limit]: those within delta, ascending id */
  ds4_ptr values; /* f32 [n_rows, limit]: their logits */
  ds4_ptr logits; /* [n_rows, vocab]; biased in place */
  ds4_ptr mask;   /* u32 [n_rows, ceil(vocab / 32)], bit set: allowed; 0: all */
  ds4_ptr delta;  /* f32 [n_rows], at least 0 */
  ds4_ptr bias;   /* ds4_logit_bias [n_bias], 0: none */
  uint32_t n_rows;
  uint32_t vocab;
  uint32_t limit;
  uint32_t n_bias;
} ds4_candidates_args;

typedef struct {
  uint32_t row;
  uint32_t id;
  float value;
} ds4_logit_bias;

#endif

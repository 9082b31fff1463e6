/* Rows of attention memory: rounding to the precision they were trained with, packing without loss,
 * and keeping them in rings and pages (spec §8, design D6). */
#include "kv_rows.h"
#include "dot.h"

/* --- FP8 and FP4 codes --- */

/* Exponent of the scale 2^e of a block: ⌈log2 t⌉ by t's bits. */
DS4_INLINE int32_t ceil_log2(float t) {
  const uint32_t bits = bits_of(t);
  return (int32_t)(bits >> 23) - 127 + ((bits & 0x7fffff) != 0);
}

/* 2^e for -126 ≤ e ≤ 127. */
DS4_INLINE float power_of_2(int32_t e) { return float_of((uint32_t)(e + 127) << 23); }

/* The scale byte of a block whose largest magnitude has these bits; 255 for NaN and infinity. */
static uint32_t fp8_scale(uint32_t most) {
  if (most >= DS4_INF_BITS) return 255;
  const float a = float_of(most) > 1e-4f ? float_of(most) : 1e-4f;
  return (uint32_t)(ceil_log2(a * (1.0f / 448.0f)) + 127);
}

static uint32_t fp4_scale(uint32_t most) {
  const float least = 0x1.8p-124f; /* 6 · 2^-126 */
  if (most >= DS4_INF_BITS) return 255;
  return (uint32_t)(ceil_log2((float_of(most) > least ? float_of(most) : least) / 6.0f) + 127);
}

/* Nearest E4M3 code 0 … 126 of y ≥ 0, ties to even. Below 2^-6 steps are 2^-9: adding 1.5 · 2^14
 * leaves just those. Above, the mantissa is cut to 3 bits, and code and bits differ by a shift. */
DS4_INLINE uint32_t e4m3_code(float y) {
  if (!(y < 448.0f)) return 126;
  if (y < 0x1p-6f) return bits_of(y + 0x1.8p14f) - bits_of(0x1.8p14f);
  const uint32_t bits = bits_of(y);
  return (bits + 0x7ffff + (bits >> 20 & 1)) / 0x100000 - (120 << 3);
}

DS4_INLINE uint32_t e2m1_code(float y) {
  return (uint32_t)((y > 0.25f) + (y >= 0.75f) + (y > 1.25f) + (y >= 1.75f) + (y > 2.5f) +
                    (y >= 3.5f) + (y > 5.0f));
}

/* Codes of one block, sign in bit 7 or bit 3, and its scale byte. */
static uint32_t encode_fp8(const float *x, uint8_t *codes) {
  const uint32_t scale = fp8_scale(max_abs_bits(x, 64));
  if (scale == 255) return memset(codes, 0, 64), scale;
  const float inverse = power_of_2(127 - (int32_t)scale);
  for (uint32_t i = 0; i < 64; i++) {
    const uint32_t sign = bits_of(x[i]) >> 31;
    codes[i] = (uint8_t)(sign << 7 | e4m3_code(float_of(bits_of(x[i]) & 0x7fffffffu) * inverse));
  }
  return scale;
}

static uint32_t encode_fp4(const float *x, uint8_t *codes) {
  const uint32_t scale = fp4_scale(max_abs_bits(x, 32));
  if (scale == 255) return memset(codes, 0, 32), scale;
  const float inverse = power_of_2(127 - (int32_t)scale);
  for (uint32_t i = 0; i < 32; i++) {
    const uint32_t sign = bits_of(x[i]) >> 31;
    codes[i] = (uint8_t)(sign << 3 | e2m1_code(float_of(bits_of(x[i]) & 0x7fffffffu) * inverse));
  }
  return scale;
}

/* --- rounding in place --- */

static void round_kv_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_round_kv_args *a = arg;
  const uint32_t plain = a->dim - a->rope_dim;
  for (uint64_t r = begin; r < end; r++) {
    float *x = DS4_PTR(float, a->x) + r * a->dim;
    for (uint32_t i = 0; i < plain; i += 64) {
      uint8_t codes[64];
      const uint32_t scale = encode_fp8(x + i, codes);
      decode_fp8(codes, 64, scale, x + i);
    }
    for (uint32_t i = plain; i < a->dim; i++) {
      const uint16_t half = f16_bits(x[i]);
      x[i] = f16_at(&half);
    }
  }
}

ds4_status DS4_FN(round_kv)(ds4_ctx *ctx, const ds4_round_kv_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of((uint64_t)a->dim * 8), round_kv_body, (void *)a);
  return DS4_OK;
}

/* Natural order: butterflies of stride 1, 2, 4, …; then times dim^-½. */
static void hadamard(float *x, uint32_t dim) {
  for (uint32_t stride = 1; stride < dim; stride *= 2)
    for (uint32_t i = 0; i < dim; i += 2 * stride)
      for (uint32_t j = i; j < i + stride; j++) {
        const float p = x[j], q = x[j + stride];
        x[j] = p + q;
        x[j + stride] = p - q;
      }
  const float scale = (float)(1.0 / __builtin_sqrt((double)dim));
  for (uint32_t i = 0; i < dim; i++) x[i] *= scale;
}

DS4_INLINE float decode_fp4(uint32_t code, float d) {
  static const float value[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                  -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  return value[code] * d;
}

static void round_index_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_round_index_args *a = arg;
  for (uint64_t r = begin; r < end; r++) {
    float *x = DS4_PTR(float, a->x) + r * a->dim;
    hadamard(x, a->dim);
    for (uint32_t i = 0; i < a->dim; i += 32) {
      uint8_t codes[32];
      const uint32_t scale = encode_fp4(x + i, codes);
      for (uint32_t k = 0; k < 32; k++) x[i + k] = decode_fp4(codes[k], e8m0(scale));
    }
  }
}

ds4_status DS4_FN(round_index)(ds4_ctx *ctx, const ds4_round_index_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of((uint64_t)a->dim * 16), round_index_body, (void *)a);
  return DS4_OK;
}

/* --- packing --- */

/* The scale found anew from a rounded block may be half of that it was rounded with (its largest
 * element went down to a power of two): every value is representable with both. */
static void pack_kv(const ds4_pack_rows_args *a, const float *x, uint8_t *out) {
  const uint32_t plain = a->dim - a->rope_dim;
  uint8_t *scales = out + plain + 2 * a->rope_dim;
  for (uint32_t i = 0; i < plain; i += 64) scales[i / 64] = (uint8_t)encode_fp8(x + i, out + i);
  for (uint32_t i = 0; i < a->rope_dim; i++) {
    const uint16_t half = f16_bits(x[plain + i]);
    memcpy(out + plain + 2 * i, &half, sizeof half);
  }
  memset(scales + plain / 64, 0, a->row_bytes - (plain + 2 * a->rope_dim + plain / 64));
}

static void pack_index(const ds4_pack_rows_args *a, const float *x, uint8_t *out) {
  uint8_t *scales = out + a->dim / 2;
  for (uint32_t i = 0; i < a->dim; i += 32) {
    uint8_t codes[32];
    scales[i / 32] = (uint8_t)encode_fp4(x + i, codes);
    for (uint32_t k = 0; k < 16; k++)
      out[i / 2 + k] = (uint8_t)(codes[2 * k] | codes[2 * k + 1] << 4);
  }
  memset(scales + a->dim / 32, 0, a->row_bytes - a->dim / 2 - a->dim / 32);
}

static void pack_rows_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_pack_rows_args *a = arg;
  for (uint64_t r = begin; r < end; r++) {
    const float *x = DS4_PTR(const float, a->x) + r * a->dim;
    uint8_t *out = DS4_PTR(uint8_t, a->out) + r * a->row_bytes;
    if (a->format == DS4_ROW_KV) pack_kv(a, x, out);
    else pack_index(a, x, out);
  }
}

ds4_status DS4_FN(pack_rows)(ds4_ctx *ctx, const ds4_pack_rows_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of((uint64_t)a->dim * 8), pack_rows_body, (void *)a);
  return DS4_OK;
}

/* --- rings and pages --- */

static void store_ring_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_store_ring_args *a = arg;
  const ds4_row *rows = DS4_PTR(const ds4_row, a->rows);
  for (uint64_t r = begin; r < end; r++) {
    if (rows[r].after >= a->n_slots) continue; /* a later row of this step has the same slot */
    const uint64_t slot = (uint64_t)rows[r].seq * a->n_slots + rows[r].pos % a->n_slots;
    memcpy(DS4_PTR(uint8_t, a->ring) + slot * a->row_bytes,
           DS4_PTR(const uint8_t, a->src) + r * a->row_bytes, a->row_bytes);
  }
}

ds4_status DS4_FN(store_ring)(ds4_ctx *ctx, const ds4_store_ring_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of(a->row_bytes / 8), store_ring_body, (void *)a);
  return DS4_OK;
}

static void store_pages_body(void *arg, uint32_t thread, uint64_t begin, uint64_t end) {
  (void)thread;
  const ds4_store_pages_args *a = arg;
  const ds4_row *rows = DS4_PTR(const ds4_row, a->rows);
  const uint32_t *table = DS4_PTR(const uint32_t, a->page_table);
  for (uint64_t r = begin; r < end; r++) {
    if ((rows[r].pos + 1) % a->ratio != 0) continue;
    const uint8_t *to = ds4_paged_row(
        DS4_PTR(const uint8_t, a->pages), table + (uint64_t)rows[r].seq * a->table_len,
        DS4_PAGE_TOKENS / a->ratio, a->row_bytes, rows[r].pos / a->ratio);
    memcpy((uint8_t *)(uintptr_t)to, DS4_PTR(const uint8_t, a->src) + r * a->row_bytes,
           a->row_bytes);
  }
}

ds4_status DS4_FN(store_pages)(ds4_ctx *ctx, const ds4_store_pages_args *a) {
  ds4_parallel(ctx, a->n_rows, grain_of(a->row_bytes / 8), store_pages_body, (void *)a);
  return DS4_OK;
}

/* AArch64 baseline.
 * cc: */
#if !defined(__aarch64__) || !defined(__ARM_NEON)
#error "the neon variant is not compiled for AArch64"
#endif
#include <arm_neon.h>

typedef union {
  f32x8 whole;
  float32x4_t part[2];
} neon_f32x8;
typedef union {
  f32x16 whole;
  float32x4_t part[4];
} neon_f32x16;
typedef union {
  i32x8 whole;
  int32x4_t part[2];
} neon_i32x8;
typedef union {
  i8x32 whole;
  int8x16_t part[2];
} neon_i8x32;

typedef union {
  i16x16 whole;
  int16x8_t part[2];
} neon_i16x16;

DS4_INLINE f32x8 fma8(f32x8 a, f32x8 b, f32x8 c) {
  neon_f32x8 x = {a}, y = {b}, z = {c};
  for (int i = 0; i < 2; i++) z.part[i] = vfmaq_f32(z.part[i], x.part[i], y.part[i]);
  return z.whole;
}

DS4_INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) {
  neon_f32x16 x = {a}, y = {b}, z = {c};
  for (int i = 0; i < 4; i++) z.part[i] = vfmaq_f32(z.part[i], x.part[i], y.part[i]);
  return z.whole;
}

DS4_INLINE f32x16 widen_f16(const void *p) {
  neon_f32x16 v;
  for (int i = 0; i < 4; i++)
    v.part[i] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)p + 8 * i)));
  return v.whole;
}

/* Sums of 4 products each, of 16 bytes. */
DS4_INLINE int32x4_t neon_quads(int8x16_t w, int8x16_t x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(vdupq_n_s32(0), w, x);
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
  return vpaddq_s32(low, vpaddlq_s16(vmull_high_s8(w, x)));
#endif
}

DS4_INLINE f32x16 widen_f16_lanes(u16x16 h) { return widen_f16(&h); }

DS4_INLINE float f16_at(const void *p) {
  __fp16 h;
  memcpy(&h, p, sizeof h);
  return h;
}

DS4_INLINE i32x8 dot32(i8x32 w, i8x32 x) {
  neon_i8x32 a = {w}, b = {x};
  neon_i32x8 z;
  for (int i = 0; i < 2; i++) z.part[i] = neon_quads(a.part[i], b.part[i]);
  return z.whole;
}

DS4_INLINE i32x8 dot32_scaled(i32x8 acc, i8x32 w, i8x32 x, i16x16 scale) {
  neon_i8x32 a = {w}, b = {x};
  neon_i32x8 z = {acc};
  for (int i = 0; i < 2; i++)
    z.part[i] = vmlaq_n_s32(z.part[i], neon_quads(a.part[i], b.part[i]), scale[8 * i]);
  return z.whole;
}

DS4_INLINE i32x8 dot16(i16x16 a, i16x16 b) {
  neon_i16x16 x = {a}, y = {b};
  neon_i32x8 z;
  for (int i = 0; i < 2; i++) {
    const int32x4_t low = vmull_s16(vget_low_s16(x.part[i]), vget_low_s16(y.part[i]));
    z.part[i] = vpaddq_s32(low, vmull_high_s16(x.part[i], y.part[i]));
  }
  return z.whole;
}

DS4_INLINE i8x32 lookup16(const int8_t table[16], u8x32 index) {
  const int8x16_t v = vld1q_s8(table);
  neon_i8x32 i = {(i8x32)index};
  for (int k = 0; k < 2; k++) i.part[k] = vqtbl1q_s8(v, vreinterpretq_u8_s8(i.part[k]));
  return i.whole;
}

DS4_INLINE i32x4 totals(i32x8 a, i32x8 b, i32x8 c, i32x8 d) {
  neon_i32x8 p = {a}, q = {b}, r = {c}, s = {d};
  const int32x4_t ab = vpaddq_s32(vaddq_s32(p.part[0], p.part[1]), vaddq_s32(q.part[0], q.part[1]));
  const int32x4_t cd = vpaddq_s32(vaddq_s32(r.part[0], r.part[1]), vaddq_s32(s.part[0], s.part[1]));
  return (i32x4)vpaddq_s32(ab, cd);
}

DS4_INLINE f32x4 fma4(f32x4 a, f32x4 b, f32x4 c) {
  return (f32x4)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}

/* Sums of 4 products each, of weight rows in bytes of w with 4 elements of x. */
DS4_INLINE int32x4_t neon_tile(int32x4_t acc, int8x16_t w, const int8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  const int8x16_t spread = vreinterpretq_s8_s32(vdupq_n_s32(four));
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(acc, w, spread);
#else
  return vaddq_s32(acc, neon_quads(w, spread));
#endif
}
DS4_INLINE i32x8 tile_signed(const i8x32 *w, const int8_t *x, const uint32_t n_steps) {
  neon_i32x8 z = {{0}};
  for (uint32_t s = 0; s < n_steps; s++) {
    neon_i8x32 a = {w[s]};
    for (int i = 0; i < 2; i++) z.part[i] = neon_tile(z.part[i], a.part[i], x + 4 * s);
  }
  return z.whole;
}

#if defined(__ARM_FEATURE_MATMUL_INT8)

/* The matrix instruction multiplies 2 rows of 8 by 2 rows of 8. */
#define DS4_HAS_TILE_TWO
DS4_INLINE void tile_two(const i8x32 *w, const int8_t *x0, const int8_t *x1, const uint32_t n_steps,
                         i32x8 sum[2]) {
  int32x4_t acc[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  for (uint32_t s = 0; s < n_steps; s += 2) {
    neon_i8x32 a = {w[s]}, b = {w[s + 1]};
    const int8x16_t x = vcombine_s8(vld1_s8(x0 + 4 * s), vld1_s8(x1 + 4 * s));
    for (int i = 0; i < 2; i++) {
      const int32x4_t p = vreinterpretq_s32_s8(a.part[i]), q = vreinterpretq_s32_s8(b.part[i]);
      acc[2 * i] = vmmlaq_s32(acc[2 * i], vreinterpretq_s8_s32(vzip1q_s32(p, q)), x);
      acc[2 * i + 1] = vmmlaq_s32(acc[2 * i + 1], vreinterpretq_s8_s32(vzip2q_s32(p, q)), x);
    }
  }
  neon_i32x8 first, second;
  for (int i = 0; i < 2; i++) {
    first.part[i] = vuzp1q_s32(acc[2 * i], acc[2 * i + 1]);
    second.part[i] = vuzp2q_s32(acc[2 * i], acc[2 * i + 1]);
  }
  sum[0] = first.whole;
  sum[1] = second.whole;
}

#endif

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

DS4_INLINE i32x8 dot32_unsigned(i32x8 acc, i8x32 w, i8x32 x, i16x16 scale) {
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

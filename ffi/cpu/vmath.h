/* Our own exp and log: the same bits on every machine, which no libm promises. */
#ifndef DS4_VMATH_H
#define DS4_VMATH_H

#include "simd.h"

/* e^x within 1 ulp: x = n ln 2 + r, a polynomial in r (Cephes expf), times 2^n in two exact steps
 * so that results below 2^-126 are rounded once. */
DS4_INLINE f32x16 exp16(f32x16 x) {
  const f32x16 lowest = splat16(-104.0f), highest = splat16(89.0f);
  x = select16(x < lowest, lowest, x);
  x = select16(x > highest, highest, x);
  const f32x16 shifted = fma16(x, splat16(1.44269504f), splat16(0x1.8p23f));
  const f32x16 n = shifted - 0x1.8p23f;
  f32x16 r = fma16(n, splat16(-0.693145751953125f), x);
  r = fma16(n, splat16(-1.42860682e-6f), r);
  f32x16 p = splat16(1.9875691500e-4f);
  p = fma16(p, r, splat16(1.3981999507e-3f));
  p = fma16(p, r, splat16(8.3334519073e-3f));
  p = fma16(p, r, splat16(4.1665795894e-2f));
  p = fma16(p, r, splat16(1.6666665459e-1f));
  p = fma16(p, r, splat16(5.0000001201e-1f));
  p = fma16(p, r * r, r) + 1.0f;
  const i32x16 power = (i32x16)shifted - 0x4b400000, half = power >> 1;
  return p * (f32x16)((half + 127) << 23) * (f32x16)((power - half + 127) << 23);
}

DS4_INLINE float exp1(float x) { return exp16(splat16(x))[0]; }

DS4_INLINE f32x16 sigmoid16(f32x16 x) { return 1.0f / (1.0f + exp16(-x)); }

/* a σ(a) · u with a = min(gate, clamp) and u = up within ±clamp. A NaN stays NaN. */
DS4_INLINE f32x16 swiglu16(f32x16 gate, f32x16 up, float clamp) {
  const f32x16 most = splat16(clamp), least = splat16(-clamp);
  const f32x16 a = select16(gate > most, most, gate);
  f32x16 u = select16(up > most, most, up);
  u = select16(u < least, least, u);
  return a / (1.0f + exp16(-a)) * u;
}

/* ln x for positive normal x, within 2^-40: x = m 2^e, ln m = 2 atanh((m - 1) / (m + 1)). */
DS4_INLINE double log_f64(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int32_t e = (int32_t)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e++;
  }
  const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
  double p = 1.0 / 17.0;
  for (int k = 15; k >= 1; k -= 2) p = p * s2 + 1.0 / k;
  return 2.0 * s * p + e * 0.6931471805599453;
}

/* ln(1 + y), y ≥ 0: in f64 the sum keeps what an f32 result can show, until y is very small. */
DS4_INLINE double log1p_f64(double y) { return y < 0x1p-20 ? y - 0.5 * y * y : log_f64(1.0 + y); }

#endif

/* Vectors, and all that an instruction set may say about them. Kernels use vectors of fixed width
 * whatever the machine has, so their sums have the same order, and the same bits, everywhere.
 *
 * To add an instruction set, write simd_<isa>.h with the functions of the list below, and add its
 * line to build.zig and to dispatch.c. Its second line, `cc: flags`, is for builds without Zig.
 *
 *   fma8, fma16     a·b + c in every lane, rounded once
 *   widen_f16       16 halves to f32, exact; widen_f16_lanes the same of a vector
 *   f16_at          one half at any address
 *   dot32           Σ_{j<4} w[4i + j] · x[4i + j] in lane i of 8, exact; |x| ≤ 127
 *   dot16           a[2i] · b[2i] + a[2i + 1] · b[2i + 1] in lane i of 8, exact
 *   dot32_scaled    acc[i] + scale[2i] · dot32, for 0 ≤ w ≤ 127; scale[2i] = scale[2i + 1]
 *   with_sign       x or -x, as the sign of ±1 says
 *   lookup16        table[index] for indices below 16
 *   join4           four numbers from four places
 *   totals          Σ of the lanes of four vectors
 *
 * Where every code is signed anyway (no DS4_WIDE_CODES), with_sign, join4 and the tiles but
 * tile_signed are made of the others below.
 *
 * A tile holds 8 weight rows side by side, or DS4_TILE_LANES: w[s] has elements 4s to 4s + 3 of
 * each, x is one row. These give acc[i] + scale[2i] · Σ_s Σ_j w[s][4i + j] · x[4s + j]:
 *   tile_small      for w ≥ 0 and n_steps · w · |x| < 2^14
 *   tile_unsigned   for 0 ≤ w ≤ 127
 *   tile_plain      as tile_small with scale 1; for any bytes, taken as unsigned, if DS4_WIDE_CODES
 *   tile_signed     for any w, with scale 1 and acc 0; not needed if DS4_WIDE_CODES
 *   tile_two        if DS4_HAS_TILE_TWO: tile_signed of two rows of x
 * and with DS4_TILE_LANES two more, as wide as a tile: tile_fma and tile_dot16, which are fma8 and
 * dot16 where it is not defined. */
#ifndef DS4_SIMD_H
#define DS4_SIMD_H

#include "cpu.h"

#define DS4_INLINE static inline __attribute__((always_inline))
/* Before a loop of constant length whose vectors must stay in registers. */
#if defined(__clang__)
#define DS4_UNROLL _Pragma("clang loop unroll(full)")
#define DS4_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define DS4_UNROLL _Pragma("GCC unroll 16")
#define DS4_NO_UNROLL _Pragma("GCC unroll 1")
#endif
/* From here on the compiler knows no more of v than that it lies in memory. */
#define DS4_IN_MEMORY(v) __asm__ volatile("" : "+m"(v))

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint8_t u8x8 __attribute__((vector_size(8)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef uint64_t u64x4 __attribute__((vector_size(32)));
typedef int16_t i16x16 __attribute__((vector_size(32)));
typedef int8_t i8x32 __attribute__((vector_size(32)));
typedef uint8_t u8x32 __attribute__((vector_size(32)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef int16_t i16x32 __attribute__((vector_size(64)));
typedef int8_t i8x64 __attribute__((vector_size(64)));

#define DS4_LOAD(type, p) ds4_load_##type(p)
#define DS4_DEFINE_LOAD(type)                      \
  DS4_INLINE type ds4_load_##type(const void *p) { \
    type v;                                        \
    memcpy(&v, p, sizeof v);                       \
    return v;                                      \
  }                                                \
  DS4_INLINE void ds4_store_##type(void *p, type v) { memcpy(p, &v, sizeof v); }
DS4_DEFINE_LOAD(u8x16)
DS4_DEFINE_LOAD(f32x4)
DS4_DEFINE_LOAD(f32x8)
DS4_DEFINE_LOAD(i32x8)
DS4_DEFINE_LOAD(u32x8)
DS4_DEFINE_LOAD(f32x16)
DS4_DEFINE_LOAD(i32x16)
DS4_DEFINE_LOAD(i16x16)
DS4_DEFINE_LOAD(i8x32)
DS4_DEFINE_LOAD(u8x32)
DS4_DEFINE_LOAD(u64x4)
DS4_DEFINE_LOAD(u16x16)
DS4_DEFINE_LOAD(i16x32)
DS4_DEFINE_LOAD(i8x64)

#define DS4_INF_BITS 0x7f800000u
#define DS4_NAN_BITS 0x7fc00000u

DS4_INLINE float float_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
DS4_INLINE uint32_t bits_of(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

/* The half at p by its bits. */
DS4_INLINE float f16_at_bits(const void *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
  if (magnitude < 1u << 23)
    return float_of(sign | bits_of(float_of(magnitude + (113u << 23)) - 0x1p-14f));
  const uint32_t top = magnitude >= 31u << 23 ? 224u : 112u;
  return float_of(sign | (magnitude + (top << 23)));
}

/* 16 halves by their bits: subnormals by an exact subtraction. */
DS4_INLINE f32x16 widen_f16_bits(u16x16 h) {
  const u32x16 x = __builtin_convertvector(h, u32x16);
  const u32x16 magnitude = (x & 0x7fff) << 13;
  const u32x16 is_small = (u32x16)(magnitude < (1u << 23)),
               is_huge = (u32x16)(magnitude >= (31u << 23));
  const u32x16 normal = magnitude + (112u << 23) + (is_huge & (112u << 23));
  const f32x16 small = (f32x16)(magnitude + (113u << 23)) - 0x1p-14f;
  return (f32x16)((normal & ~is_small) | ((u32x16)small & is_small) | (x & 0x8000) << 16);
}

#define DS4_SIMD_TEXT(x) #x
#define DS4_SIMD_NAME(isa) DS4_SIMD_TEXT(simd_##isa.h)
#define DS4_SIMD_FILE(isa) DS4_SIMD_NAME(isa)
#include DS4_SIMD_FILE(DS4_ISA)

/* --- portable from here on --- */

/* What an instruction set that says nothing of DS4_WIDE_CODES has no own way for. */
#if !defined(DS4_WIDE_CODES)
#define DS4_WIDE_CODES 0
DS4_INLINE i8x32 with_sign(i8x32 x, i8x32 sign) {
  const i8x32 minus = sign < 0;
  return (x ^ minus) - minus;
}

DS4_INLINE u64x4 join4(const uint64_t *a, const uint64_t *b, const uint64_t *c, const uint64_t *d) {
  return (u64x4){*a, *b, *c, *d};
}

DS4_INLINE i32x8 tile_unsigned(i32x8 acc, const i8x32 *w, const int8_t *x, const uint32_t n_steps,
                               i16x16 scale) {
  return acc + tile_signed(w, x, n_steps) * ((i32x8)scale >> 16);
}
#define tile_small tile_unsigned
DS4_INLINE i32x8 tile_plain(i32x8 acc, const i8x32 *w, const int8_t *x, const uint32_t n_steps) {
  return acc + tile_signed(w, x, n_steps);
}
#endif

/* Whether two dozen sums of f32x16 stay in registers; else half a dozen do. */
#if !defined(DS4_BIG_TILES)
#define DS4_BIG_TILES 0
#endif

/* The weight rows of a tile that a vector holds, four elements of each. */
#if !defined(DS4_TILE_LANES)
#define DS4_TILE_LANES 8
#define tile_fma fma8
#define tile_dot16 dot16
#endif
typedef int8_t tile_i8 __attribute__((vector_size(4 * DS4_TILE_LANES)));
typedef int16_t tile_i16 __attribute__((vector_size(4 * DS4_TILE_LANES)));
typedef int32_t tile_i32 __attribute__((vector_size(4 * DS4_TILE_LANES)));
typedef float tile_f32 __attribute__((vector_size(4 * DS4_TILE_LANES)));
DS4_DEFINE_LOAD(tile_i8)
DS4_DEFINE_LOAD(tile_i16)
DS4_DEFINE_LOAD(tile_f32)

/* Asks for what will be read soon; any address may be asked for. */
DS4_INLINE void prefetch(const void *p) { __builtin_prefetch(p, 0, 3); }

/* The 4 bytes at p in every lane of 32 bits. */
DS4_INLINE u32x8 splat_bytes(const void *p) {
  uint32_t four;
  memcpy(&four, p, sizeof four);
  return (u32x8){0} + four;
}
DS4_INLINE u8x32 twice(u8x16 v) {
  return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1,
                                 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
DS4_INLINE u8x16 doubled_bytes(uint64_t eight) {
  u8x8 v;
  memcpy(&v, &eight, sizeof v);
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}

DS4_INLINE f32x16 splat16(float v) {
  return (f32x16){v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
}
DS4_INLINE f32x8 splat8(float v) { return (f32x8){v, v, v, v, v, v, v, v}; }

/* mask ? a : b, lane by lane; masks are what comparisons give. */
DS4_INLINE f32x16 select16(i32x16 mask, f32x16 a, f32x16 b) {
  return (f32x16)((mask & (i32x16)a) | (~mask & (i32x16)b));
}
/* The smaller; b where a is NaN. */
DS4_INLINE f32x16 min16(f32x16 a, f32x16 b) { return select16(a < b, a, b); }
/* The greater; b where a is NaN. */
DS4_INLINE f32x16 max16(f32x16 a, f32x16 b) { return select16(a > b, a, b); }

/* The first n floats at p, then zeros. */
DS4_INLINE f32x16 load_part(const float *p, uint64_t n) {
  float part[16] = {0};
  memcpy(part, p, n * sizeof *p);
  return DS4_LOAD(f32x16, part);
}
DS4_INLINE f32x16 load_upto16(const float *p, uint64_t n) {
  return n >= 16 ? DS4_LOAD(f32x16, p) : load_part(p, n);
}
DS4_INLINE void store_upto16(float *p, f32x16 v, uint64_t n) {
  if (n >= 16) ds4_store_f32x16(p, v);
  else memcpy(p, &v, n * sizeof *p);
}

/* The one tree of all sums: halves are added until one lane is left. */
DS4_INLINE float sum8(f32x8 v) {
  const float a = v[0] + v[4], b = v[1] + v[5], c = v[2] + v[6], d = v[3] + v[7];
  return (a + c) + (b + d);
}
DS4_INLINE float sum4(f32x4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }
DS4_INLINE f32x8 low8(f32x16 v) {
  f32x8 half;
  memcpy(&half, &v, sizeof half);
  return half;
}
DS4_INLINE f32x8 high8(f32x16 v) {
  f32x8 half;
  memcpy(&half, (const char *)&v + sizeof half, sizeof half);
  return half;
}
DS4_INLINE float sum16(f32x16 v) { return sum8(low8(v) + high8(v)); }

/* Largest |lane| as bits, which order like the magnitudes they stand for, with NaN above all. */
DS4_INLINE uint32_t max_bits16(u32x16 v) {
  uint32_t most = 0;
  for (int i = 0; i < 16; i++) most = v[i] > most ? v[i] : most;
  return most;
}
DS4_INLINE uint32_t max_abs_bits(const float *x, uint32_t n) {
  u32x16 most = {0};
  for (uint32_t i = 0; i < n; i += 16) {
    const u32x16 v = (u32x16)load_upto16(x + i, n - i) & 0x7fffffffu;
    const u32x16 more = (u32x16)(v > most);
    most = (v & more) | (most & ~more);
  }
  return max_bits16(most);
}
/* The nearest half, ties to even. */
DS4_INLINE uint16_t f16_bits(float x) {
  const uint32_t sign = bits_of(x) >> 16 & 0x8000, u = bits_of(x) & 0x7fffffffu;
  if (u > DS4_INF_BITS) return (uint16_t)(sign | 0x7e00);
  if (u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00);
  if (u < 0x38800000u) return (uint16_t)(sign | (bits_of(float_of(u) + 0.5f) - bits_of(0.5f)));
  return (uint16_t)(sign | (u + 0xfff + (u >> 13 & 1) - (112u << 23)) >> 13);
}

#endif

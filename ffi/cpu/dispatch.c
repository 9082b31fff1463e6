/* Which instruction sets this machine has. A variant is offered only if every feature that its
 * object is built with (build.zig) is here and the operating system keeps its registers: an
 * untested bit is a SIGILL on somebody's machine. To add a variant, declare it and add its row. */
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

typedef struct {
  const ds4_kernels *kernels;
  bool (*here)(void);
} variant;

static bool always(void) { return true; }

extern const ds4_kernels ds4_kernels_scalar;

#if defined(__x86_64__)

extern const ds4_kernels ds4_kernels_avx2;
extern const ds4_kernels ds4_kernels_avx512;

static bool has(uint32_t reg, uint32_t bits) { return (reg & bits) == bits; }

static uint32_t xcr0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

/* x86-64-v3: AVX2, FMA, F16C, BMI1, BMI2, LZCNT, MOVBE over SSE4.2, POPCNT, CX16, LAHF. */
static bool has_avx2(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  const uint32_t sse = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;
  const uint32_t avx = 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29;
  if (!has(c, sse | avx) || !has(xcr0(), 6)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(b, 1u << 3 | 1u << 5 | 1u << 8))
    return false;
  return __get_cpuid(0x80000001u, &a, &b, &c, &d) && has(c, 1u << 0 | 1u << 5);
}

/* x86-64-v4: AVX-512 F, CD, BW, DQ, VL; and VBMI, VNNI, GFNI. */
static bool has_avx512(void) {
  uint32_t a, b, c, d;
  if (!has_avx2() || !has(xcr0(), 0xe6) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  return has(b, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31) &&
         has(c, 1u << 1 | 1u << 8 | 1u << 11);
}

static const variant rows[] = {
    {&ds4_kernels_scalar, always},
    {&ds4_kernels_avx2, has_avx2},
    {&ds4_kernels_avx512, has_avx512},
};

#else

extern const ds4_kernels ds4_kernels_neon;
extern const ds4_kernels ds4_kernels_neon_dotprod;
extern const ds4_kernels ds4_kernels_neon_i8mm;

/* A bit of AT_HWCAP or AT_HWCAP2, or a name of sysctl. */
static bool has_feature(unsigned long hwcap, unsigned long hwcap2, const char *name) {
#if defined(__linux__)
  (void)name;
  return (getauxval(AT_HWCAP) & hwcap) == hwcap && (getauxval(AT_HWCAP2) & hwcap2) == hwcap2;
#elif defined(__APPLE__)
  (void)hwcap, (void)hwcap2;
  int yes = 0;
  size_t size = sizeof yes;
  return sysctlbyname(name, &yes, &size, NULL, 0) == 0 && yes;
#else
  (void)hwcap, (void)hwcap2, (void)name;
  return false;
#endif
}

static bool has_dotprod(void) { return has_feature(1ul << 20, 0, "hw.optional.arm.FEAT_DotProd"); }
static bool has_i8mm(void) {
  return has_dotprod() && has_feature(0, 1ul << 13, "hw.optional.arm.FEAT_I8MM");
}

static const variant rows[] = {
    {&ds4_kernels_scalar, always},
    {&ds4_kernels_neon, always},
    {&ds4_kernels_neon_dotprod, has_dotprod},
    {&ds4_kernels_neon_i8mm, has_i8mm},
};

#endif

#define N_ROWS (sizeof rows / sizeof rows[0])

const ds4_kernels *const *ds4_variants(uint32_t *n) {
  static const ds4_kernels *found[N_ROWS];
  *n = 0;
  for (uint32_t i = 0; i < N_ROWS; i++)
    if (rows[i].here()) found[(*n)++] = rows[i].kernels;
  return found;
}

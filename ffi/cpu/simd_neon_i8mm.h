/* AArch64 with the 8-bit dot product and matrix instructions: simd_neon.h uses them where they are.
 * cc: -march=armv8.2-a+dotprod+i8mm */
#if !defined(__ARM_FEATURE_DOTPROD) || !defined(__ARM_FEATURE_MATMUL_INT8)
#error "the neon_i8mm variant is not compiled with dotprod and i8mm"
#endif
#include "simd_neon.h"

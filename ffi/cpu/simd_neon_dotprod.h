/* AArch64 with the 8-bit dot product instructions: simd_neon.h uses them where they are.
 * cc: -march=armv8.2-a+dotprod */
#if !defined(__ARM_FEATURE_DOTPROD)
#error "the neon_dotprod variant is not compiled with dotprod"
#endif
#include "simd_neon.h"

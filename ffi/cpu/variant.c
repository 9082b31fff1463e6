/* The kernels of one instruction set. */
#include "cpu.h"

#define DS4_TEXT_(x) #x
#define DS4_TEXT(x) DS4_TEXT_(x)

#define DS4_DECLARE(name) ds4_status DS4_FN(name)(ds4_ctx * ctx, const ds4_##name##_args *a);
DS4_OPS(DS4_DECLARE)

#define DS4_ENTRY(name) .name = DS4_FN(name),
/* Exported: Mach-O objects of several files lose their hidden symbols. */
extern DS4_API const ds4_kernels DS4_FN(kernels);
const ds4_kernels DS4_FN(kernels) = {.isa = DS4_TEXT(DS4_ISA), DS4_OPS(DS4_ENTRY)};

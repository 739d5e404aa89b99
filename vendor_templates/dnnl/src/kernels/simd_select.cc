#include "simd.h"

namespace byoc::onednn {

namespace generic {
extern const RowKernels kRows;
}
#ifdef BYOC_HAVE_X86_SIMD
namespace avx2 {
extern const RowKernels kRows;
}
namespace avx512 {
extern const RowKernels kRows;
}
#endif

const RowKernels& Rows() {
#ifdef BYOC_HAVE_X86_SIMD
  static const RowKernels& chosen = [&]() -> const RowKernels& {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      return avx512::kRows;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kRows;
    return generic::kRows;
  }();
  return chosen;
#else
  return generic::kRows;
#endif
}

}  // namespace byoc::onednn

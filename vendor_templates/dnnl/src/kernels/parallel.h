/// \file parallel.h
/// \brief Loops over OpenMP's team, the same one that oneDNN uses.
///
/// A loop runs on all threads or on one: teams of changing size cost more than they save.
#ifndef BYOC_DNNL_KERNELS_PARALLEL_H_
#define BYOC_DNNL_KERNELS_PARALLEL_H_

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace byoc::onednn {

/// Below this many elements of work, waking the team costs more than the work.
inline constexpr int64_t kSerialWork = 8192;

/// Call `body(begin, end)` on disjoint parts of [0, count).
/// \param work Elements touched per item.
template <typename Body>
void ParallelFor(int64_t count, int64_t work, const Body& body) {
  if (count <= 1 || count * std::max<int64_t>(work, 1) < kSerialWork ||
      omp_get_max_threads() == 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
#pragma omp parallel
  {
    int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    int64_t begin = count * me / threads, end = count * (me + 1) / threads;
    if (begin < end) body(begin, end);
  }
}

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_PARALLEL_H_

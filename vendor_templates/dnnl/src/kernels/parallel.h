/// \file parallel.h
/// \brief Loops over byoc's threads, the same ones that oneDNN uses.
///
/// A loop runs on all threads or on one: teams of changing size cost more than they save.
#ifndef BYOC_DNNL_KERNELS_PARALLEL_H_
#define BYOC_DNNL_KERNELS_PARALLEL_H_

#include <algorithm>
#include <cstdint>

#include "byoc/threads.h"

namespace byoc::onednn {

/// Below this many elements of work, waking the team costs more than the work.
inline constexpr int64_t kSerialWork = 8192;

/// Call `body(begin, end)` on disjoint parts of [0, count).
/// \param work Elements touched per item.
template <typename Body>
void ParallelFor(int64_t count, int64_t work, const Body& body) {
  if (count <= 1 || count * std::max<int64_t>(work, 1) < kSerialWork || threads::Max() == 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  struct Loop {
    const Body& body;
    int64_t count;
  } loop{body, count};
  threads::Parallel(
      [](void* data) {
        const auto& [body, count] = *static_cast<const Loop*>(data);
        const int64_t ids = threads::Count(), me = threads::Id();
        const int64_t begin = count * me / ids, end = count * (me + 1) / ids;
        if (begin < end) body(begin, end);
      },
      &loop);
}

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_PARALLEL_H_

/// \file memory_plan.h
/// \brief Give buffers offsets in one arena so that those alive together do not overlap.
#ifndef BYOC_DNNL_MEMORY_PLAN_H_
#define BYOC_DNNL_MEMORY_PLAN_H_

#include <cstdint>
#include <vector>

namespace byoc::onednn {

/// How long one buffer is needed: from step `first` to step `last`, both included.
struct Lifetime {
  int64_t size;  ///< bytes; 0: needs no memory of the arena
  int first, last;
};

/// Where each buffer lies in the arena.
struct MemoryPlan {
  std::vector<int64_t> offsets;  ///< per lifetime, in bytes, multiples of 64
  int64_t size = 0;              ///< bytes of the whole arena
};

/// Plan an arena in which buffers alive at the same step never overlap.
///
/// The plan depends on nothing but the lifetimes: equal lists give equal plans. Takes time that
/// grows with the square of the number of buffers.
MemoryPlan PlanMemory(const std::vector<Lifetime>& lifetimes);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_MEMORY_PLAN_H_

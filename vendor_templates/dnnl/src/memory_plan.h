/*!
 * \file memory_plan.h
 * \brief Give buffers places in one arena so that those alive together do not overlap.
 */
#ifndef BYOC_DNNL_MEMORY_PLAN_H_
#define BYOC_DNNL_MEMORY_PLAN_H_

#include <cstdint>
#include <vector>

namespace byoc::onednn {

/*! \brief A buffer alive from step `first` to step `last`, both included. */
struct Lifetime {
  int64_t size;  // bytes; 0: needs no place
  int first, last;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // per lifetime, multiples of 64
  int64_t size = 0;
};

MemoryPlan PlanMemory(const std::vector<Lifetime>& lifetimes);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_MEMORY_PLAN_H_

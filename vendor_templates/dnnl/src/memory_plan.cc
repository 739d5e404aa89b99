// Greedy by size: the largest buffer first, each at the lowest gap that is free for its whole
// life.
//
//   offset ▲  ┌───────┐ c
//          │  │   b   ├────┐      a, b and c live together; d takes the place
//          │  ├───┬───┴────┤      that a left
//          │  │ a │   d    │
//          └──┴───┴────────┴─▶ steps
#include "memory_plan.h"

#include <algorithm>
#include <numeric>

namespace byoc::onednn {

MemoryPlan PlanMemory(const std::vector<Lifetime>& lifetimes) {
  constexpr int64_t kLine = 64;
  auto rounded = [](int64_t size) { return (size + kLine - 1) / kLine * kLine; };
  std::vector<int> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return lifetimes[a].size > lifetimes[b].size; });

  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), 0);
  std::vector<int> placed;  // by offset
  for (int i : order) {
    const Lifetime& life = lifetimes[i];
    if (life.size == 0) continue;
    int64_t size = rounded(life.size), offset = 0;
    for (int other : placed) {
      const Lifetime& taken = lifetimes[other];
      if (taken.last < life.first || life.last < taken.first) continue;
      if (plan.offsets[other] >= offset + size) break;
      offset = std::max(offset, plan.offsets[other] + rounded(taken.size));
    }
    plan.offsets[i] = offset;
    plan.size = std::max(plan.size, offset + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](int a, int b) { return plan.offsets[a] < plan.offsets[b]; }),
                  i);
  }
  return plan;
}

}  // namespace byoc::onednn

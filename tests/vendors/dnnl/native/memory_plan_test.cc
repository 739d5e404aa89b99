#include "memory_plan.h"

#include "check.h"

namespace byoc::onednn {
namespace {

TEST(MemoryIsReusedOverTime) {
  // A chain: each buffer lives for two steps.
  std::vector<Lifetime> chain;
  for (int i = 0; i < 20; ++i) chain.push_back({1000, i, i + 1});
  CHECK_EQ(PlanMemory(chain).size, 2 * 1024);
}

TEST(MemoryAliveTogetherNeverOverlaps) {
  uint32_t seed = 1;
  auto random = [&](int below) {
    seed = seed * 1664525u + 1013904223u;
    return static_cast<int>((seed >> 8) % static_cast<uint32_t>(below));
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<Lifetime> lives;
    for (int i = 0; i < 60; ++i) {
      int first = random(40);
      lives.push_back({random(5000), first, first + random(8)});
    }
    MemoryPlan plan = PlanMemory(lives);
    for (size_t a = 0; a < lives.size(); ++a) {
      if (lives[a].size == 0) continue;
      CHECK_EQ(plan.offsets[a] % 64, 0);
      CHECK(plan.offsets[a] + lives[a].size <= plan.size);
      for (size_t b = 0; b < a; ++b) {
        bool together = lives[a].first <= lives[b].last && lives[b].first <= lives[a].last;
        bool apart = plan.offsets[a] + lives[a].size <= plan.offsets[b] ||
                     plan.offsets[b] + lives[b].size <= plan.offsets[a] || lives[b].size == 0;
        CHECK(!together || apart);
      }
    }
  }
}

TEST(MemoryOfNothingIsNothing) { CHECK_EQ(PlanMemory({{0, 0, 5}}).size, 0); }

}  // namespace
}  // namespace byoc::onednn

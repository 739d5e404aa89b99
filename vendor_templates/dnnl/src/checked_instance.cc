#include "checked_instance.h"

#include "byoc/threads.h"
#include "fork_gate.h"

namespace byoc::onednn {

CheckedInstance::CheckedInstance(Build build) : build_(std::move(build)), fast_(build_(false)) {}

const Instance& CheckedInstance::Exact() const {
  if (const Instance* built = exact_.load(std::memory_order_acquire)) return *built;
  ForkGate gate;
  std::lock_guard<std::mutex> lock(building_);
  if (exact_.load(std::memory_order_relaxed) == nullptr) {
    exact_.store(new Instance(build_(true)), std::memory_order_release);
  }
  return *exact_.load(std::memory_order_relaxed);
}

CheckedInstance::~CheckedInstance() { delete exact_.load(std::memory_order_acquire); }

void CheckedInstance::Run(void* const* inputs, void* const* outputs) const {
  if (!fast_.loses_nan()) return fast_.Run(inputs, outputs);
  threads::TakeInvalid();  // who called us may have left a mark
  const bool expected = expects_nan_.load(std::memory_order_relaxed);
  if (!expected) {
    fast_.Run(inputs, outputs);
    if (!threads::TakeInvalid()) return;
  }
  const Instance& exact = Exact();
  threads::TakeInvalid();  // building computes, too
  exact.Run(inputs, outputs);
  const bool met = threads::TakeInvalid();
  expects_nan_.store(met, std::memory_order_relaxed);
}

}  // namespace byoc::onednn

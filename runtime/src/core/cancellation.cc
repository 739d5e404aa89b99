#include "core/cancellation.h"

#include <algorithm>
#include <utility>

#include "core/pending_call.h"

namespace byoc {

void Cancellation::Cancel() {
  std::vector<std::shared_ptr<Cancellable>> told;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (set_.exchange(true, std::memory_order_acq_rel)) return;
    told = inner_;
  }
  for (const auto& inner : told) inner->Cancel();  // a vendor's code: no lock is held
}

void Cancellation::Add(const std::shared_ptr<Cancellable>& inner) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    inner_.push_back(inner);
    if (!set_.load(std::memory_order_relaxed)) return;
  }
  inner->Cancel();
}

void Cancellation::Remove(const Cancellable* inner) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto at = std::find_if(inner_.begin(), inner_.end(),
                               [inner](const auto& known) { return known.get() == inner; });
  if (at != inner_.end()) inner_.erase(at);
}

void Cancellation::Abandon(std::shared_ptr<PendingCall> call) {
  std::lock_guard<std::mutex> lock(mutex_);
  abandoned_.push_back(std::move(call));
  has_abandoned_.store(true, std::memory_order_release);
}

void Cancellation::LeaveMemory(const std::shared_ptr<void>& memory) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& call : abandoned_) call->Keep(memory);
}

}  // namespace byoc

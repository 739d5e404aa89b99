/// \file
/// Waiting on a futex: the one primitive under queues and calls.
#ifndef BYOC_RUNTIME_EVENT_H_
#define BYOC_RUNTIME_EVENT_H_

#include <atomic>
#include <cstdint>

#include "threads/futex.h"

namespace byoc {

/// Returns how many rounds of `CpuRelax` to spin before sleeping: some microseconds, shorter than
/// waking up takes. None on a single core, or when OMP_WAIT_POLICY asks for passive waiting.
int SpinRounds();

/// A flag that one thread sets once and one other thread waits for.
class Event {
 public:
  /// Whether `Set` was called. Any thread.
  bool IsSet() const { return state_.load(std::memory_order_acquire) == kSet; }

  /// Sets the flag and wakes the waiter, which may destroy the event at once.
  void Set() {
    // The waiter may return and destroy *this as soon as the exchange is visible; waking an
    // address that is gone is harmless.
    if (state_.exchange(kSet, std::memory_order_acq_rel) == kAsleep) FutexWake(&state_);
  }

  /// Waits until the flag is set: spins for some microseconds, then sleeps.
  void Wait() {
    for (int i = SpinRounds(); i > 0; --i) {
      if (IsSet()) return;
      CpuRelax();
    }
    uint32_t seen = kUnset;
    state_.compare_exchange_strong(seen, kAsleep, std::memory_order_acq_rel);
    while (!IsSet()) FutexWait(&state_, kAsleep);
  }

 private:
  enum : uint32_t { kUnset, kSet, kAsleep };
  std::atomic<uint32_t> state_{kUnset};
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_EVENT_H_

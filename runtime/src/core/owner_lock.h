/// \file
/// The lock of a processor: who holds it runs a job there, so there is one at a time.
#ifndef BYOC_RUNTIME_OWNER_LOCK_H_
#define BYOC_RUNTIME_OWNER_LOCK_H_

#include <atomic>
#include <cstdint>

#include "core/event.h"

namespace byoc {

/// A mutex that spins for some microseconds before it sleeps. Any thread; not recursive, not fair.
class OwnerLock {
 public:
  /// Takes the lock if it is free; waits for nothing.
  bool TryAcquire() {
    uint32_t seen = kFree;
    return state_.compare_exchange_strong(seen, kTaken, std::memory_order_seq_cst);
  }

  /// Takes the lock, waiting as long as it takes.
  void Acquire() {
    for (int i = SpinRounds(); i >= 0; --i) {
      if (TryAcquire()) return;
      CpuRelax();
    }
    while (state_.exchange(kAwaited, std::memory_order_seq_cst) != kFree) {
      FutexWait(&state_, kAwaited);
    }
  }

  /// Gives the lock back; by the thread that has it.
  void Release() {
    if (state_.exchange(kFree, std::memory_order_release) == kAwaited) FutexWake(&state_);
  }

  /// Whether nobody has the lock; may be out of date.
  bool IsFree() const { return state_.load(std::memory_order_acquire) == kFree; }

 private:
  enum : uint32_t { kFree, kTaken, kAwaited };
  std::atomic<uint32_t> state_{kFree};
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_OWNER_LOCK_H_

/// \file
/// Waiting on a futex: the one primitive under queues and calls.
#ifndef BYOC_RUNTIME_EVENT_H_
#define BYOC_RUNTIME_EVENT_H_

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>

namespace byoc {

/// Tells the core that this is a spin loop.
inline void CpuRelax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

/// Returns the time in ns of the steady clock (CLOCK_MONOTONIC: Python's time.monotonic_ns).
inline int64_t SteadyNow() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Sleeps while `*word == expected`; may return early.
inline void FutexWait(const std::atomic<uint32_t>* word, uint32_t expected) {
  static_assert(sizeof(std::atomic<uint32_t>) == 4);
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

/// Wakes every thread that sleeps on `word`.
inline void FutexWake(const std::atomic<uint32_t>* word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

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

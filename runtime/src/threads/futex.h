/// \file
/// Spinning and sleeping: what every wait of the runtime is made of.
#ifndef BYOC_RUNTIME_THREADS_FUTEX_H_
#define BYOC_RUNTIME_THREADS_FUTEX_H_

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

}  // namespace byoc

#endif  // BYOC_RUNTIME_THREADS_FUTEX_H_

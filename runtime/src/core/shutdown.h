/// \file
/// The end of the process: a flag that is set before what jobs rely on is torn down.
///
/// CPython before 3.14 ends a daemon thread that asks for its lock at exit by unwinding it; that
/// aborts the process when there are C++ frames below. So a thread that would go back to Python
/// after the flag is set sleeps instead, until the process is gone.
#ifndef BYOC_RUNTIME_SHUTDOWN_H_
#define BYOC_RUNTIME_SHUTDOWN_H_

#include <sys/types.h>
#include <unistd.h>

#include <atomic>

namespace byoc {
namespace shutdown {

namespace details {
inline std::atomic<bool> begun{false};
inline std::atomic<pid_t> thread{0};  // the one that called Begin
}  // namespace details

/// Sets the flag, for good; the calling thread is the one that goes on.
inline void Begin() {
  details::thread.store(gettid());
  details::begun.store(true, std::memory_order_seq_cst);
}

/// Whether `Begin` was called. Any thread.
inline bool HasBegun(std::memory_order order = std::memory_order_seq_cst) {
  return details::begun.load(order);
}

/// Sleeps until the process is gone.
[[noreturn]] inline void SleepForEver() {
  for (;;) pause();
}

/// Sleeps for ever once `Begin` was called, by another thread than this one.
inline void BlockOtherThreads() {
  if (!HasBegun(std::memory_order_acquire) || details::thread.load() == gettid()) return;
  SleepForEver();
}

}  // namespace shutdown
}  // namespace byoc

#endif  // BYOC_RUNTIME_SHUTDOWN_H_

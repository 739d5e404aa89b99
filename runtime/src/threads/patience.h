/// \file
/// How long to spin before sleeping: long on a quiet machine, hardly at all on a busy one.
///
/// A thread that spins keeps its core from others, maybe from the very thread it waits for. Whether
/// somebody else wants the cores cannot be asked cheaply, but it shows: the clock of a spinning
/// thread jumps by a time slice when another program was given its core, and a woken thread is late
/// when it has to queue for one. Either makes waits brief for a while, longer if it happens again::
///
///   spin ┄┄┄┄┄┄┄┄┄┄ sleep      quiet: half a millisecond of spinning
///   spin ┄┄  jump!  ┄ sleep    busy: for 5 ms (10, 20, … 640) spin 4 µs at most
///
/// A quiet machine disturbs, too: its interrupts and helpers of the kernel take up to 0.2 ms, which
/// is no reason to sleep, and now and then more. So times grow only where little spinning is enough
/// to be disturbed again: a thread that shares its core is off it after a time slice.
#ifndef BYOC_RUNTIME_THREADS_PATIENCE_H_
#define BYOC_RUNTIME_THREADS_PATIENCE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "threads/futex.h"

namespace byoc {
namespace threads {

/// What the threads of a team have learned about the machine. Any thread.
class Patience {
 public:
  /// Spins until `done()`, or until it is time to sleep.
  ///
  /// \return Whether it is done.
  template <typename Done>
  bool Spin(const Done& done) {
    const int64_t start = SteadyNow();
    const int64_t limit = start < busy_until_.load(std::memory_order_relaxed) ? kBusy : Quiet();
    for (int64_t last = start;;) {
      for (int i = 0; i < kRoundsPerLook; ++i) {
        if (done()) return true;
        if (limit == 0) return false;
        CpuRelax();
      }
      const int64_t now = SteadyNow();
      if (now - last > kJump && limit < kActive) {
        Disturbed(now);
        return done();
      }
      // Several threads may count at the same time, and lose some: it is a rough measure.
      const int64_t spun = spun_.load(std::memory_order_relaxed);
      if (limit > kBusy) spun_.store(spun + now - last, std::memory_order_relaxed);
      if (now - start > limit) return false;
      last = now;
    }
  }

  /// Notes that a thread woken at `since` is on a core only now.
  void Woken(int64_t since) {
    const int64_t now = SteadyNow();
    if (now - since > kLate) Disturbed(now);
  }

 private:
  static constexpr int64_t kActive = int64_t{10} * 1000 * 1000 * 1000;
  static constexpr int64_t kQuiet = 500 * 1000;  // as long as small networks need
  static constexpr int64_t kBusy = 4 * 1000;     // about what sleeping and waking take
  static constexpr int64_t kJump = 500 * 1000;   // more than an interrupt, less than a time slice
  static constexpr int64_t kLate = 500 * 1000;
  static constexpr int64_t kFirst = 5 * 1000 * 1000, kLongest = 128 * kFirst;
  static constexpr int64_t kSlices = 6 * 1000 * 1000;  // two time slices of Linux
  static constexpr int kRoundsPerLook = 32;

  static int64_t Quiet() {
    static const int64_t limit = [] {
      const char* policy = std::getenv("OMP_WAIT_POLICY");
      if (policy == nullptr) return kQuiet;
      return strcasecmp(policy, "passive") == 0  ? int64_t{0}
             : strcasecmp(policy, "active") == 0 ? kActive
                                                 : kQuiet;
    }();
    return limit;
  }

  void Disturbed(int64_t now) {
    const int64_t until = busy_until_.load(std::memory_order_relaxed);
    if (now < until) return;  // known already
    int64_t length = busy_for_.load(std::memory_order_relaxed);
    length = spun_.exchange(0, std::memory_order_relaxed) < kSlices ? std::min(2 * length, kLongest)
                                                                    : kFirst;
    busy_for_.store(length, std::memory_order_relaxed);
    busy_until_.store(now + length, std::memory_order_relaxed);
  }

  std::atomic<int64_t> busy_until_{0}, busy_for_{kFirst / 2};
  std::atomic<int64_t> spun_{0};  // since waits were last made brief
};

}  // namespace threads
}  // namespace byoc

#endif  // BYOC_RUNTIME_THREADS_PATIENCE_H_

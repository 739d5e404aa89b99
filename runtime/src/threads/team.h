/// \file
/// A thread and its workers: who runs which id of a region.
///
/// Ids are handed out by one atomic number, the ticket: the region's number, and how many ids
/// nobody has begun. Whoever takes one off it runs that id::
///
///   Start      ticket = (region 7, 3 left)     the calling thread runs id 0
///   worker     (7, 3) → (7, 2): runs id 3
///   Finish     (7, 2) → (7, 1): the calling thread runs id 2, then id 1; waits for the worker's
///
/// A region's number never comes back, so a worker that was away for long cannot take an id of
/// one region with what it read of another.
#ifndef BYOC_RUNTIME_THREADS_TEAM_H_
#define BYOC_RUNTIME_THREADS_TEAM_H_

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "byoc/threads.h"
#include "threads/patience.h"

namespace byoc {
namespace threads {

/// The workers of one thread. Every function but `Barrier` is for that thread alone.
class Team {
 public:
  Team() = default;
  /// Ends the workers.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// See `threads::Reserve`.
  int Reserve(int count);

  /// Begins a region with ids 0 to `count` − 1, of which the caller runs id 0. `max`: what `Max`
  /// is in the workers meanwhile.
  void Start(Body body, void* data, int count, int max);

  /// Runs the ids that are left, each after a call of `become(id)`; waits for the others.
  template <typename Become>
  void Finish(const Become& become) {
    while (const int id = Take()) {
      become(id);
      body_.load(std::memory_order_relaxed)(data_.load(std::memory_order_relaxed));
    }
    WaitForWorkers();
  }

  /// Waits until all ids of the region are here. Any thread of the region.
  void Barrier();

  /// Whether a worker's mark of an invalid operation was found; forgets it.
  bool TakeInvalid() { return invalid_.exchange(false, std::memory_order_relaxed); }

 private:
  static constexpr int kIdBits = 16;
  static constexpr uint64_t kIds = (uint64_t{1} << kIdBits) - 1;

  static void* Main(void* team);
  void Work();
  void AwaitRegion(uint64_t seen);
  void WaitForWorkers();
  /// Takes an id that nobody has begun, or 0.
  int Take();

  std::vector<pthread_t> workers_;
  Patience patience_;

  // What a region is; written while no id can be taken, read before one is.
  std::atomic<Body> body_{nullptr};
  std::atomic<void*> data_{nullptr};
  std::atomic<int> count_{1}, max_{1};
  std::atomic<int64_t> woken_at_{0};

  alignas(64) std::atomic<uint64_t> ticket_{0};  // the region's number, the ids left
  std::atomic<uint32_t> region_{0};              // what sleeping workers sleep on
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};

  alignas(64) std::atomic<uint32_t> unfinished_{0};  // ids that workers may have begun
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> invalid_{false};

  alignas(64) std::atomic<uint32_t> arrived_{0};  // at the barrier
  std::atomic<uint32_t> barriers_{0};             // passed
};

}  // namespace threads
}  // namespace byoc

#endif  // BYOC_RUNTIME_THREADS_TEAM_H_

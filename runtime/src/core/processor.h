/// \file
/// Processors: one thread per name that is at work, and the jobs that wait for it.
///
///   session A ──Submit──▶ [ job  job  job ] ─┐ in turn
///   session B ──Submit──▶ [ job ]           ─┴────────▶ thread "byoc:cpu"   (and its workers)
///   session A ──Submit──▶ [ job ]           ──────────▶ thread "byoc:npu"
///
/// Every session has a `SubmissionQueue` at each processor. Jobs of one queue run in order; queues
/// take turns, so a session with many requests in flight does not shut out one with few.
///
/// Every thread that opens parallel regions has workers of its own (byoc/threads.h): with several
/// such threads there are more workers than cores. So everything that computes in parallel runs on
/// the thread of "cpu", whoever asked for it.
///
/// A processor whose vendor has a queue has several threads (`SetDepth`). Still one is at work at a
/// time, it has the owner lock; the others wait for calls that their device works on (`Aside`), or
/// for a job. So several requests are in flight at a device, and code that runs on a processor
/// need not know:
///
///   thread 1   submit a ▕···· device works on a ····▏ end of a
///   thread 2            submit b ▕···· device works on b ····▏ end of b
///
/// With one thread there is no team, and going over to another thread and back only costs time (to
/// wake a core up, twice). A caller may then take the processor's owner lock and run its work
/// itself (*caller runs*); whoever runs a job has that lock, so there is still one at a time.
///
/// The parts: job.h (what is submitted), job_queue.h (where it waits), owner_lock.h (who may run),
/// shutdown.h (the end of the process). This file has the threads, the registry of processors and
/// what becomes of them in a forked child.
#ifndef BYOC_RUNTIME_PROCESSOR_H_
#define BYOC_RUNTIME_PROCESSOR_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>

#include "core/event.h"
#include "core/job.h"

namespace byoc {

/// A named place of execution where one job is at work at a time; lives as long as the process.
class Processor {
 public:
  /// Returns the processor called `name`, made on first use. Any thread.
  ///
  /// Throws ValueError when an environment variable holds a bad number of threads.
  static Processor* Get(const std::string& name);

  /// Returns the processor that the calling thread runs a job of, or null.
  static Processor* Current();

  /// Name, as plans and vendors spell it ("cpu").
  const std::string& name() const { return name_; }

  /// Lets up to `depth` jobs be in flight here, of which one is at work and the others `Aside`; the
  /// largest number that was ever asked for counts. Any thread.
  void SetDepth(size_t depth);
  /// How many jobs may be in flight, at least 1.
  size_t depth() const { return depth_.load(std::memory_order_relaxed); }

  /// Says that `count` equal devices stand behind this name, each a processor of its own: "npu" is
  /// "npu:0" and "npu:1" then. Throws ValueError where another number was said before.
  void SetDevices(size_t count);
  /// How many there are, at least 1.
  size_t devices() const { return devices_.load(std::memory_order_acquire); }
  /// The processor of device `index`; this one where there is only one.
  Processor* Device(size_t index);

  /// Requests that were given to this device and have not ended; who chooses among equal devices
  /// takes the one with the fewest.
  std::atomic<int>& load() { return load_; }

  class Aside;

  /// Lets running jobs end (waiting some seconds at most) and starts no others, ever.
  ///
  /// Called before the process tears down what jobs rely on: Python, OpenMP, the vendors'
  /// libraries. In the calling thread `Submit` throws from then on; other threads are blocked
  /// (`BlockIfShuttingDown`). Jobs still queued are left alone.
  static void Shutdown();

  /// Sleeps for ever once `Shutdown` was called by another thread (see shutdown.h); does nothing on
  /// a thread that runs a job.
  static void BlockIfShuttingDown();

  /// Starts the threads unless they run; from then on `Submit` and `TrySubmit` need no new one. Any
  /// thread.
  ///
  /// Throws byoc.ExecutionError when the system gives this process no more threads. Who submits
  /// several jobs that depend on each other calls this for all of their processors first.
  void EnsureThread();

  /// Appends a job. Any thread.
  ///
  /// Throws RuntimeError in the thread that called `Shutdown`, and what `EnsureThread` throws; the
  /// job has not been appended then.
  ///
  /// \param job not owned; must live until it has run.
  /// \param queue the session's queue at this processor; null: the common one.
  void Submit(Job* job, SubmissionQueue* queue = nullptr);

  /// Does the same, and returns false instead of an error once `Shutdown` was called; blocks
  /// nobody. Throws nothing after `EnsureThread`.
  bool TrySubmit(Job* job, SubmissionQueue* queue = nullptr);

  /// Waits for `event`. Any thread.
  ///
  /// A processor's own thread (a vendor's callback that runs a model itself) works off its queue
  /// meanwhile, for what it waits for may be in there.
  static void Wait(Event* event);

  /// Whether a job waits here; may be out of date. To be asked on this processor's own threads.
  bool HasWork() const;

  /// Runs `work` on this processor's thread and waits; exceptions come back to the caller.
  void Call(const std::function<void()>& work, SubmissionQueue* queue = nullptr);

  /// Waits until every processor's common queue has run what was submitted to it before.
  static void Settle();

  /// Runs `work` on the calling thread when the processor is idle and has a width of one thread;
  /// else as `Call`. For work that does not care which thread it is on.
  void CallAnywhere(const std::function<void()>& work, SubmissionQueue* queue = nullptr);

 private:
  struct State;
  class CallerRuns;
  State* TryOwn();
  explicit Processor(std::string name);
  void StartThreads(State* state);
  void Loop(State* state);
  static void AfterFork();

  std::string name_;
  std::atomic<size_t> depth_{1};
  std::atomic<size_t> devices_{1};
  std::atomic<int> load_{0};
  /// Queue and thread; a forked child starts with a new one, its parent's thread is gone.
  std::atomic<State*> state_;
};

/// While it lives, the job of the calling thread waits for a device: another job of its processor
/// may be at work. Does nothing elsewhere, and where the processor has one thread.
class Processor::Aside {
 public:
  Aside();
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

 private:
  State* state_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_PROCESSOR_H_

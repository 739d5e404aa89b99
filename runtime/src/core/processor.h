/// \file
/// Processors: one thread per name, and the jobs that wait for it.
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
#include <functional>
#include <string>

#include "core/event.h"
#include "core/job.h"

namespace byoc {

/// A named place of execution with one thread; lives as long as the process.
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

  /// Lets running jobs end (waiting some seconds at most) and starts no others, ever.
  ///
  /// Called before the process tears down what jobs rely on: Python, OpenMP, the vendors'
  /// libraries. In the calling thread `Submit` throws from then on; other threads are blocked
  /// (`BlockIfShuttingDown`). Jobs still queued are left alone.
  static void Shutdown();

  /// Sleeps for ever once `Shutdown` was called by another thread (see shutdown.h); does nothing on
  /// a thread that runs a job.
  static void BlockIfShuttingDown();

  /// Starts the thread unless it runs; from then on `Submit` and `TrySubmit` need no new one. Any
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

  /// Whether a job waits here. To be asked on this processor's own thread.
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
  void StartThread(State* state);
  void Loop(State* state);
  static void AfterFork();

  std::string name_;
  /// Queue and thread; a forked child starts with a new one, its parent's thread is gone.
  std::atomic<State*> state_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_PROCESSOR_H_

/*!
 * \brief Processors: one queue and one thread per name.
 *
 *   session A ──Submit──▶ [ job  job  job ] ─┐ in turn
 *   session B ──Submit──▶ [ job ]           ─┴────────▶ thread "byoc:cpu"   (the OpenMP master)
 *   session A ──Submit──▶ [ job ]           ──────────▶ thread "byoc:npu"
 *
 * Every session has a line of its own (`Source`) at each processor. Jobs of one line run in order;
 * lines take turns, so a session with many requests in flight does not shut out one with few.
 *
 * libgomp keeps one team of threads per thread that ever opened a parallel region, and stops
 * spinning once there are more of them than cores. So everything that uses OpenMP runs on the
 * thread of "cpu", whoever asked for it.
 *
 * With one thread there is no team, and going over to another thread and back only costs time (to
 * wake a core up, twice). A caller may then take the processor's *seat* and work itself; whoever
 * runs a job sits there, so there is still one at a time.
 */
#ifndef BYOC_RUNTIME_PROCESSOR_H_
#define BYOC_RUNTIME_PROCESSOR_H_

#include <atomic>
#include <functional>
#include <string>

#include "core/event.h"

namespace byoc {

class Source;

/*! \brief A unit of work; owned by whoever submits it until it has run. */
class Job {
 public:
  virtual ~Job() = default;
  /*! \brief Do the work. The job may be gone when this returns. */
  virtual void Run() noexcept = 0;

 private:
  friend class Processor;
  Job* next_ = nullptr;
  Source* source_ = nullptr;
};

/*!
 * \brief One session's line at one processor; must outlive the jobs submitted through it. Belongs
 * to the processor's thread.
 */
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

 private:
  friend class Processor;
  Job* head_ = nullptr;
  Job* tail_ = nullptr;
  Source* next_ = nullptr;       // of the lines that have jobs
  const void* queue_ = nullptr;  // where the jobs were put; a forked child has another queue
};

class Processor {
 public:
  /*! \brief The processor called `name`; made on first use, lives as long as the process. */
  static Processor* Get(const std::string& name);

  /*! \brief The processor whose thread is running this code, or null. */
  static Processor* Current();

  const std::string& name() const { return name_; }

  /*!
   * \brief Let running jobs end (waiting some seconds at most) and start no others, ever.
   *
   * Called before the process tears down what jobs rely on: Python, OpenMP, the vendors' libraries.
   * In the calling thread `Submit` throws from then on; other threads are parked (`ParkIfClosing`).
   * Jobs still queued are left alone.
   */
  static void Shutdown();

  /*!
   * \brief Sleep for ever once `Shutdown` was called, by another thread than this one.
   *
   * CPython before 3.14 ends a daemon thread that asks for its lock at exit by unwinding it; that
   * aborts the process when there are C++ frames below. So such a thread does not go back to
   * Python.
   */
  static void ParkIfClosing();

  /*!
   * \brief Append `job` to a line of this processor (null: the common one). Jobs of one line run
   * one after the other, in order of submission.
   */
  void Submit(Job* job, Source* source = nullptr);

  /*! \brief The same; false instead of an error once `Shutdown` was called. Parks nobody. */
  bool TrySubmit(Job* job, Source* source = nullptr);

  /*!
   * \brief Wait for `event` from any thread.
   *
   * A processor's own thread (a vendor's callback that runs a model itself) works off its queue
   * meanwhile, for what it waits for may be in there.
   */
  static void Wait(Event* event);

  /*! \brief Whether a job waits here. To be asked on this processor's own thread. */
  bool HasWork() const;

  /*! \brief Run `work` on this processor's thread and wait; exceptions come back to the caller. */
  void Call(const std::function<void()>& work, Source* source = nullptr);

  /*!
   * \brief The same; on the calling thread when the processor is idle and has a width of one
   * thread. For work that does not care which thread it is on.
   */
  void CallAnywhere(const std::function<void()>& work, Source* source = nullptr);

 private:
  struct State;
  class Guest;
  State* TakeSeat();
  explicit Processor(std::string name);
  void StartThread(State* state);
  void Loop(State* state);
  static void AfterFork();

  std::string name_;
  /*! \brief Queue and thread; a forked child starts with a new one, its parent's thread is gone. */
  std::atomic<State*> state_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_PROCESSOR_H_

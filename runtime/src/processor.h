/*!
 * \brief Processors: one in-order queue and one thread per name.
 *
 *   caller threads ──Submit──▶ [ job  job  job ] ──▶ thread "byoc:cpu"   (the OpenMP master)
 *                  ──Submit──▶ [ job ]           ──▶ thread "byoc:npu"
 *
 * libgomp keeps one team of threads per thread that ever opened a parallel region, and stops
 * spinning once there are more of them than cores. So everything that uses OpenMP runs on the
 * thread of "cpu", whoever asked for it.
 */
#ifndef BYOC_RUNTIME_PROCESSOR_H_
#define BYOC_RUNTIME_PROCESSOR_H_

#include <atomic>
#include <functional>
#include <string>

#include "event.h"

namespace byoc {

/*! \brief A unit of work; owned by whoever submits it until it has run. */
class Job {
 public:
  virtual ~Job() = default;
  /*! \brief Do the work. The job may be gone when this returns. */
  virtual void Run() noexcept = 0;

 private:
  friend class Processor;
  Job* next_ = nullptr;
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
   * `Submit` throws from then on; jobs still queued are left alone.
   */
  static void Shutdown();

  /*! \brief Append `job` to the queue. Jobs run one after the other, in order of submission. */
  void Submit(Job* job);

  /*!
   * \brief Wait for `event` from any thread.
   *
   * A processor's own thread (a vendor's callback that runs a model itself) works off its queue
   * meanwhile, for what it waits for may be in there.
   */
  static void Wait(Event* event);

  /*! \brief Run `work` on this processor's thread and wait; exceptions come back to the caller. */
  void Call(const std::function<void()>& work);

 private:
  struct State;
  explicit Processor(std::string name);
  void Loop(State* state);
  static void AfterFork();

  std::string name_;
  /*! \brief Queue and thread; a forked child starts with a new one, its parent's thread is gone. */
  std::atomic<State*> state_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_PROCESSOR_H_

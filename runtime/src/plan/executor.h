/// \file
/// Runs a plan: tasks in order on the queues of their processors.
///
/// Everything a call does not change is prepared once: functions looked up, argument lists laid
/// out. What it does change is a `Context` (arena, tensors with their pointers); contexts are
/// pooled, so calls from several threads do not meet.
///
/// A plan on one processor is one job: a loop over its tasks. Otherwise each processor is a *lane*
/// that runs its tasks in the order of the plan. Where a task of another lane is missing it looks
/// out for some microseconds, unless another job waits, then pauses; the lane that delivers the
/// task submits the paused one again:
///
///   lane cpu   t0 ─ t1 ─────────┐        t4
///   lane npu         └▶ t2 ─ t3 ─┴──────▶┘
///
/// Where several equal devices stand behind a processor, each run of the plan has one of them: the
/// one with the fewest runs in flight.
///
/// Requests started one after the other are in flight together, each in a context of its own: while
/// lane npu works for the first, lane cpu begins the second.
#ifndef BYOC_RUNTIME_EXECUTOR_H_
#define BYOC_RUNTIME_EXECUTOR_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/cancellation.h"
#include "core/mapping.h"
#include "core/processor.h"
#include "plan/plan.h"

namespace byoc {

/// A plan ready to run. Any number of threads may run it at once.
class Executor {
 public:
  /// What a task calls, and the vendor's name for messages (empty for host kernels).
  struct Callee {
    tvm::ffi::Function function;
    std::string vendor;
  };

  /// \param plan as `ParsePlan` returned it.
  /// \param callees one per task; copies have none.
  /// \param constants the plan's constants, dense; kept. Those that host kernels read are copied
  ///     when they are not 64-byte aligned.
  Executor(Plan plan, std::vector<Callee> callees, tvm::ffi::Array<tvm::ffi::Tensor> constants);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// The plan it runs.
  const Plan& plan() const { return plan_; }
  /// Number of processors that the plan uses, at least 1.
  size_t lane_count() const { return lanes_.size(); }

  /// Runs one inference and waits for it. `inputs` and `outputs` point at dense memory of each
  /// port, aligned to the element; they may overlap. Throws byoc.ExecutionError. Any thread, any
  /// number at once.
  ///
  /// \param anywhere a plan on one processor may run on the calling thread: no task of it cares.
  void Run(void* const* inputs, void* const* outputs, bool anywhere = false);

  /// One inference that nobody waits for: what `Start` reads and writes.
  struct Request {
    /// The memory of the ports, inputs first; must stay until `done` was called.
    std::vector<void*> ports;
    /// Tasks that have not begun when this is set are left out, vendors are told of calls that
    /// are under way; `done` gets an error. A vendor that goes on regardless may use the memory of
    /// the ports after that: `HasAbandoned` tells.
    Cancellation stop;
    /// When set, times in ns of the steady clock are kept: of Start, of the begin and end of the
    /// run, then the begin and end of every task (0: not run), then the device of every task.
    bool traced = false;
    std::vector<int64_t> trace;
    /// Called once, on the thread of a processor; null when all went well.
    std::function<void(std::exception_ptr)> done;
  };

  /// Runs one inference on copies of the callers' memory, and waits for it until it is too late:
  /// then it is cancelled, vendors are told, and false is returned. Any thread, any number at once.
  static bool RunWithin(std::shared_ptr<Executor> executor, void* const* inputs,
                        void* const* outputs, double seconds);

  /// Begins a request; it keeps itself and `executor` alive until it is done.
  static void Start(std::shared_ptr<Executor> executor, std::shared_ptr<Request> request);

 private:
  struct Context;
  class Devices;
  struct LaneJob;
  struct InFlightRequest;
  /// A task, ready to call: its slice of the argument list and its position in the order.
  struct Step {
    const tvm::ffi::FunctionObj* function;  // null: copy
    size_t first_arg;
    int32_t arg_count;
    size_t copy_bytes;
    size_t lane;
    size_t next;                     // next task of the same lane, or kNone
    std::vector<size_t> cross_lane;  // tasks of other lanes that wait for this one
    int waits_for;                   // tasks of other lanes, plus the one before in this lane
    bool meets;                      // some of them are of other lanes
  };
  /// A tensor whose pointer each call sets.
  struct Patch {
    size_t tensor;
    int64_t offset;
  };
  struct Port {
    size_t nbytes;
    size_t alignment;
    std::vector<Patch> patches;
  };

  static constexpr size_t kNone = static_cast<size_t>(-1);

  void BuildPorts();
  void BuildSteps();
  void BindConstants();
  void CallStep(Context* context, const Step& step) const;
  void RunSteps(Context* context) const;
  void RunLane(Context* context, size_t first) const;
  bool MayGoOn(Context* context, size_t task) const;
  void SubmitLane(Context* context, size_t task) const;
  void StartLanes(Context* context) const;
  void FinishLanes(Context* context) const;
  void RunWhole(InFlightRequest* in_flight);
  void Bind(Context* context, void* const* inputs, void* const* outputs) const;
  void CopyBack(Context* context, void* const* outputs) const;
  [[noreturn]] void ThrowFailure(size_t task) const;
  void CheckFiles() const {
    for (const auto& watch : watches_) watch->Check();
  }
  std::unique_ptr<Context> Acquire();
  void Release(std::unique_ptr<Context> context);

  const Plan plan_;
  const std::vector<Callee> callees_;
  const tvm::ffi::Array<tvm::ffi::Tensor> constants_;
  std::vector<std::shared_ptr<FileWatch>> watches_;  // of the files that constants lie in
  std::vector<Buffer> realigned_;                    // constants that had to be copied
  std::vector<DLTensor> tensors_;  // pointers of constants are final, all others are null
  std::vector<Patch> arena_patches_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<Step> steps_;
  std::vector<size_t> arg_tensors_;  // the argument lists of all steps, as tensor ids
  /// A processor of the plan: its devices, with a queue at each.
  struct Lane {
    std::vector<Processor*> devices;
    std::unique_ptr<SubmissionQueue[]> queues;
  };
  std::vector<Lane> lanes_;

  /// Idle contexts. Atomics, not a lock: a fork cannot leave it held.
  std::array<std::atomic<Context*>, 16> idle_{};
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_EXECUTOR_H_

/// \file
/// What belongs to one call of an `Executor`; for its own files only.
#ifndef BYOC_RUNTIME_EXECUTOR_STATE_H_
#define BYOC_RUNTIME_EXECUTOR_STATE_H_

#include <tvm/ffi/any.h>
#include <tvm/ffi/function.h>

#include <atomic>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/errors.h"
#include "plan/executor.h"

namespace byoc {

constexpr size_t kTraceHead = 3;  // Start, begin, end

/// Starts one lane of one call.
struct Executor::LaneJob final : Job {
  const Executor* executor = nullptr;
  Context* context = nullptr;
  size_t first = 0;
  void Run() noexcept override { executor->RunLane(context, first); }
};

/// Which device of every lane a run has; they count it for as long as this lives.
class Executor::Devices {
 public:
  explicit Devices(const Executor& executor) : lanes_(&executor.lanes_) {
    const size_t count = lanes_->size();
    for (size_t i = 0; i < count; ++i) {
      const std::vector<Processor*>& devices = (*lanes_)[i].devices;
      if (devices.size() == 1) continue;  // nothing to choose, nothing to keep
      if (chosen_.empty()) chosen_.resize(count);
      size_t best = 0;
      for (size_t d = 1; d < devices.size(); ++d) {
        if (devices[d]->load().load() < devices[best]->load().load()) best = d;
      }
      devices[best]->load().fetch_add(1);
      chosen_[i] = best;
    }
  }
  ~Devices() {
    for (size_t i = 0; i < chosen_.size(); ++i) {
      const std::vector<Processor*>& devices = (*lanes_)[i].devices;
      if (devices.size() > 1) devices[chosen_[i]]->load().fetch_sub(1);
    }
  }
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  size_t index(size_t lane) const { return chosen_.empty() ? 0 : chosen_[lane]; }
  Processor* processor(size_t lane) const { return (*lanes_)[lane].devices[index(lane)]; }
  SubmissionQueue* queue(size_t lane) const { return &(*lanes_)[lane].queues[index(lane)]; }

 private:
  const std::vector<Lane>* const lanes_;
  std::vector<size_t> chosen_;
};

/// All that belongs to one call.
struct Executor::Context {
  explicit Context(const Executor& executor)
      : arena(static_cast<size_t>(executor.plan_.arena_bytes)),
        tensors(executor.tensors_),
        staged_inputs(executor.inputs_.size()),
        staged_outputs(executor.outputs_.size()),
        bound_outputs(executor.outputs_.size()) {
    for (const Patch& patch : executor.arena_patches_) {
      tensors[patch.tensor].data = arena.data() + patch.offset;
    }
    args.reserve(executor.arg_tensors_.size());
    for (size_t tensor : executor.arg_tensors_) args.emplace_back(&tensors[tensor]);
    if (executor.lanes_.size() > 1) {
      waits = std::make_unique<std::atomic<int>[]>(executor.steps_.size());
      jobs.resize(executor.lanes_.size());
      for (LaneJob& job : jobs) {
        job.executor = &executor;
        job.context = this;
      }
    }
  }

  Buffer arena;
  std::vector<DLTensor> tensors;
  std::vector<tvm::ffi::AnyView> args;
  std::vector<Buffer> staged_inputs;  // aligned copies; made when a caller's memory needs one
  std::vector<Buffer> staged_outputs;
  std::vector<void*> bound_outputs;

  // Plans on several processors only.
  std::unique_ptr<std::atomic<int>[]> waits;
  std::vector<LaneJob> jobs;
  std::atomic<size_t> lanes_left{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the first to set `failed`, read when all is done
  Event* done = nullptr;     // of a call; null for a request

  Request* request = nullptr;
  InFlightRequest* in_flight = nullptr;
  const Devices* devices = nullptr;

  bool Stopped() const { return request != nullptr && request->stop.IsSet(); }
  /// What the calls of this run belong to.
  CallContext ForCalls(size_t lane) const {
    return {request != nullptr ? &request->stop : nullptr, devices->index(lane)};
  }
  int64_t* Trace() const {
    return request != nullptr && request->traced ? request->trace.data() : nullptr;
  }
};

/// A request on its way; owns itself.
struct Executor::InFlightRequest final : Job {
  InFlightRequest(std::shared_ptr<Executor> of, std::shared_ptr<Request> asked)
      : executor(std::move(of)), request(std::move(asked)), devices(*executor) {}

  std::shared_ptr<Executor> executor;
  std::shared_ptr<Request> request;
  const Devices devices;
  std::unique_ptr<Context> context;

  void* const* inputs() const { return request->ports.data(); }
  void* const* outputs() const { return request->ports.data() + executor->inputs_.size(); }

  void Run() noexcept override { executor->RunWhole(this); }

  /// Give the context back, tell the owner, be gone.
  void Finish(std::exception_ptr error) {
    if (context != nullptr) {
      context->request = nullptr;
      context->in_flight = nullptr;
      context->devices = nullptr;
      if (request->stop.HasAbandoned()) {  // a vendor may still write to it: not to be used again
        request->stop.LeaveMemory(std::shared_ptr<Context>(std::move(context)));
        request->stop.LeaveMemory(executor);  // and with it the vendor's segments
      } else {
        executor->Release(std::move(context));
      }
    }
    if (request->traced) {
      request->trace[2] = SteadyNow();
      const size_t count = executor->steps_.size();
      for (size_t i = 0; i < count; ++i) {
        request->trace[kTraceHead + 2 * count + i] =
            static_cast<int64_t>(devices.index(executor->steps_[i].lane));
      }
    }
    if (request->stop.IsSet() && !request->stop.HasAbandoned()) {
      try {
        ThrowExecutionError("the request was cancelled");
      } catch (...) {
        error = std::current_exception();
      }
    }
    const std::unique_ptr<InFlightRequest> self(this);
    const std::function<void(std::exception_ptr)> done = std::move(request->done);
    done(std::move(error));
  }
};

inline void Executor::CallStep(Context* context, const Step& step) const {
  tvm::ffi::AnyView* args = context->args.data() + step.first_arg;
  if (step.function == nullptr) {
    const DLTensor* from = &context->tensors[arg_tensors_[step.first_arg]];
    const DLTensor* to = &context->tensors[arg_tensors_[step.first_arg + 1]];
    if (step.copy_bytes != 0) std::memcpy(to->data, from->data, step.copy_bytes);
    return;
  }
  tvm::ffi::Any result;
  step.function->CallPacked(args, step.arg_count, &result);
}

}  // namespace byoc

#endif  // BYOC_RUNTIME_EXECUTOR_STATE_H_

#include "executor.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

#include "errors.h"

namespace byoc {

using tvm::ffi::AnyView;

namespace {

constexpr size_t kTraceHead = 3;  // Start, begin, end

}  // namespace

/*! \brief Starts one lane of one call. */
struct Executor::LaneJob final : Job {
  const Executor* executor = nullptr;
  Context* context = nullptr;
  size_t first = 0;
  void Run() noexcept override { executor->RunLane(context, first); }
};

/*! \brief All that belongs to one call. */
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
  std::vector<AnyView> args;
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
  Flight* flight = nullptr;

  bool Stopped() const {
    return request != nullptr && request->stop.load(std::memory_order_relaxed);
  }
  int64_t* Trace() const {
    return request != nullptr && request->traced ? request->trace.data() : nullptr;
  }
};

/*! \brief A request on its way; owns itself. */
struct Executor::Flight final : Job {
  std::shared_ptr<Executor> executor;
  std::shared_ptr<Request> request;
  std::unique_ptr<Context> context;

  void* const* inputs() const { return request->ports.data(); }
  void* const* outputs() const { return request->ports.data() + executor->inputs_.size(); }

  void Run() noexcept override { executor->RunWhole(this); }

  /*! \brief Give the context back, tell the owner, be gone. */
  void Finish(std::exception_ptr error) {
    if (context != nullptr) {
      context->request = nullptr;
      context->flight = nullptr;
      executor->Release(std::move(context));
    }
    if (request->traced) request->trace[2] = SteadyNow();
    if (request->stop.load(std::memory_order_acquire)) {
      try {
        ThrowExecutionError("the request was cancelled");
      } catch (...) {
        error = std::current_exception();
      }
    }
    const std::unique_ptr<Flight> self(this);
    const std::function<void(std::exception_ptr)> done = std::move(request->done);
    done(std::move(error));
  }
};

Executor::Executor(Plan plan, std::vector<Callee> callees,
                   tvm::ffi::Array<tvm::ffi::Tensor> constants)
    : plan_(std::move(plan)), callees_(std::move(callees)), constants_(std::move(constants)) {
  for (const PlanTensor& t : plan_.tensors) {
    DLTensor tensor{};
    tensor.device = {kDLCPU, 0};
    tensor.ndim = static_cast<int32_t>(t.shape.size());
    tensor.dtype = t.dtype;
    tensor.shape = const_cast<int64_t*>(t.shape.data());
    tensors_.push_back(tensor);
  }
  BuildPorts();
  BuildSteps();
  BindConstants();
}

Executor::~Executor() {
  for (auto& slot : idle_) delete slot.load();
}

void Executor::BuildPorts() {
  const auto ports = [&](const std::vector<PlanPort>& from) {
    std::vector<Port> to;
    for (const PlanPort& port : from) {
      const PlanTensor& t = plan_.tensors[port.tensor];
      to.push_back(Port{static_cast<size_t>(t.nbytes), t.itemsize(), {}});
    }
    return to;
  };
  inputs_ = ports(plan_.inputs);
  outputs_ = ports(plan_.outputs);
  const auto port_of = [&](const PlanTensor& t) -> Port* {
    if (t.place == Place::kInput) return &inputs_[t.index];
    return t.place == Place::kOutput ? &outputs_[t.index] : nullptr;
  };
  for (size_t i = 0; i < plan_.tensors.size(); ++i) {
    const PlanTensor& t = plan_.tensors[i];
    if (Port* port = port_of(t)) port->patches.push_back({i, t.offset});
    if (t.place == Place::kArena) arena_patches_.push_back({i, t.offset});
  }
  for (const PlanTask& task : plan_.tasks) {
    for (size_t arg : task.args) {
      Port* port = port_of(plan_.tensors[arg]);
      if (port == nullptr) continue;
      const size_t needed = task.kind == TaskKind::kHost      ? kAlignment
                            : task.kind == TaskKind::kSegment ? plan_.tensors[arg].itemsize()
                                                              : 1;
      port->alignment = std::max(port->alignment, needed);
    }
  }
}

void Executor::BuildSteps() {
  std::vector<size_t> last_of_lane;
  for (size_t id = 0; id < plan_.tasks.size(); ++id) {
    const PlanTask& task = plan_.tasks[id];
    Processor* processor = Processor::Get(task.processor);
    size_t lane =
        static_cast<size_t>(std::find(lanes_.begin(), lanes_.end(), processor) - lanes_.begin());
    if (lane == lanes_.size()) {
      lanes_.push_back(processor);
      last_of_lane.push_back(kNone);
    }
    Step step{};
    const bool copy = task.kind == TaskKind::kCopy;
    step.function =
        copy ? nullptr : static_cast<const tvm::ffi::FunctionObj*>(callees_[id].function.get());
    step.first_arg = arg_tensors_.size();
    step.arg_count = static_cast<int32_t>(task.args.size());
    step.copy_bytes = copy ? static_cast<size_t>(plan_.tensors[task.args[0]].nbytes) : 0;
    step.lane = lane;
    step.next = kNone;
    arg_tensors_.insert(arg_tensors_.end(), task.args.begin(), task.args.end());
    if (last_of_lane[lane] != kNone) {
      steps_[last_of_lane[lane]].next = id;
      ++step.waits_for;
    }
    last_of_lane[lane] = id;
    std::vector<size_t> deps = task.deps;
    std::sort(deps.begin(), deps.end());
    deps.erase(std::unique(deps.begin(), deps.end()), deps.end());
    for (size_t dep : deps) {
      if (steps_[dep].lane == lane) continue;  // the order of the lane sees to it
      steps_[dep].cross_lane.push_back(id);
      ++step.waits_for;
      step.meets = true;
    }
    steps_.push_back(std::move(step));
  }
  if (lanes_.empty()) lanes_.push_back(Processor::Get("cpu"));
  sources_ = std::make_unique<Source[]>(lanes_.size());
}

void Executor::BindConstants() {
  std::vector<bool> read_by_host(constants_.size(), false);
  for (const PlanTask& task : plan_.tasks) {
    if (task.kind != TaskKind::kHost) continue;
    for (size_t arg : task.args) {
      const PlanTensor& t = plan_.tensors[arg];
      if (t.place == Place::kConstant) read_by_host[t.index] = true;
    }
  }
  std::vector<char*> data;
  for (size_t i = 0; i < constants_.size(); ++i) {
    const DLTensor& t = *constants_[i].GetDLTensorPtr();
    char* pointer = static_cast<char*>(t.data) + t.byte_offset;
    if (read_by_host[i] && !IsAligned(pointer, kAlignment)) {
      const size_t size = tvm::ffi::GetDataSize(t);
      realigned_.emplace_back(size);
      pointer = static_cast<char*>(std::memcpy(realigned_.back().data(), pointer, size));
    }
    data.push_back(pointer);
  }
  for (size_t i = 0; i < plan_.tensors.size(); ++i) {
    const PlanTensor& t = plan_.tensors[i];
    if (t.place == Place::kConstant) tensors_[i].data = data[t.index] + t.offset;
  }
}

inline void Executor::CallStep(Context* context, const Step& step) const {
  AnyView* args = context->args.data() + step.first_arg;
  if (step.function == nullptr) {
    const DLTensor* from = &context->tensors[arg_tensors_[step.first_arg]];
    const DLTensor* to = &context->tensors[arg_tensors_[step.first_arg + 1]];
    if (step.copy_bytes != 0) std::memcpy(to->data, from->data, step.copy_bytes);
    return;
  }
  tvm::ffi::Any result;
  step.function->CallPacked(args, step.arg_count, &result);
}

void Executor::RunSteps(Context* context) const {
  size_t task = 0;
  const size_t count = steps_.size();
  try {
    if (context->request == nullptr) {
      for (; task < count; ++task) CallStep(context, steps_[task]);
      return;
    }
    int64_t* trace = context->Trace();
    int64_t now = trace != nullptr ? SteadyNow() : 0;
    for (; task < count && !context->Stopped(); ++task) {
      CallStep(context, steps_[task]);
      if (trace == nullptr) continue;
      trace[kTraceHead + 2 * task] = now;
      trace[kTraceHead + 2 * task + 1] = now = SteadyNow();
    }
  } catch (...) {
    ThrowFailure(task);
  }
}

void Executor::RunLane(Context* context, size_t first) const {
  int64_t* const trace = context->Trace();
  for (size_t task = first;;) {
    const Step& step = steps_[task];
    // After a failure the rest is only counted down: no lane may wait for ever.
    if (!context->failed.load(std::memory_order_acquire) && !context->Stopped()) {
      if (trace != nullptr) trace[kTraceHead + 2 * task] = SteadyNow();
      try {
        try {
          CallStep(context, step);
        } catch (...) {
          ThrowFailure(task);
        }
      } catch (...) {
        if (!context->failed.exchange(true)) context->error = std::current_exception();
      }
      if (trace != nullptr) trace[kTraceHead + 2 * task + 1] = SteadyNow();
    }
    for (size_t other : step.cross_lane) {
      if (context->waits[other].fetch_sub(1, std::memory_order_acq_rel) == 1) {
        SubmitLane(context, other);
      }
    }
    if (step.next == kNone) {  // the end of this lane, perhaps of the last one
      if (context->lanes_left.fetch_sub(1, std::memory_order_acq_rel) == 1) FinishLanes(context);
      return;
    }
    task = step.next;
    // Where this lane has to pause, nothing of the context may be touched any more: the lane that
    // ends the pause may end the whole run.
    if (steps_[task].meets && !MayGoOn(context, task)) return;
  }
}

/*!
 * \brief Whether all that `task` waits for is done; if not, the lane pauses before it.
 *
 * To look at the count costs two cache lines between cores when it changes; to be submitted again,
 * seven. So the lane keeps looking as long as it would take the processor's thread to fall asleep.
 */
bool Executor::MayGoOn(Context* context, size_t task) const {
  std::atomic<int>& waits = context->waits[task];
  const Processor* processor = lanes_[steps_[task].lane];
  constexpr int kMyself = 1;  // the task before in this lane, which is done
  constexpr int kLooks = 16;
  for (int i = 4 * SpinRounds(); i > 0 && !processor->HasWork(); --i) {
    for (int look = 0; look < kLooks; ++look) {  // a pause takes as long as the news
      if (waits.load(std::memory_order_acquire) == kMyself) return true;
    }
    CpuRelax();
  }
  return waits.fetch_sub(1, std::memory_order_acq_rel) == kMyself;
}

void Executor::FinishLanes(Context* context) const {
  if (context->done != nullptr) {
    context->done->Set();
    return;
  }
  Flight* flight = context->flight;
  std::exception_ptr error = std::exchange(context->error, nullptr);
  if (error == nullptr && !context->Stopped()) CopyBack(context, flight->outputs());
  flight->Finish(std::move(error));
}

/*! \brief Does nothing when the process is shutting down: the run then never ends. */
void Executor::SubmitLane(Context* context, size_t task) const {
  const size_t lane = steps_[task].lane;
  context->jobs[lane].first = task;
  lanes_[lane]->TrySubmit(&context->jobs[lane], &sources_[lane]);
}

void Executor::StartLanes(Context* context) const {
  context->failed.store(false);
  context->error = nullptr;
  context->lanes_left.store(lanes_.size());
  for (size_t i = 0; i < steps_.size(); ++i) context->waits[i].store(steps_[i].waits_for);
  // From the first submission on, the last one may end at any time and take the context along.
  std::vector<size_t> ready;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].waits_for == 0) ready.push_back(i);
  }
  const size_t lane = steps_[ready[0]].lane;
  context->jobs[lane].first = ready[0];
  lanes_[lane]->Submit(&context->jobs[lane], &sources_[lane]);  // throws at shutdown
  for (size_t i = 1; i < ready.size(); ++i) SubmitLane(context, ready[i]);
}

void Executor::Bind(Context* context, void* const* inputs, void* const* outputs) const {
  alignas(kAlignment) static char nothing[kAlignment];  // where empty tensors point
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Port& port = inputs_[i];
    char* data = port.nbytes == 0 ? nothing : static_cast<char*>(inputs[i]);
    if (!IsAligned(data, port.alignment)) {
      Buffer& stage = context->staged_inputs[i];
      if (stage.data() == nullptr) stage = Buffer(port.nbytes);
      data = static_cast<char*>(std::memcpy(stage.data(), data, port.nbytes));
    }
    for (const Patch& p : port.patches) context->tensors[p.tensor].data = data + p.offset;
  }
  const auto shared = [&](const char* data, size_t nbytes, size_t output) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const char* other = static_cast<const char*>(inputs[i]);
      if (data < other + inputs_[i].nbytes && other < data + nbytes) return true;
    }
    for (size_t i = 0; i < output; ++i) {
      const char* other = static_cast<const char*>(outputs[i]);
      if (data < other + outputs_[i].nbytes && other < data + nbytes) return true;
    }
    return false;
  };
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const Port& port = outputs_[i];
    char* data = port.nbytes == 0 ? nothing : static_cast<char*>(outputs[i]);
    if (port.nbytes != 0 && (!IsAligned(data, port.alignment) || shared(data, port.nbytes, i))) {
      Buffer& stage = context->staged_outputs[i];
      if (stage.data() == nullptr) stage = Buffer(port.nbytes);
      data = stage.data();
    }
    context->bound_outputs[i] = data;
    for (const Patch& p : port.patches) context->tensors[p.tensor].data = data + p.offset;
  }
}

void Executor::CopyBack(Context* context, void* const* outputs) const {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].nbytes != 0 && context->bound_outputs[i] != outputs[i]) {
      std::memcpy(outputs[i], context->bound_outputs[i], outputs_[i].nbytes);
    }
  }
}

void Executor::Run(void* const* inputs, void* const* outputs, bool anywhere) {
  if (lanes_.size() == 1) {
    // The context is taken once it is our turn: however many callers wait, one arena serves.
    const auto work = [&] {
      std::unique_ptr<Context> context = Acquire();
      Bind(context.get(), inputs, outputs);
      RunSteps(context.get());
      CopyBack(context.get(), outputs);
      Release(std::move(context));
    };
    if (anywhere) {
      lanes_[0]->CallAnywhere(std::ref(work), &sources_[0]);
    } else {
      lanes_[0]->Call(std::ref(work), &sources_[0]);
    }
    return;
  }
  std::unique_ptr<Context> context = Acquire();
  Bind(context.get(), inputs, outputs);
  Event done;
  context->done = &done;
  StartLanes(context.get());
  Processor::Wait(&done);
  context->done = nullptr;
  std::exception_ptr error = std::exchange(context->error, nullptr);
  if (error == nullptr) CopyBack(context.get(), outputs);
  Release(std::move(context));
  if (error) std::rethrow_exception(error);
}

void Executor::Start(std::shared_ptr<Executor> executor, std::shared_ptr<Request> request) {
  Executor* self = executor.get();
  if (request->traced) {
    request->trace.assign(kTraceHead + 2 * self->steps_.size(), 0);
    request->trace[0] = SteadyNow();
  }
  auto flight = std::make_unique<Flight>();
  flight->executor = std::move(executor);
  flight->request = std::move(request);
  if (self->lanes_.size() == 1) {
    self->lanes_[0]->Submit(flight.get(), &self->sources_[0]);
    flight.release();
    return;
  }
  flight->context = self->Acquire();
  Context* context = flight->context.get();
  context->request = flight->request.get();
  context->flight = flight.get();
  self->Bind(context, flight->inputs(), flight->outputs());
  if (context->request->traced) context->request->trace[1] = SteadyNow();
  flight.release();
  self->StartLanes(context);
}

/*! \brief A request of a plan on one processor, on that processor's thread. */
void Executor::RunWhole(Flight* flight) {
  std::exception_ptr error;
  if (flight->request->traced) flight->request->trace[1] = SteadyNow();
  try {
    if (!flight->request->stop.load(std::memory_order_acquire)) {
      flight->context = Acquire();
      Context* context = flight->context.get();
      context->request = flight->request.get();
      Bind(context, flight->inputs(), flight->outputs());
      RunSteps(context);
      if (!context->Stopped()) CopyBack(context, flight->outputs());
    }
  } catch (...) {
    error = std::current_exception();
  }
  flight->Finish(std::move(error));
}

/*! \brief Called in a catch block: the exception at hand as an error that names the task. */
void Executor::ThrowFailure(size_t task) const {
  std::string where = Describe(plan_, task);
  if (!callees_[task].vendor.empty()) where += " of vendor '" + callees_[task].vendor + "'";
  try {
    throw;
  } catch (const tvm::ffi::Error& error) {
    ThrowExecutionError(where + " failed: " + std::string(error.kind()) + ": " +
                        std::string(error.message()));
  } catch (const std::exception& error) {
    ThrowExecutionError(where + " failed: " + error.what());
  } catch (...) {
    ThrowExecutionError(where + " failed: unknown C++ exception");
  }
}

std::unique_ptr<Executor::Context> Executor::Acquire() {
  for (auto& slot : idle_) {
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    if (Context* context = slot.exchange(nullptr, std::memory_order_acquire)) {
      return std::unique_ptr<Context>(context);
    }
  }
  return std::make_unique<Context>(*this);
}

void Executor::Release(std::unique_ptr<Context> context) {
  for (auto& slot : idle_) {
    Context* empty = nullptr;
    if (slot.compare_exchange_strong(empty, context.get(), std::memory_order_release)) {
      context.release();
      return;
    }
  }
}

}  // namespace byoc

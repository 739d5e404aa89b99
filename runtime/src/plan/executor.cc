#include "plan/executor.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "core/errors.h"
#include "core/text.h"
#include "plan/executor_state.h"

namespace byoc {

Executor::~Executor() {
  for (auto& idle : idle_) delete idle.load();
}

void Executor::RunSteps(Context* context) const {
  size_t task = 0;
  const size_t count = steps_.size();
  const CallScope scope(context->ForCalls(0));  // of the one lane
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

void Executor::Bind(Context* context, void* const* inputs, void* const* outputs) const {
  CheckFiles();
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
  CheckFiles();
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].nbytes != 0 && context->bound_outputs[i] != outputs[i]) {
      std::memcpy(outputs[i], context->bound_outputs[i], outputs_[i].nbytes);
    }
  }
}

void Executor::Run(void* const* inputs, void* const* outputs, bool anywhere) {
  const Devices devices(*this);
  if (lanes_.size() == 1) {
    // The context is taken once it is our turn: however many callers wait, one arena serves.
    const auto work = [&] {
      std::unique_ptr<Context> context = Acquire();
      context->devices = &devices;
      Bind(context.get(), inputs, outputs);
      RunSteps(context.get());
      CopyBack(context.get(), outputs);
      context->devices = nullptr;
      Release(std::move(context));
    };
    if (anywhere) {
      devices.processor(0)->CallAnywhere(std::ref(work), devices.queue(0));
    } else {
      devices.processor(0)->Call(std::ref(work), devices.queue(0));
    }
    return;
  }
  for (size_t i = 0; i < lanes_.size(); ++i) devices.processor(i)->EnsureThread();  // no way back
  std::unique_ptr<Context> context = Acquire();
  context->devices = &devices;
  Bind(context.get(), inputs, outputs);
  Event done;
  context->done = &done;
  StartLanes(context.get());
  Processor::Wait(&done);
  context->done = nullptr;
  context->devices = nullptr;
  std::exception_ptr error = std::exchange(context->error, nullptr);
  if (error == nullptr) CopyBack(context.get(), outputs);
  Release(std::move(context));
  if (error) std::rethrow_exception(error);
}

bool Executor::RunWithin(std::shared_ptr<Executor> executor, void* const* inputs,
                         void* const* outputs, double seconds) {
  /// What the request owns; whatever comes too late is written here.
  struct Copies {
    std::vector<Buffer> memory;
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::exception_ptr error;
  };
  const Executor& self = *executor;
  auto copies = std::make_shared<Copies>();
  auto request = std::make_shared<Request>();
  request->stop.due = After(seconds);
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  const auto add = [&](const Port& port, const void* from) {
    copies->memory.emplace_back(port.nbytes);
    void* data = copies->memory.back().data();
    if (from != nullptr && port.nbytes != 0) std::memcpy(data, from, port.nbytes);
    request->ports.push_back(data);
  };
  for (size_t i = 0; i < self.inputs_.size(); ++i) add(self.inputs_[i], inputs[i]);
  for (const Port& port : self.outputs_) add(port, nullptr);
  Request* const asked = request.get();
  request->done = [copies, asked](std::exception_ptr error) {
    if (asked->stop.HasAbandoned()) asked->stop.LeaveMemory(copies);
    std::lock_guard<std::mutex> lock(copies->mutex);
    copies->error = std::move(error);
    copies->done = true;
    copies->changed.notify_one();
  };
  Start(executor, request);
  {
    std::unique_lock<std::mutex> lock(copies->mutex);
    if (!copies->changed.wait_until(lock, until, [&] { return copies->done; })) {
      lock.unlock();
      request->stop.Cancel();
      return false;
    }
  }
  if (copies->error) std::rethrow_exception(copies->error);
  for (size_t i = 0; i < self.outputs_.size(); ++i) {
    const size_t size = self.outputs_[i].nbytes;
    if (size != 0) std::memcpy(outputs[i], request->ports[self.inputs_.size() + i], size);
  }
  return true;
}

void Executor::Start(std::shared_ptr<Executor> executor, std::shared_ptr<Request> request) {
  Executor* self = executor.get();
  if (request->traced) {
    request->trace.assign(kTraceHead + 3 * self->steps_.size(), 0);
    request->trace[0] = SteadyNow();
  }
  auto in_flight = std::make_unique<InFlightRequest>(std::move(executor), std::move(request));
  const Devices& devices = in_flight->devices;
  if (self->lanes_.size() == 1) {
    devices.processor(0)->Submit(in_flight.get(), devices.queue(0));
    in_flight.release();
    return;
  }
  for (size_t i = 0; i < self->lanes_.size(); ++i) devices.processor(i)->EnsureThread();
  in_flight->context = self->Acquire();
  Context* context = in_flight->context.get();
  context->request = in_flight->request.get();
  context->in_flight = in_flight.get();
  context->devices = &devices;
  self->Bind(context, in_flight->inputs(), in_flight->outputs());
  if (context->request->traced) context->request->trace[1] = SteadyNow();
  in_flight.release();
  self->StartLanes(context);
}

/// A request of a plan on one processor, on that processor's thread.
void Executor::RunWhole(InFlightRequest* in_flight) {
  std::exception_ptr error;
  if (in_flight->request->traced) in_flight->request->trace[1] = SteadyNow();
  try {
    if (!in_flight->request->stop.IsSet()) {
      in_flight->context = Acquire();
      Context* context = in_flight->context.get();
      context->request = in_flight->request.get();
      context->devices = &in_flight->devices;
      Bind(context, in_flight->inputs(), in_flight->outputs());
      RunSteps(context);
      if (!context->Stopped()) CopyBack(context, in_flight->outputs());
    }
  } catch (...) {
    error = std::current_exception();
  }
  in_flight->Finish(std::move(error));
}

/// Called in a catch block: the exception at hand as an error that names the task.
void Executor::ThrowFailure(size_t task) const {
  std::string where = Describe(plan_, task);
  if (!callees_[task].vendor.empty()) where += " of vendor '" + callees_[task].vendor + "'";
  try {
    throw;
  } catch (const tvm::ffi::Error& error) {
    ThrowExecutionError(where + " failed: " + std::string(error.kind()) + ": " +
                        InPlainWords(error.message()));
  } catch (const std::exception& error) {
    ThrowExecutionError(where + " failed: " + error.what());
  } catch (...) {
    ThrowExecutionError(where + " failed: unknown C++ exception");
  }
}

std::unique_ptr<Executor::Context> Executor::Acquire() {
  for (auto& idle : idle_) {
    if (idle.load(std::memory_order_relaxed) == nullptr) continue;
    if (Context* context = idle.exchange(nullptr, std::memory_order_acquire)) {
      return std::unique_ptr<Context>(context);
    }
  }
  try {
    return std::make_unique<Context>(*this);
  } catch (const std::bad_alloc&) {
    ThrowExecutionError("there is no memory for the " + std::to_string(plan_.arena_bytes) +
                        " bytes that a call needs for what lies between its tasks");
  }
}

void Executor::Release(std::unique_ptr<Context> context) {
  for (auto& idle : idle_) {
    Context* empty = nullptr;
    if (idle.compare_exchange_strong(empty, context.get(), std::memory_order_release)) {
      context.release();
      return;
    }
  }
}

}  // namespace byoc

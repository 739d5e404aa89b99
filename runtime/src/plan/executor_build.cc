/*
 * What is prepared once for all calls of a plan.
 */
#include <algorithm>
#include <cstring>
#include <utility>

#include "plan/executor_state.h"

namespace byoc {

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
    if (t.space == MemorySpace::kInput) return &inputs_[t.index];
    return t.space == MemorySpace::kOutput ? &outputs_[t.index] : nullptr;
  };
  for (size_t i = 0; i < plan_.tensors.size(); ++i) {
    const PlanTensor& t = plan_.tensors[i];
    if (Port* port = port_of(t)) port->patches.push_back({i, t.offset});
    if (t.space == MemorySpace::kArena) arena_patches_.push_back({i, t.offset});
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
  std::vector<Processor*> processors;
  for (size_t id = 0; id < plan_.tasks.size(); ++id) {
    const PlanTask& task = plan_.tasks[id];
    Processor* processor = Processor::Get(task.processor);
    size_t lane = static_cast<size_t>(std::find(processors.begin(), processors.end(), processor) -
                                      processors.begin());
    if (lane == processors.size()) {
      processors.push_back(processor);
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
  if (processors.empty()) processors.push_back(Processor::Get("cpu"));
  for (Processor* processor : processors) {
    Lane lane;
    for (size_t i = 0; i < processor->devices(); ++i) lane.devices.push_back(processor->Device(i));
    lane.queues = std::make_unique<SubmissionQueue[]>(lane.devices.size());
    lanes_.push_back(std::move(lane));
  }
}

void Executor::BindConstants() {
  std::vector<bool> read_by_host(constants_.size(), false);
  for (const PlanTask& task : plan_.tasks) {
    if (task.kind != TaskKind::kHost) continue;
    for (size_t arg : task.args) {
      const PlanTensor& t = plan_.tensors[arg];
      if (t.space == MemorySpace::kConstant) read_by_host[t.index] = true;
    }
  }
  std::vector<char*> data;
  std::vector<const void*> begins;
  for (const tvm::ffi::Tensor& constant : constants_) begins.push_back(constant.data_ptr());
  watches_ = WatchesOf(begins);
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
    if (t.space == MemorySpace::kConstant) tensors_[i].data = data[t.index] + t.offset;
  }
}

}  // namespace byoc

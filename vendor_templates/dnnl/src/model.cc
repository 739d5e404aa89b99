// Instances are kept in a list, most recently used first. The list is locked only to find or add an
// entry; building happens under the entry's own lock, so that callers of other shapes do not wait.
#include "model.h"

#include <algorithm>

#include "builder.h"
#include "byoc/threads.h"
#include "error.h"
#include "fork_gate.h"
#include "openmp_calls.h"

namespace byoc::onednn {
namespace {

/// Gives the calling thread the number of threads primitives were made for, and takes it back.
///
/// oneDNN fixes the number of threads, and the size of scratchpads with it, when a primitive is
/// made; `threads::Max` belongs to a thread. Running with more threads would overrun memory.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(threads::Max()) {
    if (before_ != count) threads::SetMax(count);
    changed_ = before_ != count;
    // Threads of some primitives wait for each other.
    if (count > 1 && !threads::InParallel() && threads::Reserve(count) < count) {
      if (changed_) threads::SetMax(before_);
      Fail("the system gives no more threads, ", count,
           " are needed; allow the process more, or set BYOC_NUM_THREADS=1");
    }
  }
  ~ThreadCount() {
    if (changed_) threads::SetMax(before_);
  }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
  bool changed_;
};

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return quoted + "\"";
}

std::string StepJson(const Step& step) {
  return "{\"op\": " + Quoted(step.op) + ", \"impl\": " + Quoted(step.impl) +
         ", \"detail\": " + Quoted(step.detail);
}

std::vector<void*> Pointers(const std::vector<TensorRef>& tensors) {
  std::vector<void*> pointers;
  pointers.reserve(tensors.size());
  for (const TensorRef& tensor : tensors) pointers.push_back(tensor.data);
  return pointers;
}

}  // namespace

Model::Model(Program program, std::vector<Constant> constants, int threads,
             ConstantStore::Release release)
    : program_(std::move(program)), constants_(std::move(constants), release), threads_(threads) {
  ForkGate gate;
  ServeOpenMp();
  if (program_.IsStatic()) only_ = Build({});
}

std::shared_ptr<const CheckedInstance> Model::Build(const Bindings& bindings) const {
  ThreadCount threads(threads_);
  return std::make_shared<const CheckedInstance>([this, bindings](bool keeps_nan) {
    return BuildSteps(program_, bindings, constants_, threads_, keeps_nan);
  });
}

std::shared_ptr<const CheckedInstance> Model::Get(const Bindings& bindings) const {
  if (only_) return only_;
  ForkGate gate;
  std::shared_ptr<Slot> slot;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = std::find_if(slots_.begin(), slots_.end(),
                           [&](const auto& s) { return s->bindings == bindings; });
    if (it != slots_.end()) {
      slots_.splice(slots_.begin(), slots_, it);
    } else {
      slots_.push_front(std::make_shared<Slot>());
      slots_.front()->bindings = bindings;
      if (slots_.size() > static_cast<size_t>(program_.instances)) slots_.pop_back();
    }
    slot = slots_.front();
  }
  // Others wait only for the instance they want. A failed build is tried again by the next call.
  std::lock_guard<std::mutex> lock(slot->building);
  if (!slot->instance) slot->instance = Build(bindings);
  return slot->instance;
}

Bindings Model::Bind(const std::vector<TensorRef>& inputs) const {
  Bindings bindings;
  for (int v = 0; v < program_.variables.Count(); ++v) {
    const VariableSource& source = program_.variable_sources[v];
    const TensorRef& tensor = inputs[source.input];
    if (source.axis >= tensor.rank) {
      Fail("input ", source.input, " has ", tensor.rank, " dimensions, expected ",
           program_.values[program_.inputs[source.input]].shape.size());
    }
    bindings.push_back(tensor.shape[source.axis]);
  }
  return bindings;
}

void Model::Check(const std::vector<TensorRef>& tensors, const std::vector<int>& values,
                  const Bindings& bindings, const char* what) const {
  if (tensors.size() != values.size()) {
    Fail("expected ", values.size(), " ", what, "s, got ", tensors.size());
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const ValueType& type = program_.values[values[i]];
    const TensorRef& tensor = tensors[i];
    bool fits = tensor.dtype == type.dtype && tensor.rank == static_cast<int>(type.shape.size());
    for (int d = 0; fits && d < tensor.rank; ++d) {
      fits = tensor.shape[d] == type.shape[d].Evaluate(bindings);
    }
    if (!fits) {
      Fail(what, " ", i, " is ", ToString(tensor.dtype),
           ToString(Dims(tensor.shape, tensor.shape + tensor.rank)), ", expected ",
           ToString(type.dtype), ToString(Evaluate(type.shape, bindings)));
    }
  }
}

std::shared_ptr<const CheckedInstance> Model::Prepare(const std::vector<TensorRef>& inputs,
                                                      const std::vector<TensorRef>& outputs) const {
  if (inputs.size() != program_.inputs.size()) {
    Fail("expected ", program_.inputs.size(), " inputs, got ", inputs.size());
  }
  Bindings bindings = Bind(inputs);
  Check(inputs, program_.inputs, bindings, "input");
  Check(outputs, program_.outputs, bindings, "output");
  return Get(bindings);
}

void Model::Run(const std::vector<TensorRef>& inputs, const std::vector<TensorRef>& outputs) const {
  std::shared_ptr<const CheckedInstance> instance = Prepare(inputs, outputs);
  ThreadCount threads(threads_);
  instance->Run(Pointers(inputs).data(), Pointers(outputs).data());
}

std::string Model::Profile(const std::vector<TensorRef>& inputs,
                           const std::vector<TensorRef>& outputs, int repeat) const {
  std::shared_ptr<const CheckedInstance> instance = Prepare(inputs, outputs);
  ThreadCount threads(threads_);
  std::string text = "[";
  for (const StepTime& time :
       instance->fast().Profile(Pointers(inputs).data(), Pointers(outputs).data(), repeat)) {
    text += (text.size() > 1 ? ", " : "") + StepJson(*time.step) +
            ", \"us\": " + std::to_string(time.microseconds) + "}";
  }
  return text + "]";
}

std::string Model::Describe(const Bindings& bindings) const {
  if (static_cast<int>(bindings.size()) != program_.variables.Count()) {
    Fail("expected values of ", program_.variables.Count(), " variables, got ", bindings.size());
  }
  std::shared_ptr<const CheckedInstance> instance = Get(bindings);
  std::string steps;
  int64_t packed = 0;
  for (const Step& step : instance->fast().steps()) {
    steps += (steps.empty() ? "" : ", ") + StepJson(step) + "}";
  }
  for (const Buffer& buffer : instance->fast().list().buffers)
    packed += buffer.owner ? buffer.size : 0;
  return "{\"threads\": " + std::to_string(threads_) +
         ", \"arena_bytes\": " + std::to_string(instance->fast().arena_bytes()) +
         ", \"packed_bytes\": " + std::to_string(packed) + ", \"steps\": [" + steps + "]}";
}

std::vector<bool> Model::ConstantsToKeep() const {
  if (only_ == nullptr || !only_->may_build()) return ConstantsInUse();
  return std::vector<bool>(constants_.constants().size(), true);
}

std::vector<bool> Model::ConstantsInUse() const {
  std::vector<bool> used(constants_.constants().size(), only_ == nullptr);
  if (only_ == nullptr) return used;
  const StepList& list = only_->fast().list();
  for (const Step& step : list.steps) {
    step.ForEachSlot([&](int slot) {
      const Buffer& buffer = list.buffers[list.slots[slot].buffer];
      if (buffer.space == MemorySpace::kConstant && buffer.index >= 0) used[buffer.index] = true;
    });
  }
  return used;
}

}  // namespace byoc::onednn

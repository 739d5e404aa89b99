#include "plan/assemble.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "core/errors.h"
#include "plan/flow.h"
#include "plan/plan.h"

namespace byoc {

namespace ffi = tvm::ffi;
using ffi::Any, ffi::Array, ffi::Function, ffi::Map, ffi::Module, ffi::Optional;
using ffi::PackedArgs, ffi::String, ffi::Tensor;

namespace {

template <typename M>
std::string Names(const M& map) {
  std::string text;
  for (const auto& [name, value] : map) text += (text.empty() ? "" : ", ") + std::string(name);
  return text.empty() ? "(none)" : text;
}

/// The function of each task, from the host library or the segments.
std::vector<Executor::Callee> Resolve(const Plan& plan, const Optional<Module>& host,
                                      const Map<String, Function>& segments,
                                      const Map<String, String>& vendors) {
  std::vector<Executor::Callee> callees;
  for (size_t id = 0; id < plan.tasks.size(); ++id) {
    const PlanTask& task = plan.tasks[id];
    Executor::Callee callee;
    if (task.kind == TaskKind::kHost) {
      auto function = host ? (*host)->GetFunction(task.function, true) : std::nullopt;
      if (!function) {
        ThrowArtifactError("plan: " + Describe(plan, id) + ": the host library has no such kernel");
      }
      callee.function = *std::move(function);
      if (auto vendor = vendors.Get(task.segment)) callee.vendor = *vendor;
    } else if (task.kind == TaskKind::kSegment) {
      auto function = segments.Get(task.function);
      if (!function) {
        ThrowArtifactError("plan: " + Describe(plan, id) +
                           ": no such segment; there are: " + Names(segments));
      }
      callee.function = *std::move(function);
      if (auto vendor = vendors.Get(task.function)) callee.vendor = *vendor;
    }
    callees.push_back(std::move(callee));
  }
  return callees;
}

}  // namespace

std::vector<void*> Pointers(PackedArgs args, int first) {
  std::vector<void*> pointers(static_cast<size_t>(args.size() - first));
  for (size_t i = 0; i < pointers.size(); ++i) {
    const ffi::AnyView arg = args[first + static_cast<int>(i)];
    if (arg.type_index() == ffi::TypeIndex::kTVMFFIInt) {
      pointers[i] = reinterpret_cast<void*>(arg.cast<int64_t>());
    } else {
      const DLTensor* t = arg.cast<DLTensor*>();
      pointers[i] = static_cast<char*>(t->data) + t->byte_offset;
    }
  }
  return pointers;
}

void CheckCount(const Executor& executor, size_t count) {
  const Plan& plan = executor.plan();
  const size_t inputs = plan.inputs.size(), outputs = plan.outputs.size();
  if (count != inputs + outputs) {
    TVM_FFI_THROW(TypeError) << "expected " << inputs << " inputs and " << outputs
                             << " outputs, got " << count << " arguments";
  }
}

std::shared_ptr<Executor> NewExecutor(const std::string& plan_json, const Optional<Module>& host,
                                      const Map<String, Function>& segments,
                                      const Map<String, String>& vendors, Array<Tensor> constants) {
  std::vector<int64_t> sizes;
  for (const Tensor& t : constants) {
    sizes.push_back(static_cast<int64_t>(ffi::GetDataSize(*t.GetDLTensorPtr())));
  }
  Plan plan = ParsePlan(plan_json, sizes);
  std::vector<Executor::Callee> callees = Resolve(plan, host, segments, vendors);
  return std::make_shared<Executor>(std::move(plan), std::move(callees), std::move(constants));
}

Function RunFunction(std::shared_ptr<Executor> executor, const Optional<Module>& host,
                     bool anywhere) {
  // A kernel's function does not keep its library alive: `host` is held here.
  return Function::FromPacked([executor, host, anywhere](PackedArgs args, Any*) {
    CheckCount(*executor, static_cast<size_t>(args.size()));
    std::vector<void*> pointers = Pointers(args, 0);
    void* const* outputs = pointers.data() + executor->plan().inputs.size();
    executor->Run(pointers.data(), outputs, anywhere);
  });
}

Function FallbackFunction(std::shared_ptr<Executor> executor, const Optional<Module>& host) {
  std::vector<std::string> types;
  for (const auto* ports : {&executor->plan().inputs, &executor->plan().outputs}) {
    for (const PlanPort& port : *ports) {
      const PlanTensor& t = executor->plan().tensors[port.tensor];
      types.push_back(TypeText(t.dtype, t.shape.data(), t.shape.size()));
    }
  }
  return Function::FromPacked([run = RunFunction(std::move(executor), host),
                               types = std::move(types)](PackedArgs args, Any* result) {
    for (size_t i = 0; i < types.size() && i < static_cast<size_t>(args.size()); ++i) {
      const DLTensor* t = args[static_cast<int>(i)].cast<DLTensor*>();
      const std::string found = TypeText(t->dtype, t->shape, static_cast<size_t>(t->ndim));
      if (found == types[i]) continue;
      ThrowExecutionError("the host twin takes " + types[i] + " as argument " + std::to_string(i) +
                          ", found " + found);
    }
    run.CallPacked(args, result);
  });
}

}  // namespace byoc

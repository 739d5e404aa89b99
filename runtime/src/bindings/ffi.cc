/*
 * What Python sees, apart from artifacts, the VM, workers and bindings. Calls arrive with Python's
 * global lock released.
 */
#include <tvm/ffi/reflection/registry.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/requests_ffi.h"
#include "byoc/vendor.h"
#include "core/errors.h"
#include "core/lazy.h"
#include "core/mapping.h"
#include "core/processor.h"
#include "core/tensors.h"
#include "core/thread_pool.h"
#include "guard/guard.h"
#include "guard/swappable_function.h"
#include "plan/assemble.h"
#include "plan/binding.h"
#include "plan/executor.h"
#include "plan/flow.h"
#include "plan/plan.h"
#include "plan/segment_check.h"
#include "plan/segment_module.h"
#include "plan/vendor_calls.h"
#include "threads/cpu_limit.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;
using ffi::Any, ffi::Array, ffi::Bytes, ffi::Function, ffi::Map, ffi::Module, ffi::Optional;
using ffi::PackedArgs, ffi::String, ffi::Tensor;

std::string Text(const Bytes& bytes) { return std::string(bytes.data(), bytes.size()); }

/*!
 * \brief The executor as functions:
 *
 * run(inputs..., outputs...), each a tensor or an address; shapes, dtypes and density are the
 * caller's to check. run_anywhere: the same, perhaps on the calling thread. open() -> see
 * `OpenRequestQueue`.
 */
Map<String, Function> MakeExecutor(const Bytes& plan_json, const Optional<Module>& host,
                                   const Map<String, Function>& segments,
                                   const Map<String, String>& vendors, Array<Tensor> constants) {
  auto executor = NewExecutor(Text(plan_json), host, segments, vendors, std::move(constants));
  return {
      {"run", RunFunction(executor, host)},
      {"run_anywhere", RunFunction(executor, host, /*anywhere=*/true)},
      {"open", Function::FromTyped([executor, host] { return OpenRequestQueue(executor, host); })}};
}

/*! \brief A fallback, execute(inputs..., outputs...), from a plan that calls host kernels only. */
Function MakePlanFallback(Bytes plan_json, Optional<Module> host, Array<Tensor> constants) {
  return Lazy([=] {
    return FallbackFunction(NewExecutor(Text(plan_json), host, {}, {}, constants), host);
  });
}

/*!
 * \brief Check a plan, and that the fallbacks of its segments fit it.
 *
 * constant_bytes: of each constant of the plan. fallbacks: segment -> [plan, constant_bytes].
 */
void CheckPlan(const Bytes& plan_json, const Array<int64_t>& constant_bytes,
               const Map<String, Array<Any>>& fallbacks) {
  const auto sizes = [](const Array<int64_t>& bytes) {
    return std::vector<int64_t>(bytes.begin(), bytes.end());
  };
  const Plan plan = ParsePlan(Text(plan_json), sizes(constant_bytes));
  for (const auto& [segment, parts] : fallbacks) {
    const std::string name(segment);
    CheckFallback(
        plan, name,
        ParseFallback(name, Text(parts[0].cast<Bytes>()), sizes(parts[1].cast<Array<int64_t>>())));
  }
}

/*! \brief check() of the files that arrays at these addresses lie in; null when none is watched. */
Optional<Function> MakeWatch(const Array<int64_t>& addresses) {
  std::vector<const void*> arrays;
  for (int64_t address : addresses) arrays.push_back(reinterpret_cast<const void*>(address));
  const std::vector<std::shared_ptr<FileWatch>> watches = WatchesOf(arrays);
  if (watches.empty()) return std::nullopt;
  return Function::FromTyped([watches] {
    for (const auto& watch : watches) watch->Check();
  });
}

/*!
 * \brief `execute` with a fallback, a function of the same arguments: see guard.h.
 *
 * limits: failures, seconds of a call (0: no deadline), look for NaN. report(kind, message, number,
 * replaced) may be null.
 */
Function MakeGuard(String segment, Function execute, int64_t outputs, Function fallback,
                   int64_t failures, double deadline, bool check_nan, Optional<Function> report) {
  const auto make_fallback = [fallback = std::move(fallback)] { return fallback; };
  Guard::Report tell;
  if (report) {
    tell = [told = *report](const std::string& kind, const std::string& message, int64_t count,
                            bool replaced) { told(kind, message, count, replaced); };
  }
  auto guard = std::make_shared<Guard>(std::string(segment), std::move(execute),
                                       static_cast<size_t>(outputs), make_fallback,
                                       Guard::Limits{failures, deadline, check_nan}, tell);
  return Function::FromPacked([guard](PackedArgs args, Any*) { guard->Call(args); });
}

/*!
 * \brief allocate() -> a fresh tensor of this type, for numpy to take. Made once per output: an
 * Array of outputs would cost Python ten times as much to take apart.
 */
Function MakeAllocator(ffi::Shape shape, DLDataType dtype) {
  return Function::FromTyped(
      [shape = std::move(shape), dtype = ExchangeDtype(dtype)] { return NewTensor(shape, dtype); });
}

/*!
 * \brief A function that can be exchanged while it runs (swappable_function.h): call(args...),
 * set(function).
 */
Map<String, Function> MakeSwappableFunction(Function first) {
  auto swappable = std::make_shared<SwappableFunction>(std::move(first));
  const auto call = [swappable](PackedArgs args, Any* result) { swappable->Call(args, result); };
  return {{"call", Function::FromPacked(call)},
          {"set",
           Function::FromTyped([swappable](Function next) { swappable->Set(std::move(next)); })}};
}

/*! \brief `data` points at dense memory that lives as long as `owner`. */
Tensor MakeTensor(int64_t data, const ffi::Shape& shape, DLDataType dtype, Any owner) {
  return WrapMemory(reinterpret_cast<void*>(data), shape, dtype, std::move(owner));
}

/*!
 * \brief A Python-hosted segment as execute(inputs..., outputs...).
 *
 * `call` receives all arguments as tensors that numpy can take, their dtypes by name, and a control
 * (vendor_calls.h) where the vendor has a queue of `depth` calls, else None; the last `outputs` are
 * written, which is watched (segment_check.h). The tensors borrow the caller's memory: they are
 * valid until the call ends. When the segment goes, `close`, which may be null, is called on the
 * processor's thread.
 */
Function MakePythonSegment(Function call, int64_t outputs, const String& vendor,
                           const String& processor, int64_t depth,
                           const Optional<Function>& close) {
  std::shared_ptr<SegmentQueue> queue;
  if (depth > 0) {
    queue = std::make_shared<SegmentQueue>(std::string(vendor));
    Processor::Get(std::string(processor))->SetDepth(static_cast<size_t>(depth));
  }
  const auto segment = [call = std::move(call), queue](PackedArgs args, Any*) {
    Array<Tensor> tensors;
    Array<String> dtypes;
    for (int i = 0; i < args.size(); ++i) {
      const DLTensor* t = args[i].cast<DLTensor*>();
      tensors.push_back(WrapMemory(static_cast<char*>(t->data) + t->byte_offset,
                                   ffi::ShapeView(t->shape, static_cast<size_t>(t->ndim)),
                                   ExchangeDtype(t->dtype), nullptr));
      dtypes.push_back(ffi::DLDataTypeToString(t->dtype));
    }
    if (queue == nullptr) {
      call(tensors, dtypes, nullptr);
      return;
    }
    CallQueued(queue.get(), [&](Function control) { call(tensors, dtypes, std::move(control)); });
  };
  std::function<void()> end;
  if (close) end = [close = *close] { close(); };
  return LetGoOn(std::string(processor),
                 WatchSegment(Function::FromPacked(segment), static_cast<size_t>(outputs)),
                 std::move(end));
}

/*! \brief function(*args) on the thread of a processor. */
void CallOn(PackedArgs args, Any* result) {
  Processor* processor = Processor::Get(std::string(args[0].cast<String>()));
  const Function function = args[1].cast<Function>();
  processor->Call([&] { function.CallPacked(args.data() + 2, args.size() - 2, result); });
}

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("byoc.runtime.Executor", MakeExecutor)
      .def("byoc.runtime.check_plan", CheckPlan)
      .def("byoc.runtime.Watch", MakeWatch)
      .def("byoc.runtime.Guard", MakeGuard)
      .def("byoc.runtime.PlanFallback", MakePlanFallback)
      .def("byoc.runtime.Allocator", MakeAllocator)
      .def("byoc.runtime.SwappableFunction", MakeSwappableFunction)
      .def("byoc.runtime.Tensor", MakeTensor)
      .def("byoc.runtime.MapFile",
           [](int64_t fd, int64_t offset, int64_t size) { return MapFile(fd, offset, size); })
      .def("byoc.runtime.copy", CopyOf)
      .def("byoc.runtime.exchange", Exchange)
      .def("byoc.runtime.PythonSegment", MakePythonSegment)
      .def("byoc.runtime.SegmentModule", SegmentModule)
      .def("ffi.Module.load_from_bytes.byoc.segment", LoadSegmentModule)
      .def_packed("byoc.runtime.call_on", CallOn)
      .def("byoc.runtime.on_processor", [] { return Processor::Current() != nullptr; })
      .def("byoc.runtime.shutdown", Processor::Shutdown)
      .def("byoc.runtime.install_thread_pool", thread_pool::Install)
      .def("byoc.runtime.num_threads", thread_pool::NumThreads)
      .def("byoc.runtime.cpu_quota",
           [](String root) { return threads::CpuQuota(std::string(root)); })
      .def("byoc.runtime.usable_processors",
           [](String root) { return threads::UsableProcessors(std::string(root)); })
      .def("byoc.runtime.set_num_threads", thread_pool::SetNumThreads)
      .def("byoc.runtime.plan_version", [] { return kPlanVersion; })
      .def("byoc.runtime.vendor_api_version", [] { return kVendorApiVersion; });
}

}  // namespace
}  // namespace byoc

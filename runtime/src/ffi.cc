/*
 * Everything Python sees: the only registrations of this library. Calls arrive with Python's
 * global lock released.
 */
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "assemble.h"
#include "byoc/vendor.h"
#include "completions.h"
#include "errors.h"
#include "executor.h"
#include "guard.h"
#include "mapping.h"
#include "plan.h"
#include "processor.h"
#include "segment_module.h"
#include "slot.h"
#include "tensors.h"
#include "thread_pool.h"
#include "vm_executor.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;
using ffi::Any, ffi::Array, ffi::Bytes, ffi::Function, ffi::Map, ffi::Module, ffi::Optional;
using ffi::PackedArgs, ffi::String, ffi::Tensor;

std::string Text(const Bytes& bytes) { return std::string(bytes.data(), bytes.size()); }

/*!
 * \brief take(seconds) -> [[ticket, error kind, message, trace, results]...], kinds empty when all
 * went well. Waits for something to be done, or `wake`, or the time.
 */
Function MakeTake(std::shared_ptr<Completions> completions) {
  return Function::FromTyped([completions](double seconds) {
    Array<Array<Any>> all;
    std::vector<Completions::Item> items = completions->Take(seconds);
    Processor::ParkIfClosing();
    for (Completions::Item& item : items) {
      String kind, message;
      if (item.error) {
        try {
          std::rethrow_exception(item.error);
        } catch (const ffi::Error& error) {
          kind = error.kind(), message = error.message();
        } catch (const std::exception& error) {
          kind = "RuntimeError", message = error.what();
        }
      }
      Tensor trace = NewTensor({static_cast<int64_t>(item.trace.size())}, {kDLInt, 64, 1});
      std::copy(item.trace.begin(), item.trace.end(), static_cast<int64_t*>(trace.data_ptr()));
      Array<Any> fields{item.ticket, kind, message, trace, item.results};
      all.push_back(std::move(fields));
    }
    return all;
  });
}

/*! \brief The requests of one caller that are in flight, by ticket. */
struct Desk {
  std::shared_ptr<Completions> completions = std::make_shared<Completions>();
  std::mutex mutex;
  std::map<int64_t, std::shared_ptr<Executor::Request>> requests;
};

/*!
 * \brief submit(ticket, traced, inputs..., outputs...), cancel(ticket), take(seconds), wake():
 * requests that nobody waits for. The memory of the ports must stay until their ticket was taken.
 */
Map<String, Function> OpenDesk(std::shared_ptr<Executor> executor, const Optional<Module>& host) {
  auto desk = std::make_shared<Desk>();
  const auto submit = [executor, host, desk](PackedArgs args, Any*) {
    const int64_t ticket = args[0].cast<int64_t>();
    auto request = std::make_shared<Executor::Request>();
    request->traced = args[1].cast<bool>();
    request->ports = Pointers(args, 2);
    CheckCount(*executor, request->ports.size());
    Executor::Request* self = request.get();
    request->done = [desk, ticket, self, host](std::exception_ptr error) {
      std::shared_ptr<Executor::Request> kept;
      {
        std::lock_guard<std::mutex> lock(desk->mutex);
        const auto it = desk->requests.find(ticket);
        kept = std::move(it->second);
        desk->requests.erase(it);
      }
      desk->completions->Push({ticket, std::move(error), std::move(self->trace), {}});
    };
    {
      std::lock_guard<std::mutex> lock(desk->mutex);
      desk->requests[ticket] = request;
    }
    Executor::Start(executor, std::move(request));
  };
  const auto cancel = [desk](int64_t ticket) {
    std::lock_guard<std::mutex> lock(desk->mutex);
    const auto it = desk->requests.find(ticket);
    if (it != desk->requests.end()) it->second->stop.store(true);
  };
  const auto wake = [completions = desk->completions] { completions->Wake(); };
  return {{"submit", Function::FromPacked(submit)},
          {"cancel", Function::FromTyped(cancel)},
          {"take", MakeTake(desk->completions)},
          {"wake", Function::FromTyped(wake)}};
}

/*!
 * \brief The executor as functions:
 *
 * run(inputs..., outputs...), each a tensor or an address; shapes, dtypes and density are the
 * caller's to check. run_anywhere: the same, perhaps on the calling thread. open() -> see
 * `OpenDesk`.
 */
Map<String, Function> MakeExecutor(const Bytes& plan_json, const Optional<Module>& host,
                                   const Map<String, Function>& segments,
                                   const Map<String, String>& vendors, Array<Tensor> constants) {
  auto executor = NewExecutor(Text(plan_json), host, segments, vendors, std::move(constants));
  return {{"run", RunFunction(executor, host)},
          {"run_anywhere", RunFunction(executor, host, /*anywhere=*/true)},
          {"open", Function::FromTyped([executor, host] { return OpenDesk(executor, host); })}};
}

/*! \brief What `make` gives, made when it is first called: most twins never are. */
Function Lazy(std::function<Function()> make) {
  struct State {
    std::function<Function()> make;
    std::once_flag once;
    Function function;
  };
  auto state = std::make_shared<State>();
  state->make = std::move(make);
  return Function::FromPacked([state](PackedArgs args, Any* result) {
    std::call_once(state->once, [&] { state->function = state->make(); });
    state->function.CallPacked(args, result);
  });
}

/*! \brief A host twin, execute(inputs..., outputs...), from a plan that calls host kernels only. */
Function MakePlanTwin(Bytes plan_json, Optional<Module> host, Array<Tensor> constants) {
  return Lazy(
      [=] { return RunFunction(NewExecutor(Text(plan_json), host, {}, {}, constants), host); });
}

/*!
 * \brief A host twin, execute(inputs..., outputs...), from a function of a VM executable.
 *
 * segments: all that the executable calls; it is not loaded without them. The twin calls none.
 */
Function MakeVmTwin(Module executable, String entry, int64_t outputs, Array<Tensor> constants,
                    Array<String> segments) {
  Map<String, Function> none;
  for (const String& name : segments) {
    none.Set(name, Function::FromPacked([entry](PackedArgs, Any*) {
               ThrowExecutionError("host twin '" + std::string(entry) + "' calls a segment");
             }));
  }
  return Lazy([=] {
    auto executor =
        std::make_shared<VmExecutor>(executable, FunctionModule(none), std::string(entry));
    return Function::FromPacked([executor, outputs, constants](PackedArgs args, Any*) {
      RunInto(executor.get(), args, static_cast<size_t>(outputs), constants);
    });
  });
}

/*!
 * \brief `execute` with a host twin, a function of the same arguments: see guard.h.
 *
 * limits: failures, seconds of a call (0: no deadline), look for NaN. report(kind, message, number,
 * replaced) may be null.
 */
Function MakeGuard(String segment, Function execute, int64_t outputs, Function twin,
                   int64_t failures, double deadline, bool check_nan, Optional<Function> report) {
  const auto make_twin = [twin = std::move(twin)] { return twin; };
  Guard::Report tell;
  if (report) {
    tell = [told = *report](const std::string& kind, const std::string& message, int64_t count,
                            bool replaced) { told(kind, message, count, replaced); };
  }
  auto guard = std::make_shared<Guard>(std::string(segment), std::move(execute),
                                       static_cast<size_t>(outputs), make_twin,
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

/*! \brief A dense tensor as one that numpy can take: see `ExchangeDtype`. */
Tensor Exchange(const Tensor& t) {
  const DLDataType dtype = ExchangeDtype(t.dtype());
  if (dtype == t.dtype()) return t;
  if (!t.IsContiguous()) TVM_FFI_THROW(ValueError) << "expected a dense tensor";
  return WrapMemory(static_cast<char*>(t.data_ptr()) + t.byte_offset(), t.shape(), dtype, t);
}

/*!
 * \brief Where the VM's run on this thread notes its segments: number, begin, end, bytes of the
 * arguments, for each call. Null when nobody looks, and inside a segment.
 */
thread_local std::vector<int64_t>* segment_times = nullptr;

class NoteSegment {
 public:
  NoteSegment(int64_t number, PackedArgs args)
      : times_(std::exchange(segment_times, nullptr)), number_(number), args_(args) {
    if (times_ != nullptr) begin_ = SteadyNow();
  }
  NoteSegment(const NoteSegment&) = delete;
  NoteSegment& operator=(const NoteSegment&) = delete;
  ~NoteSegment() {
    segment_times = times_;
    if (times_ == nullptr) return;
    const int64_t end = SteadyNow();
    int64_t bytes = 0;
    for (int i = 0; i < args_.size(); ++i) {
      if (auto t = args_[i].try_cast<DLTensor*>()) bytes += ffi::GetDataSize(**t);
    }
    times_->insert(times_->end(), {number_, begin_, end, bytes});
  }

 private:
  std::vector<int64_t>* const times_;
  const int64_t number_;
  const PackedArgs args_;
  int64_t begin_ = 0;
};

/*!
 * \brief `function`, whose errors name the segment: the VM knows only its own entry. number: what
 * it is called in `segment_times`.
 */
Function Named(const std::string& segment, const std::string& vendor, int64_t number,
               Function function) {
  const std::string who = "segment '" + segment + "' of vendor '" + vendor + "' failed: ";
  return Function::FromPacked([who, number, function = std::move(function)](PackedArgs args,
                                                                            Any* result) {
    const NoteSegment note(number, args);
    try {
      function.CallPacked(args, result);
    } catch (const ffi::Error& error) {
      ThrowExecutionError(who + std::string(error.kind()) + ": " + std::string(error.message()));
    } catch (const std::exception& error) {
      ThrowExecutionError(who + error.what());
    }
  });
}

/*! \brief A run of the VM that nobody waits for; owns itself. */
struct VmFlight final : Job {
  std::shared_ptr<VmExecutor> executor;
  std::shared_ptr<Completions> completions;
  Array<Tensor> tensors;
  int64_t ticket = 0;
  int64_t submitted = 0;
  bool traced = false;

  void Run() noexcept override {
    const std::unique_ptr<VmFlight> self(this);
    Completions::Item item{ticket, nullptr, {submitted, SteadyNow(), 0}, {}};
    segment_times = traced ? &item.trace : nullptr;
    try {
      for (const Tensor& t : executor->Run(tensors)) item.results.push_back(Exchange(t));
    } catch (...) {
      item.error = std::current_exception();
    }
    segment_times = nullptr;
    item.trace[2] = SteadyNow();
    completions->Push(std::move(item));
  }
};

Map<String, Function> OpenVmDesk(std::shared_ptr<VmExecutor> executor) {
  auto completions = std::make_shared<Completions>();
  const auto submit = [executor, completions](PackedArgs args, Any*) {
    auto flight = std::make_unique<VmFlight>();
    flight->executor = executor;
    flight->completions = completions;
    flight->ticket = args[0].cast<int64_t>();
    flight->submitted = SteadyNow();
    flight->traced = args[1].cast<bool>();
    for (int i = 2; i < args.size(); ++i) flight->tensors.push_back(args[i].cast<Tensor>());
    executor->processor()->Submit(flight.get(), executor->source());
    flight.release();
  };
  return {{"submit", Function::FromPacked(submit)},
          {"cancel", Function::FromTyped([](int64_t) {})},  // once begun, the VM goes on
          {"take", MakeTake(completions)},
          {"wake", Function::FromTyped([completions] { completions->Wake(); })}};
}

/*!
 * \brief The VM as functions: run(tensors...) -> Array of its results, for numpy to take; open().
 *
 * names: of `segments`, in the order of their numbers in traces: after submitted, begin and end
 * come four numbers for each call of a segment (see `segment_times`).
 */
Map<String, Function> MakeVmExecutor(Module executable, const Map<String, Function>& segments,
                                     const Array<String>& names, const Map<String, String>& vendors,
                                     const String& entry) {
  Map<String, Function> named;
  int64_t number = 0;
  for (const String& name : names) {
    named.Set(name, Named(name, vendors.Get(name).value_or("?"), number++, segments[name]));
  }
  auto executor = std::make_shared<VmExecutor>(std::move(executable), FunctionModule(named),
                                               std::string(entry));
  const auto run = [executor](PackedArgs args, Any* result) {
    Array<Tensor> tensors;
    for (int i = 0; i < args.size(); ++i) tensors.push_back(args[i].cast<Tensor>());
    Array<Tensor> out;
    for (const Tensor& t : executor->Run(tensors)) out.push_back(Exchange(t));
    *result = std::move(out);
  };
  return {{"run", Function::FromPacked(run)},
          {"open", Function::FromTyped([executor] { return OpenVmDesk(executor); })}};
}

/*!
 * \brief A function that can be exchanged while it runs (slot.h): call(args...), set(function).
 */
Map<String, Function> MakeSlot(Function first) {
  auto slot = std::make_shared<Slot>(std::move(first));
  const auto call = [slot](PackedArgs args, Any* result) { slot->Call(args, result); };
  return {{"call", Function::FromPacked(call)},
          {"set", Function::FromTyped([slot](Function next) { slot->Set(std::move(next)); })}};
}

/*! \brief A fresh, 64-byte aligned copy of a dense tensor. */
Tensor Copy(const Tensor& t) {
  if (!t.IsContiguous()) TVM_FFI_THROW(ValueError) << "expected a dense tensor";
  Tensor copy = NewTensor(t.shape(), t.dtype());
  std::memcpy(copy.data_ptr(), static_cast<const char*>(t.data_ptr()) + t.byte_offset(),
              ffi::GetDataSize(*t.GetDLTensorPtr()));
  return copy;
}

/*! \brief `data` points at dense memory that lives as long as `owner`. */
Tensor MakeTensor(int64_t data, const ffi::Shape& shape, DLDataType dtype, Any owner) {
  return WrapMemory(reinterpret_cast<void*>(data), shape, dtype, std::move(owner));
}

/*!
 * \brief A Python-hosted segment as execute(inputs..., outputs...).
 *
 * `call` receives all arguments as tensors that numpy can take, and their dtypes by name. The
 * tensors borrow the caller's memory: they are valid during the call only.
 */
Function MakePythonSegment(Function call) {
  return Function::FromPacked([call = std::move(call)](PackedArgs args, Any*) {
    Array<Tensor> tensors;
    Array<String> dtypes;
    for (int i = 0; i < args.size(); ++i) {
      const DLTensor* t = args[i].cast<DLTensor*>();
      tensors.push_back(WrapMemory(static_cast<char*>(t->data) + t->byte_offset,
                                   ffi::ShapeView(t->shape, static_cast<size_t>(t->ndim)),
                                   ExchangeDtype(t->dtype), nullptr));
      dtypes.push_back(ffi::DLDataTypeToString(t->dtype));
    }
    call(tensors, dtypes);
  });
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
      .def("byoc.runtime.Guard", MakeGuard)
      .def("byoc.runtime.PlanTwin", MakePlanTwin)
      .def("byoc.runtime.VmTwin", MakeVmTwin)
      .def("byoc.runtime.Allocator", MakeAllocator)
      .def("byoc.runtime.VmExecutor", MakeVmExecutor)
      .def("byoc.runtime.Slot", MakeSlot)
      .def("byoc.runtime.Tensor", MakeTensor)
      .def("byoc.runtime.MapFile", MapFile)
      .def("byoc.runtime.release_pages", DropPages)
      .def("byoc.runtime.copy", Copy)
      .def("byoc.runtime.exchange", Exchange)
      .def("byoc.runtime.PythonSegment", MakePythonSegment)
      .def("byoc.runtime.SegmentModule", SegmentModule)
      .def("ffi.Module.load_from_bytes.byoc.segment", LoadSegmentModule)
      .def_packed("byoc.runtime.call_on", CallOn)
      .def("byoc.runtime.on_processor", [] { return Processor::Current() != nullptr; })
      .def("byoc.runtime.shutdown", Processor::Shutdown)
      .def("byoc.runtime.install_thread_pool", thread_pool::Install)
      .def("byoc.runtime.num_threads", thread_pool::NumThreads)
      .def("byoc.runtime.set_num_threads", thread_pool::SetNumThreads)
      .def("byoc.runtime.plan_version", [] { return kPlanVersion; })
      .def("byoc.runtime.vendor_api_version", [] { return kVendorApiVersion; });
}

}  // namespace
}  // namespace byoc

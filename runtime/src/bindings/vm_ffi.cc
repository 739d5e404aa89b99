/*
 * The Relax VM as Python sees it: runs, requests, fallbacks.
 */
#include <tvm/ffi/reflection/registry.h>

#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/requests_ffi.h"
#include "core/completions.h"
#include "core/errors.h"
#include "core/lazy.h"
#include "core/processor.h"
#include "core/tensors.h"
#include "core/text.h"
#include "plan/assemble.h"
#include "plan/segment_module.h"
#include "vm/vm_executor.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;
using ffi::Any, ffi::Array, ffi::Function, ffi::Map, ffi::Module, ffi::PackedArgs;
using ffi::String, ffi::Tensor;

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
struct VmInFlightRequest final : Job {
  std::shared_ptr<VmExecutor> executor;
  std::shared_ptr<Completions> completions;
  Array<Tensor> tensors;
  int64_t ticket = 0;
  int64_t submitted = 0;
  bool traced = false;

  void Run() noexcept override {
    const std::unique_ptr<VmInFlightRequest> self(this);
    Completions::Item item{ticket, nullptr, {submitted, SteadyNow(), 0}, {}, false};
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

Map<String, Function> OpenVmRequestQueue(std::shared_ptr<VmExecutor> executor) {
  auto completions = std::make_shared<Completions>();
  const auto submit = [executor, completions](PackedArgs args, Any*) {
    auto in_flight = std::make_unique<VmInFlightRequest>();
    in_flight->executor = executor;
    in_flight->completions = completions;
    in_flight->ticket = args[0].cast<int64_t>();
    in_flight->submitted = SteadyNow();
    in_flight->traced = args[1].cast<bool>();
    for (int i = 3; i < args.size(); ++i) in_flight->tensors.push_back(args[i].cast<Tensor>());
    executor->processor()->Submit(in_flight.get(), executor->queue());
    in_flight.release();
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
          {"open", Function::FromTyped([executor] { return OpenVmRequestQueue(executor); })}};
}

/*!
 * \brief A fallback, execute(inputs..., outputs...), from a function of a VM executable.
 *
 * segments: all that the executable calls; it is not loaded without them. The fallback calls none.
 */
Function MakeVmFallback(Module executable, String entry, int64_t outputs, Array<Tensor> constants,
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

/*! \brief Instead of a dimension that may have any length. */
constexpr int64_t kAny = std::numeric_limits<int64_t>::min();

std::string Text(ffi::ShapeView dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    text += (i == 0 ? "" : ", ") + (dims[i] == kAny ? "any" : std::to_string(dims[i]));
  }
  return text + "]";
}

/*!
 * \brief Ends a call of the VM whose shapes do not fit each other.
 *
 * tensor: what an op reads. expected: its dimensions by what the model takes for granted; of
 * another length where `needs`, a condition on symbolic dimensions, does not hold. name: of the op.
 */
void CheckShape(const Tensor& tensor, const ffi::Shape& expected, const String& name,
                const String& needs) {
  const ffi::ShapeView found = tensor.shape();
  bool fits = found.size() == expected.size();
  for (size_t i = 0; fits && i < found.size(); ++i) {
    fits = expected[i] == kAny || expected[i] == found[i];
  }
  if (fits) return;
  const std::string op = "op " + Quoted(std::string(name));
  if (!needs.empty()) {
    ThrowExecutionError(op + ": an operand has shape " + Text(found) +
                        ", with which it has no result; expected shapes with " +
                        Printable(std::string(needs)));
  }
  ThrowExecutionError(op + ": an operand has shape " + Text(found) + ", expected " +
                      Text(expected) + " to fit its other operands or attributes");
}

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("byoc.check_shape", CheckShape)
      .def("byoc.runtime.VmExecutor", MakeVmExecutor)
      .def("byoc.runtime.VmFallback", MakeVmFallback);
}

}  // namespace
}  // namespace byoc

// clang-format off
/// \file
/// The C++ vendor contract: the whole of what a native vendor's library includes from byoc.
///
///   blob + constants + options ──init──▶ SegmentRuntime ──Execute(inputs, outputs)──▶ outputs
///
/// A vendor's library holds one subclass of `SegmentRuntime`, one factory, and one line:
///
///   class AcmeSegment : public byoc::SegmentRuntime { ... };
///
///   std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
///     return std::make_unique<AcmeSegment>(init.blob, init.constants, init.options);
///   }
///   BYOC_REGISTER_VENDOR(acme, Init)
///
/// Loading the library registers two global functions of tvm-ffi, which is all byoc looks for:
///
///   byoc.vendor.acme.init(blob: Bytes, constants: Array<Tensor>, options_json: String) -> execute
///   byoc.vendor.acme.api_version() -> int
///
/// and, where the line names them, `can_load` and `equipment`.
///
/// where execute(inputs..., outputs...) takes tensors and returns nothing (destination passing).
/// Link with tvm-ffi (`tvm_ffi::shared`) and the vendor's own SDK, with nothing of TVM itself.
// clang-format on
#ifndef BYOC_VENDOR_H_
#define BYOC_VENDOR_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/ffi/string.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "byoc/segment_init.h"

#if __has_include(<cxxabi.h>)
#include <cxxabi.h>
#endif

namespace byoc {

/// Version of this contract; a library built for another one is refused with both numbers.
inline constexpr int64_t kVendorApiVersion = 1;

/// A view of `size` consecutive values; owns nothing (std::span of C++20).
template <typename T>
class Span {
 public:
  constexpr Span() = default;
  /// \param data not owned; must outlive the span.
  constexpr Span(T* data, size_t size) : data_(data), size_(size) {}
  constexpr T* data() const { return data_; }
  constexpr size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr T* begin() const { return data_; }
  constexpr T* end() const { return data_ + size_; }
  constexpr T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

/// Tensors as a segment sees them: dense, row-major, on the CPU, `byte_offset` 0.
///
/// Data is aligned to its element only (a user's own memory may come in without a copy); empty
/// tensors may have a null `data`. `strides` may be null. Dynamic dimensions are bound: `shape`
/// always holds numbers.
using TensorSpan = Span<const DLTensor* const>;

/// Memory a segment holds of its own; constants it reads in place are not counted.
struct SegmentMemory {
  size_t packed = 0;     ///< bytes for as long as the segment lives: packed constants
  size_t workspace = 0;  ///< bytes for each call that runs at the same time: intermediates
};

namespace details {

/// What a vendor does with a call that it has begun: the first argument of its control.
enum class CallControl : int64_t { kDone, kFail, kCancelled, kOnCancel, kDue };

/// Arguments of a call that live until it ends.
struct CallArguments {
  std::vector<const DLTensor*> tensors;
  std::vector<DLTensor> moved;  // those whose byte_offset had to be folded into their pointer
};

}  // namespace details

/// A call that `Submit` has begun: how the vendor ends it, and hears that nobody waits any more.
///
/// Copies stand for the same call; keep one until the device is done. Any thread may use them, at
/// any time, also after the session was closed. A call ends once: by `done()` or by `done.Fail`.
/// Its tensors are valid until then. Letting go of all copies without either is an error of the
/// call; ending it twice makes every later call of the segment an error.
class Done {
 public:
  /// \param control see `details::CallControl`.
  /// \param arguments kept for as long as there is a copy.
  Done(tvm::ffi::Function control, std::shared_ptr<const details::CallArguments> arguments)
      : control_(std::move(control)), arguments_(std::move(arguments)) {}

  /// Ends the call: all outputs are written, and nothing of it is read or written any more.
  void operator()() const { Do(details::CallControl::kDone); }

  /// Ends the call with an error, also when it was given up after it was cancelled.
  void Fail(const std::string& why) const {
    Do(details::CallControl::kFail, tvm::ffi::String(why));
  }

  /// Whether nobody waits for the answer: the request was cancelled, or its deadline is over.
  bool Cancelled() const { return Do(details::CallControl::kCancelled).cast<bool>(); }

  /// Calls `tell` when the call is cancelled, on any thread; at once where it was already. Stop
  /// what can be stopped, and end the call within a second; after that byoc gives the request up,
  /// but never uses the memory of its tensors again until the call has ended.
  void OnCancel(std::function<void()> tell) const {
    Do(details::CallControl::kOnCancel, tvm::ffi::Function::FromTyped(std::move(tell)));
  }

  /// Returns when the answer will be of no use any more; nothing where there is no deadline.
  std::optional<std::chrono::steady_clock::time_point> Deadline() const {
    const auto due = Do(details::CallControl::kDue).cast<int64_t>();
    if (due == INT64_MAX) return std::nullopt;
    return std::chrono::steady_clock::time_point(
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(
            std::chrono::nanoseconds(due)));
  }

 private:
  template <typename... Args>
  tvm::ffi::Any Do(details::CallControl what, Args... args) const {
    return control_(static_cast<int64_t>(what), args...);
  }

  tvm::ffi::Function control_;
  std::shared_ptr<const details::CallArguments> arguments_;
};

/// A segment ready to run: weights packed, primitives built.
///
/// Several threads may call `Execute` of one object at the same time: it is const, and whatever a
/// call changes belongs to that call (or to a pool the object guards itself).
///
/// Which thread: `init` and `Execute` run on the processor's thread, one call after the other, but
/// for calls with a deadline (a thread of their own) and models for "cpu" alone with one thread
/// (the caller's). The destructor runs on the processor's thread, soon after the last session that
/// uses the segment is gone. So keep nothing in thread_local variables.
/// The CPU's threads are those of byoc/threads.h, all of them on "cpu" and one elsewhere: compute
/// with them; others, such as OpenMP's, come on top and compete for the cores.
class SegmentRuntime {
 public:
  virtual ~SegmentRuntime() = default;

  /// Returns the number of inputs of the segment: how many of execute's arguments are read.
  virtual size_t InputCount() const = 0;

  /// Returns the number of outputs of the segment: how many of execute's arguments are written.
  virtual size_t OutputCount() const = 0;

  /// Computes `outputs` from `inputs`, both in the order of the segment. Any thread, also several.
  ///
  /// Outputs are allocated by the caller and do not overlap the inputs; what they hold before the
  /// call means nothing, and all of them is written. Inputs are only read: others may read them,
  /// too. With BYOC_CHECK=1 in the environment byoc proves all that at every call, without it what
  /// the first call writes. Report failure by throwing (`TVM_FFI_THROW(ValueError) << ...`, or
  /// anything else); byoc adds segment and vendor names.
  virtual void Execute(TensorSpan inputs, TensorSpan outputs) const = 0;

  /// Returns how many calls the device works on at a time; 0: it has no queue, and `Execute` is
  /// called. Above 0 `Submit` is called instead, and the vendor needs a processor of its own
  /// (`Vendor.processor`). Asked once, after `init`.
  virtual size_t QueueDepth() const { return 0; }

  /// Begins to compute `outputs` from `inputs` and returns; `done` is called when the device is
  /// done with all of it, from any thread, also before this returns.
  ///
  /// While the device works the processor begins other calls, `QueueDepth()` at a time, each on
  /// tensors of its own; so upload, kernel and download of different requests overlap. `Submit`
  /// itself is called by one thread at a time, but for calls with a deadline of their segment's
  /// (`Healing`). What is said of `Execute` holds, too. Report failure by throwing, or by
  /// `done.Fail`.
  virtual void Submit(TensorSpan inputs, TensorSpan outputs, Done done) const {
    Execute(inputs, outputs);
    done();
  }

  /// Returns what the segment holds once `init` is done; asked once, before the first call.
  virtual SegmentMemory Memory() const { return {}; }
};

/// A segment of a device with a queue: it has `Submit`, and no `Execute`.
class QueuedSegmentRuntime : public SegmentRuntime {
 public:
  void Submit(TensorSpan inputs, TensorSpan outputs, Done done) const override = 0;
  size_t QueueDepth() const override { return 4; }
  void Execute(TensorSpan inputs, TensorSpan outputs) const final {
    TVM_FFI_THROW(RuntimeError) << "vendor author: QueueDepth() is 0, and there is no Execute";
  }
};

/// Makes a segment from its artifact; throws when it cannot. Called on the processor's thread.
using SegmentFactory = std::unique_ptr<SegmentRuntime> (*)(const SegmentInit& init);

/// Says why this library cannot run what another version of the vendor compiled, in one sentence;
/// "" when it can. Asked before `init`, on the processor's thread.
using CanLoad = std::string (*)(std::string_view blob, std::string_view version);

/// What a vendor finds on this machine, compared with `byoc.Requires` of an artifact.
struct Equipment {
  std::vector<std::string> devices;  ///< models, as compile() writes them to `Requires.device`
  std::string driver;                ///< version of the driver: "550.54.14"
  int64_t memory = 0;                ///< bytes of the largest device
};

/// Asked when a model is loaded whose artifact requires a device, a driver or its memory.
using FindEquipment = Equipment (*)();

/// Says that these bytes of a constant have been packed and will hardly be read again.
///
/// When they are pages of a mapped artifact, the system gets them back: a process then needs one
/// copy of its weights, not two. Always safe: the bytes can still be read, other memory is left
/// alone.
inline void ReleasePages(const void* data, size_t size) {
  static const auto release = tvm::ffi::Function::GetGlobal("byoc.runtime.release_pages");
  if (release) (*release)(reinterpret_cast<int64_t>(data), static_cast<int64_t>(size));
}

namespace details {

/// Says what the exception at hand is, whatever was thrown; called in a catch block.
inline std::string CurrentException() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (const std::string& text) {
    return text;
  } catch (const char* text) {
    return text != nullptr ? text : "a null pointer was thrown";
  } catch (int code) {
    return "the int " + std::to_string(code) + " was thrown";
  } catch (...) {
#if __has_include(<cxxabi.h>)
    const std::type_info* type = abi::__cxa_current_exception_type();
    if (type != nullptr) return std::string("a value of type ") + type->name() + " was thrown";
#endif
    return "a value of an unknown type was thrown";
  }
}

/// Whether `t` is dense and row-major.
inline bool IsDense(const DLTensor& t) {
  if (t.strides == nullptr) return true;
  int64_t expected = 1;
  bool dense = true;
  for (int i = t.ndim; i-- > 0;) {
    if (t.shape[i] == 0) return true;
    dense = dense && (t.shape[i] == 1 || t.strides[i] == expected);
    expected *= t.shape[i];
  }
  return dense;
}

/// Unpacks the arguments of a call: dense tensors in CPU memory. Their pointers go to `tensors`,
/// those that `byte_offset` had to be folded into to `moved`.
inline void Unpack(const char* vendor, tvm::ffi::PackedArgs args, const DLTensor** tensors,
                   std::vector<DLTensor>* moved) {
  const size_t count = static_cast<size_t>(args.size());
  for (size_t i = 0; i < count; ++i) {
    const DLTensor* t = args[static_cast<int>(i)].cast<DLTensor*>();
    if (t->device.device_type != kDLCPU || !IsDense(*t)) {
      TVM_FFI_THROW(ValueError) << "vendor '" << vendor << "': argument " << i
                                << " must be a dense row-major tensor in CPU memory";
    }
    if (t->byte_offset != 0) {
      if (moved->empty()) moved->reserve(count);
      moved->push_back(*t);
      moved->back().data = static_cast<char*>(t->data) + t->byte_offset;
      moved->back().byte_offset = 0;
      t = &moved->back();
    }
    tensors[i] = t;
  }
}

/// Runs a vendor's code, whose exceptions leave it as errors of tvm-ffi.
template <typename F>
inline void RunGuarded(const char* vendor, F code) {
  try {
    code();
  } catch (const tvm::ffi::Error&) {
    throw;
  } catch (...) {  // an SDK's own exception type
    TVM_FFI_THROW(RuntimeError) << "vendor '" << vendor << "': " << CurrentException();
  }
}

/// Returns byoc's queue for a segment, begin() -> [control, wait]; null for one without a queue.
inline tvm::ffi::Function QueueOf(const SegmentRuntime& segment, const char* vendor) {
  const size_t depth = segment.QueueDepth();
  if (depth == 0) return nullptr;
  static const auto make = tvm::ffi::Function::GetGlobal("byoc.runtime.segment_queue");
  if (!make) {
    TVM_FFI_THROW(RuntimeError) << "vendor '" << vendor << "' has a queue, which needs a later "
                                << "byoc: install matching releases";
  }
  return (*make)(tvm::ffi::String(vendor), static_cast<int64_t>(depth)).cast<tvm::ffi::Function>();
}

/// Makes one call of a segment with a queue, and waits for its end.
inline void CallQueued(const SegmentRuntime& segment, const char* vendor,
                       const tvm::ffi::Function& queue, tvm::ffi::PackedArgs args) {
  const size_t inputs = segment.InputCount(), count = static_cast<size_t>(args.size());
  auto unpacked = std::make_shared<CallArguments>();
  unpacked->tensors.resize(count);
  Unpack(vendor, args, unpacked->tensors.data(), &unpacked->moved);
  const DLTensor* const* tensors = unpacked->tensors.data();
  auto call = queue().cast<tvm::ffi::Array<tvm::ffi::Function>>();
  const tvm::ffi::Function wait = call[1];
  Done done(call[0], std::move(unpacked));
  call = {};  // from here on the vendor's copies are the only ones
  std::exception_ptr failed;
  try {
    RunGuarded(vendor, [&] {
      segment.Submit(TensorSpan(tensors, inputs), TensorSpan(tensors + inputs, count - inputs),
                     std::move(done));
    });
  } catch (...) {
    failed = std::current_exception();
  }
  try {
    wait();  // also for what Submit began before it failed
  } catch (...) {
    if (!failed) throw;
  }
  if (failed) std::rethrow_exception(failed);
}

/// Makes one call: unpacks the arguments into spans (on the stack when there are few) and run.
inline void CallSegment(const SegmentRuntime& segment, const char* vendor,
                        const tvm::ffi::Function& queue, tvm::ffi::PackedArgs args) {
  constexpr size_t kInline = 16;
  const size_t inputs = segment.InputCount();
  const size_t count = static_cast<size_t>(args.size());
  if (count != inputs + segment.OutputCount()) {
    TVM_FFI_THROW(TypeError) << "vendor '" << vendor << "': segment takes " << inputs
                             << " inputs and " << segment.OutputCount() << " outputs, got " << count
                             << " arguments";
  }
  if (queue != nullptr) {
    CallQueued(segment, vendor, queue, args);
    return;
  }
  const DLTensor* inline_pointers[kInline];
  std::vector<const DLTensor*> heap_pointers;
  const DLTensor** tensors = inline_pointers;
  if (count > kInline) {
    heap_pointers.resize(count);
    tensors = heap_pointers.data();
  }
  std::vector<DLTensor> moved;
  Unpack(vendor, args, tensors, &moved);
  RunGuarded(vendor, [&] {
    segment.Execute(TensorSpan(tensors, inputs), TensorSpan(tensors + inputs, count - inputs));
  });
}

/// Tells byoc, which has just called `init` on this thread, what the segment holds and takes.
inline void TellByoc(const SegmentRuntime& segment) {
  static const auto memory = tvm::ffi::Function::GetGlobal("byoc.runtime.tell_memory");
  static const auto ports = tvm::ffi::Function::GetGlobal("byoc.runtime.tell_ports");
  if (memory) {
    const SegmentMemory held = segment.Memory();
    (*memory)(static_cast<int64_t>(held.packed), static_cast<int64_t>(held.workspace));
  }
  if (ports) {
    (*ports)(static_cast<int64_t>(segment.InputCount()),
             static_cast<int64_t>(segment.OutputCount()));
  }
}

/// Registers `init` and `api_version` of a vendor; use BYOC_REGISTER_VENDOR.
inline void RegisterVendor(const char* name, SegmentFactory factory, CanLoad can_load = nullptr,
                           FindEquipment find_equipment = nullptr) {
  using tvm::ffi::Any, tvm::ffi::Array, tvm::ffi::Bytes, tvm::ffi::Function, tvm::ffi::String,
      tvm::ffi::Tensor;
  const std::string prefix = std::string("byoc.vendor.") + name;
  const auto address = reinterpret_cast<int64_t>(factory);  // tells which library this is
  if (Function::GetGlobal(prefix + ".init")) {
    // Another library's: an error here would end the process, so byoc is told.
    Function::SetGlobal("byoc.vendor_twice", Function::FromTyped([name, address] {
                          return Array<tvm::ffi::Any>{String(name), address};
                        }),
                        /*override=*/true);
    return;
  }
  auto init = [name, factory](Bytes blob, Array<Tensor> constants, String options) -> Function {
    std::shared_ptr<const SegmentRuntime> segment;
    Function queue;
    try {
      SegmentInit given;
      given.blob = std::string_view(blob.data(), blob.size());
      given.constants = constants;
      given.options = std::string_view(options.data(), options.size());
      given.vendor = name;
      Any held;
      AskByoc(&given, &held);
      segment = factory(given);
      if (segment != nullptr) {
        TellByoc(*segment);
        queue = QueueOf(*segment, name);
      }
    } catch (const tvm::ffi::Error&) {
      throw;
    } catch (...) {
      TVM_FFI_THROW(RuntimeError) << "vendor '" << name << "': " << CurrentException();
    }
    if (segment == nullptr) {
      TVM_FFI_THROW(RuntimeError) << "vendor '" << name << "': init returned no segment";
    }
    return Function::FromPacked([name, segment, queue](tvm::ffi::PackedArgs args, tvm::ffi::Any*) {
      CallSegment(*segment, name, queue, args);
    });
  };
  tvm::ffi::reflection::GlobalDef()
      .def((prefix + ".init").c_str(), init)
      .def((prefix + ".api_version").c_str(), [] { return kVendorApiVersion; })
      .def((prefix + ".address").c_str(), [address] { return address; })
      // It takes the blob from the context: then byoc needs no copy of a mapped one.
      .def((prefix + ".reads_context").c_str(), [] { return true; });
  if (can_load != nullptr) {
    tvm::ffi::reflection::GlobalDef().def(
        (prefix + ".can_load").c_str(), [can_load](Tensor blob, String version) {
          const std::string_view bytes(static_cast<const char*>(blob.data_ptr()),
                                       static_cast<size_t>(blob.shape()[0]));
          return String(can_load(bytes, std::string_view(version.data(), version.size())));
        });
  }
  if (find_equipment != nullptr) {
    tvm::ffi::reflection::GlobalDef().def((prefix + ".equipment").c_str(), [find_equipment] {
      const Equipment found = find_equipment();
      Array<String> devices;
      for (const std::string& device : found.devices) devices.push_back(device);
      return Array<Any>{devices, String(found.driver), found.memory};
    });
  }
}

}  // namespace details
}  // namespace byoc

/// Makes this library the runtime of vendor `Name` (a bare identifier); once per library.
///
///   BYOC_REGISTER_VENDOR(acme, Init)
///   BYOC_REGISTER_VENDOR(acme, Init, CanLoadAcme, FindAcmeEquipment)      // either may be nullptr
///
/// \param Name as the vendor is published, without quotes; a macro stands for what it expands to.
/// \param ... a `byoc::SegmentFactory`, and if wanted a `byoc::CanLoad` and `byoc::FindEquipment`.
#define BYOC_REGISTER_VENDOR(Name, ...) BYOC_REGISTER_VENDOR_AS(Name, __VA_ARGS__)
#define BYOC_REGISTER_VENDOR_AS(Name, ...) \
  TVM_FFI_STATIC_INIT_BLOCK() { ::byoc::details::RegisterVendor(#Name, __VA_ARGS__); }

/// Tells how many equal devices the vendor finds on this machine, at most once per library.
///
/// With two or more, segments are made once for each of them, on the processors "npu:0", "npu:1"
/// and so on, and every request runs on the one that has the fewest in flight.
///
/// \param Count a function without arguments that returns how many there are: a `size_t`.
#define BYOC_REGISTER_DEVICES(Name, Count) BYOC_REGISTER_DEVICES_AS(Name, Count)
#define BYOC_REGISTER_DEVICES_AS(Name, Count)                                              \
  TVM_FFI_STATIC_INIT_BLOCK() {                                                            \
    ::tvm::ffi::reflection::GlobalDef().def("byoc.vendor." #Name ".devices",               \
                                            [] { return static_cast<int64_t>(Count()); }); \
  }

#endif  // BYOC_VENDOR_H_

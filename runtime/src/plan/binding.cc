#include "plan/binding.h"

#include <tvm/ffi/container/map.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "byoc/threads.h"
#include "byoc/vendor.h"
#include "core/cancellation.h"
#include "core/checked.h"
#include "core/errors.h"
#include "core/mapping.h"
#include "core/processor.h"
#include "core/text.h"
#include "plan/segment_check.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

// What is being bound on this thread.
thread_local Binding* current = nullptr;
thread_local const SegmentSource* current_source = nullptr;

/// While it lives, this thread binds a segment.
class Scope {
 public:
  Scope(Binding* binding, const SegmentSource* source)
      : binding_(std::exchange(current, binding)), source_(std::exchange(current_source, source)) {}
  ~Scope() {
    current = binding_;
    current_source = source_;
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Binding* const binding_;
  const SegmentSource* const source_;
};

void CheckPorts(const PortCounts& told, const PortCounts& wanted) {
  const auto differ = [](int64_t a, int64_t b) { return a >= 0 && b >= 0 && a != b; };
  if (!differ(told.inputs, wanted.inputs) && !differ(told.outputs, wanted.outputs)) return;
  const auto text = [](int64_t count) { return count < 0 ? "?" : std::to_string(count); };
  TVM_FFI_THROW(ValueError) << "vendor author: InputCount() is " << text(told.inputs)
                            << " and OutputCount() is " << text(told.outputs)
                            << ", the segment has " << text(wanted.inputs) << " inputs and "
                            << text(wanted.outputs)
                            << " outputs (len(segment.inputs), len(segment.outputs))";
}

/// A function of the vendor that it may have beside `init`.
std::optional<ffi::Function> Extra(const SegmentSource& source, const char* name) {
  return ffi::Function::GetGlobal("byoc.vendor." + source.vendor + "." + name);
}

void AskCanLoad(const SegmentSource& source) {
  const auto can_load = Extra(source, "can_load");
  if (!can_load) return;
  const std::string why((*can_load)(source.blob, source.version).cast<ffi::String>());
  if (why.empty()) return;
  ThrowVendorError("vendor " + Quoted(source.vendor) + ", segment " + Quoted(source.name) +
                   ", compiled by its version " + Printable(source.version) +
                   ", cannot be loaded by the one installed: " + why +
                   "; compile the model again, or install that version");
}

/// Calls `init` on the artifact. A vendor that reads the context takes the blob from there.
ffi::Function CallInit(const ffi::Function& init, const SegmentSource& source,
                       const ffi::Array<ffi::Tensor>& constants) {
  const auto size = Extra(source, "reads_context") ? 0 : source.blob.shape()[0];
  const ffi::Bytes blob(static_cast<const char*>(source.blob.data_ptr()),
                        static_cast<size_t>(size));
  return Checked(init(blob, constants, ffi::String(source.options)).cast<ffi::Function>());
}

/// What a segment's function holds, to be let go on its processor's thread.
struct Held {
  Processor* processor;
  ffi::Function function;
  std::function<void()> close;
};

class LetGo final : public Job {
 public:
  explicit LetGo(Held held) : held_(std::move(held)) {}
  void Run() noexcept override {
    try {
      if (held_.close) held_.close();
      held_.close = nullptr;
      held_.function = ffi::Function();
    } catch (...) {  // nobody waits for it: there is nobody to tell
    }
    delete this;
  }

 private:
  Held held_;
};

void LetGoOfHeld(Held* held) {
  Processor* processor = held->processor;
  auto* job = new LetGo(std::move(*held));
  delete held;
  try {
    if (Processor::Current() != processor && processor->TrySubmit(job)) return;
  } catch (...) {  // there is no thread: then here
  }
  job->Run();
}

}  // namespace

std::vector<std::string> DevicesOf(const std::string& vendor, const std::string& processor,
                                   int64_t count) {
  if (count < 0) {
    const auto devices = ffi::Function::GetGlobal("byoc.vendor." + vendor + ".devices");
    count = devices ? (*devices)().cast<int64_t>() : 1;
  }
  const auto fail = [&](const std::string& why) {
    throw ffi::Error("byoc.VendorError", "vendor '" + vendor + "': " + why, "");
  };
  if (count < 1) fail("there is no device: its enumeration found " + std::to_string(count));
  if (processor == "cpu") {
    if (count > 1) {
      fail("vendor author: it has " + std::to_string(count) +
           " devices and runs on processor 'cpu'; name a processor of its own");
    }
    return {processor};
  }
  const size_t colon = processor.rfind(':');
  const std::string number = colon == std::string::npos ? "" : processor.substr(colon + 1);
  constexpr size_t kDigits = 4;
  if (!number.empty() && number.size() <= kDigits &&
      number.find_first_not_of("0123456789") == std::string::npos) {
    if (std::stoll(number) >= count) {
      fail("there is no device '" + processor + "'; there are " + std::to_string(count) + ": '" +
           processor.substr(0, colon) + ":0' to ':" + std::to_string(count - 1) + "'");
    }
    return {processor};
  }
  Processor::Get(processor)->SetDevices(static_cast<size_t>(count));
  if (count == 1) return {processor};
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(processor + ":" + std::to_string(i));
  return names;
}

ffi::Function OfDevices(std::vector<ffi::Function> functions) {
  if (functions.size() == 1) return std::move(functions[0]);
  return ffi::Function::FromPacked(
      [functions = std::move(functions)](ffi::PackedArgs args, ffi::Any* result) {
        // Without a run (a VM, a worker process) it is the first one's.
        const size_t device = CallContext::Current().device;
        functions[device < functions.size() ? device : 0].CallPacked(args, result);
      });
}

ffi::Function LetGoOn(const std::string& processor, ffi::Function function,
                      std::function<void()> close) {
  const std::shared_ptr<Held> held(
      new Held{Processor::Get(processor), std::move(function), std::move(close)}, LetGoOfHeld);
  return ffi::Function::FromPacked(
      [held](ffi::PackedArgs args, ffi::Any* result) { held->function.CallPacked(args, result); });
}

ffi::Any SegmentContext() {
  if (current_source == nullptr) return nullptr;
  const SegmentSource& source = *current_source;
  ffi::Map<ffi::String, ffi::Any> context{{"segment", ffi::String(source.name)},
                                          {"version", ffi::String(source.version)},
                                          {"processor", ffi::String(source.processor)},
                                          {"threads", threads::Max()},
                                          {"inputs", source.inputs},
                                          {"outputs", source.outputs},
                                          {"blob", source.blob}};
  return context;
}

const SegmentSource* SegmentAtHand() { return current_source; }

PortCounts PortsAtHand() {
  return current_source == nullptr ? PortCounts{} : current_source->ports;
}

void ReleasePages(int64_t address, int64_t size) {
  if (current != nullptr) current->released.insert(reinterpret_cast<const void*>(address));
  DropPages(address, size);
}

void TellMemory(int64_t packed, int64_t workspace) {
  if (current == nullptr) return;  // called by somebody else than us
  current->packed = static_cast<size_t>(std::max<int64_t>(packed, 0));
  current->workspace = static_cast<size_t>(std::max<int64_t>(workspace, 0));
}

void TellPorts(int64_t inputs, int64_t outputs) {
  if (current != nullptr) current->ports = PortCounts{inputs, outputs};
}

void TellDepth(int64_t depth) {
  if (current == nullptr) return;
  constexpr int64_t kMost = 64;  // each has a thread that waits
  if (depth < 1 || depth > kMost) {
    TVM_FFI_THROW(ValueError) << "vendor author: the queue takes " << depth
                              << " calls at a time, legal: 1.." << kMost;
  }
  current->depth = static_cast<size_t>(depth);
}

Binding BindSegment(const ffi::Function& init, const SegmentSource& source) {
  Binding binding;
  // A vendor that goes on using a constant keeps its tensor: one made for this call alone, so that
  // the references tell.
  struct Lent {
    ffi::Tensor owner;
    void AllocData(DLTensor* t) {
      t->data = static_cast<char*>(owner.data_ptr()) + owner.GetDLTensorPtr()->byte_offset;
    }
    void FreeData(DLTensor*) {}
  };
  std::vector<ffi::Tensor> lent;
  for (const ffi::Tensor& t : source.constants) {
    lent.push_back(ffi::Tensor::FromNDAlloc(Lent{t}, t.shape(), t.dtype(), DLDevice{kDLCPU, 0}));
  }
  const std::vector<std::shared_ptr<FileWatch>> blob_watches = WatchesOf({source.blob.data_ptr()});
  Processor::Get(source.processor)->Call([&] {
    const Scope scope(&binding, &source);
    const ffi::Array<ffi::Tensor> given(lent.begin(), lent.end());
    try {
      AskCanLoad(source);
      binding.execute = CallInit(init, source, given);
    } catch (const ffi::Error&) {
      throw;
    } catch (...) {  // libraries that an older vendor.h was part of let anything out
      TVM_FFI_THROW(RuntimeError) << details::CurrentException();
    }
  });
  for (const std::shared_ptr<FileWatch>& watch : blob_watches) watch->Check();
  DropPages(reinterpret_cast<int64_t>(source.blob.data_ptr()), source.blob.shape()[0]);
  binding.execute = LetGoOn(source.processor, std::move(binding.execute));
  PortCounts ports = source.ports;
  CheckPorts(binding.ports, ports);
  if (binding.depth > 0) {
    if (source.processor == "cpu") {
      TVM_FFI_THROW(ValueError) << "vendor author: the segment has a queue (QueueDepth() is "
                                << binding.depth << ") and runs on processor 'cpu', where one call "
                                << "runs at a time; name a processor of its own: "
                                << "Vendor(processor=\"...\")";
    }
    Processor::Get(source.processor)->SetDepth(binding.depth);
  }
  if (ports.outputs < 0) ports.outputs = binding.ports.outputs;
  if (ports.outputs >= 0) {
    binding.execute = WatchSegment(std::move(binding.execute), static_cast<size_t>(ports.outputs));
  }
  std::vector<const void*> still_read;
  for (size_t i = 0; i < lent.size(); ++i) {
    if (lent[i].use_count() > 1) {
      // Kept and released: it may be read once more, but does not lie in memory meanwhile.
      if (binding.released.count(lent[i].data_ptr()) == 0) binding.in_use.push_back(i);
      still_read.push_back(lent[i].data_ptr());
    }
    // Most constants were packed into a layout of the vendor's own: their pages may go.
    const DLTensor& t = *lent[i].GetDLTensorPtr();
    DropPages(reinterpret_cast<int64_t>(t.data), static_cast<int64_t>(ffi::GetDataSize(t)));
  }
  for (std::shared_ptr<FileWatch>& watch : WatchesOf(still_read)) {
    binding.execute =
        ffi::Function::FromPacked([execute = std::move(binding.execute), watch = std::move(watch)](
                                      ffi::PackedArgs args, ffi::Any* result) {
          watch->Check();
          execute.CallPacked(args, result);
          watch->Check();
        });
  }
  return binding;
}

}  // namespace byoc

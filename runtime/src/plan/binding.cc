#include "plan/binding.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "byoc/vendor.h"
#include "core/checked.h"
#include "core/mapping.h"
#include "core/processor.h"
#include "plan/segment_check.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

thread_local Binding* current = nullptr;  // what is being bound on this thread

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

}  // namespace

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

Binding BindSegment(const std::string& processor, const ffi::Function& init, const ffi::Bytes& blob,
                    const ffi::Array<ffi::Tensor>& constants, const ffi::String& options,
                    PortCounts ports) {
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
  for (const ffi::Tensor& t : constants) {
    lent.push_back(ffi::Tensor::FromNDAlloc(Lent{t}, t.shape(), t.dtype(), DLDevice{kDLCPU, 0}));
  }
  Processor::Get(processor)->Call([&] {
    struct Scope {
      explicit Scope(Binding* binding) : before(std::exchange(current, binding)) {}
      ~Scope() { current = before; }
      Binding* before;
    } scope(&binding);
    const ffi::Array<ffi::Tensor> given(lent.begin(), lent.end());
    try {
      binding.execute = Checked(init(blob, given, options).cast<ffi::Function>());
    } catch (const ffi::Error&) {
      throw;
    } catch (...) {  // libraries that an older vendor.h was part of let anything out
      TVM_FFI_THROW(RuntimeError) << details::CurrentException();
    }
  });
  CheckPorts(binding.ports, ports);
  if (binding.depth > 0) {
    if (processor == "cpu") {
      TVM_FFI_THROW(ValueError) << "vendor author: the segment has a queue (QueueDepth() is "
                                << binding.depth << ") and runs on processor 'cpu', where one call "
                                << "runs at a time; name a processor of its own: "
                                << "Vendor(processor=\"...\")";
    }
    Processor::Get(processor)->SetDepth(binding.depth);
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

#include "vm/vm_executor.h"

#include <cstring>
#include <utility>

#include "core/errors.h"
#include "core/tensors.h"
#include "core/text.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr int kPooledAllocator = 2;  // tvm::runtime::memory::AllocatorType::kPooled

void Flatten(ffi::Any value, std::vector<ffi::Tensor>* out) {
  if (auto tensor = value.as<ffi::Tensor>()) {
    out->push_back(*std::move(tensor));
  } else if (auto fields = value.as<ffi::Array<ffi::Any>>()) {
    for (const ffi::Any& field : *fields) Flatten(field, out);
  } else {
    ThrowExecutionError("the VM returned a " + value.GetTypeKey() +
                        ", expected tensors and tuples of tensors");
  }
}

/// True when `t` lies in the memory of one of `others`.
bool SharesMemory(const ffi::Tensor& t, const ffi::Array<ffi::Tensor>& others) {
  const auto* begin = static_cast<const char*>(t.data_ptr()) + t.byte_offset();
  for (const ffi::Tensor& other : others) {
    const auto* from = static_cast<const char*>(other.data_ptr()) + other.byte_offset();
    if (begin >= from && begin < from + ffi::GetDataSize(*other.GetDLTensorPtr())) return true;
  }
  return false;
}

/// A result the caller may keep and write to.
ffi::Tensor Own(ffi::Tensor t, const ffi::Array<ffi::Tensor>& args) {
  const DLTensor& view = *t.GetDLTensorPtr();
  // Two references are ours and the VM's last return value; more mean a constant of the
  // executable, or a tensor returned twice.
  if (t.use_count() <= 2 && view.byte_offset == 0 && !SharesMemory(t, args)) return t;
  if (!t.IsContiguous()) ThrowExecutionError("the VM returned a tensor that is not dense");
  ffi::Tensor copy = NewTensor(t.shape(), view.dtype);
  std::memcpy(copy.data_ptr(), static_cast<const char*>(view.data) + view.byte_offset,
              ffi::GetDataSize(view));
  return copy;
}

/// An argument of a segment as the VM takes it.
ffi::Tensor AsTensor(ffi::AnyView arg) {
  if (auto tensor = arg.try_cast<ffi::Tensor>()) return *std::move(tensor);
  const DLTensor* t = arg.cast<DLTensor*>();
  return WrapMemory(static_cast<char*>(t->data) + t->byte_offset,
                    ffi::ShapeView(t->shape, static_cast<size_t>(t->ndim)), t->dtype, nullptr);
}

}  // namespace

VmExecutor::VmExecutor(ffi::Module executable, ffi::Module segments, std::string entry)
    : executable_(std::move(executable)),
      segments_(std::move(segments)),
      entry_(std::move(entry)),
      processor_(Processor::Get("cpu")) {
  // Made now, so that a wrong executable is found when it is loaded.
  processor_->Call([this] { idle_.push_back(Acquire()); });
}

std::unique_ptr<VmExecutor::Vm> VmExecutor::Acquire() {
  if (!idle_.empty()) {
    std::unique_ptr<Vm> vm = std::move(idle_.back());
    idle_.pop_back();
    return vm;
  }
  auto load = executable_->GetFunction("vm_load_executable");
  if (!load) ThrowArtifactError("the host library is not a Relax VM executable");
  ffi::Module vm = (*load)().cast<ffi::Module>();
  // Looked through before the global registry. Into the VM, not the executable: that one may be
  // exported by whoever gave it to us.
  vm->ImportModule(segments_);
  try {
    (*vm->GetFunction("vm_initialization"))(static_cast<int>(kDLCPU), 0, kPooledAllocator);
  } catch (const ffi::Error& error) {
    // Functions are looked up here: one that TVM's Python package or the user registers, or one of
    // another version of this library.
    ThrowArtifactError("the VM cannot load the model's bytecode: " + InPlainWords(error.message()) +
                       "; compile and save the model with this version of byoc, or register the "
                       "function before the model is loaded");
  }
  auto entry = vm->GetFunction(entry_);
  if (!entry) ThrowArtifactError("the VM executable has no function '" + entry_ + "'");
  // A forged manifest may name more inputs than the function has, or fewer.
  const int64_t takes = (*vm->GetFunction("get_function_arity"))(entry_).cast<int64_t>();
  return std::make_unique<Vm>(Vm{std::move(vm), *std::move(entry), takes});
}

ffi::Array<ffi::Tensor> VmExecutor::Run(const ffi::Array<ffi::Tensor>& args) {
  ffi::Array<ffi::Tensor> results;
  processor_->Call(
      [&] {
        std::unique_ptr<Vm> vm = Acquire();
        std::vector<ffi::AnyView> views;
        for (const ffi::Tensor& arg : args) views.emplace_back(arg);
        if (static_cast<int64_t>(args.size()) != vm->takes) {
          ThrowExecutionError("VM function '" + entry_ + "' takes " + std::to_string(vm->takes) +
                              " inputs, the file names " + std::to_string(args.size()) +
                              ": it is damaged; compile and save the model again");
        }
        std::vector<ffi::Tensor> tensors;
        try {
          ffi::Any result;
          vm->entry.CallPacked(views.data(), static_cast<int32_t>(views.size()), &result);
          Flatten(std::move(result), &tensors);
        } catch (const ffi::Error& error) {
          // The VM's frames are in disorder now: this one is not used again.
          if (std::string(error.kind()) == "byoc.ExecutionError") throw;  // it names its segment
          ThrowExecutionError("VM function '" + entry_ + "' failed: " + std::string(error.kind()) +
                              ": " + InPlainWords(error.message()));
        } catch (const std::exception& error) {
          ThrowExecutionError("VM function '" + entry_ + "' failed: " + error.what());
        } catch (...) {
          ThrowExecutionError("VM function '" + entry_ + "' failed: unknown C++ exception");
        }
        for (ffi::Tensor& t : tensors)
          results.push_back(Own(std::exchange(t, ffi::Tensor()), args));
        idle_.push_back(std::move(vm));
      },
      &queue_);
  return results;
}

void RunInto(VmExecutor* executor, ffi::PackedArgs args, size_t outputs,
             const ffi::Array<ffi::Tensor>& constants) {
  const size_t inputs = static_cast<size_t>(args.size()) - outputs;
  ffi::Array<ffi::Tensor> given;
  for (size_t i = 0; i < inputs; ++i) given.push_back(AsTensor(args[static_cast<int>(i)]));
  for (const ffi::Tensor& constant : constants) given.push_back(constant);
  const ffi::Array<ffi::Tensor> results = executor->Run(given);
  if (results.size() != outputs) {
    ThrowExecutionError("the host twin returned " + std::to_string(results.size()) +
                        " tensors, expected " + std::to_string(outputs));
  }
  for (size_t i = 0; i < outputs; ++i) {
    const DLTensor& from = *results[i].GetDLTensorPtr();
    const DLTensor* to = args[static_cast<int>(inputs + i)].cast<DLTensor*>();
    const size_t size = ffi::GetDataSize(from);
    if (size != ffi::GetDataSize(*to)) {
      ThrowExecutionError("output " + std::to_string(i) + " of the host twin has " +
                          std::to_string(size) + " bytes, expected " +
                          std::to_string(ffi::GetDataSize(*to)));
    }
    if (size != 0) {
      std::memcpy(static_cast<char*>(to->data) + to->byte_offset,
                  static_cast<const char*>(from.data) + from.byte_offset, size);
    }
  }
}

}  // namespace byoc

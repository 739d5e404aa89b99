/// \file
/// Runs a Relax VM executable: models with symbolic shapes or control flow.
#ifndef BYOC_RUNTIME_VM_EXECUTOR_H_
#define BYOC_RUNTIME_VM_EXECUTOR_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/processor.h"

namespace byoc {

/// One loaded executable and idle VMs over it.
///
/// A VM keeps its frames in itself and is not re-entrant, so each call takes one of its own. Calls
/// run on the thread of processor "cpu" like all that shares its workers; a second VM is made
/// only when a call starts inside another one (a vendor's callback that runs the model again).
class VmExecutor {
 public:
  /// \param executable the module that has `vm_load_executable`; not changed.
  /// \param segments serves the segments that the bytecode calls by name.
  /// \param entry the VM function to call.
  VmExecutor(tvm::ffi::Module executable, tvm::ffi::Module segments, std::string entry);

  /// Runs entry(*args) and returns the tensors of its result, tuples flattened, none of them
  /// sharing memory with an argument or with the executable. Throws byoc.ExecutionError. Any
  /// thread.
  tvm::ffi::Array<tvm::ffi::Tensor> Run(const tvm::ffi::Array<tvm::ffi::Tensor>& args);

  /// The processor that calls run on.
  Processor* processor() const { return processor_; }
  /// Where this executor's jobs wait at that processor.
  SubmissionQueue* queue() { return &queue_; }

 private:
  struct Vm {
    tvm::ffi::Module module;
    tvm::ffi::Function entry;
    int64_t takes;  // inputs of the function
  };
  std::unique_ptr<Vm> Acquire();

  const tvm::ffi::Module executable_;
  const tvm::ffi::Module segments_;
  const std::string entry_;
  Processor* const processor_;
  SubmissionQueue queue_;
  std::vector<std::unique_ptr<Vm>> idle_;  // touched on the processor's thread only
};

/// Runs `executor`'s entry as a segment is called: the last `outputs` of `args` are written, the
/// others are read, and followed by `constants`. Throws byoc.ExecutionError.
void RunInto(VmExecutor* executor, tvm::ffi::PackedArgs args, size_t outputs,
             const tvm::ffi::Array<tvm::ffi::Tensor>& constants);

}  // namespace byoc

#endif  // BYOC_RUNTIME_VM_EXECUTOR_H_

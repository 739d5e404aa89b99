/// \file
/// From the parts of a program to something that runs: for Python (ffi.cc) and C alike.
#ifndef BYOC_RUNTIME_ASSEMBLE_H_
#define BYOC_RUNTIME_ASSEMBLE_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/optional.h>
#include <tvm/ffi/string.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "plan/executor.h"

namespace byoc {

/// Puts together everything a plan needs. A kernel's function does not keep its library alive:
/// `host` must outlive the executor. Throws byoc.ArtifactError.
///
/// \param segments functions by the names the plan calls them by.
/// \param vendors segment name -> vendor, for messages.
std::shared_ptr<Executor> NewExecutor(
    const std::string& plan_json, const tvm::ffi::Optional<tvm::ffi::Module>& host,
    const tvm::ffi::Map<tvm::ffi::String, tvm::ffi::Function>& segments,
    const tvm::ffi::Map<tvm::ffi::String, tvm::ffi::String>& vendors,
    tvm::ffi::Array<tvm::ffi::Tensor> constants);

/// Returns run(inputs..., outputs...), each a tensor or an address; the function holds `host`.
///
/// \param anywhere see `Executor::Run`.
tvm::ffi::Function RunFunction(std::shared_ptr<Executor> executor,
                               const tvm::ffi::Optional<tvm::ffi::Module>& host,
                               bool anywhere = false);

/// Returns a fallback, execute(inputs..., outputs...), of tensors whose types it compares with
/// those of its plan; the function holds `host`.
tvm::ffi::Function FallbackFunction(std::shared_ptr<Executor> executor,
                                    const tvm::ffi::Optional<tvm::ffi::Module>& host);

/// Returns the addresses of tensors, or addresses themselves, from argument `first` on.
std::vector<void*> Pointers(tvm::ffi::PackedArgs args, int first);

/// Throws TypeError unless `count` is the number of the plan's ports.
void CheckCount(const Executor& executor, size_t count);

}  // namespace byoc

#endif  // BYOC_RUNTIME_ASSEMBLE_H_

/// \file
/// Segments as tvm-ffi modules: what Relax's VM and exported libraries call.
#ifndef BYOC_RUNTIME_SEGMENT_MODULE_H_
#define BYOC_RUNTIME_SEGMENT_MODULE_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

namespace byoc {

/// Returns a module of kind "byoc.functions" that serves `functions` by name; not serialisable.
tvm::ffi::Module FunctionModule(tvm::ffi::Map<tvm::ffi::String, tvm::ffi::Function> functions);

/// Returns a module of kind "byoc.segment": one compiled segment, for plain TVM users.
///
/// It serves one function, `symbol`, and saves itself into whatever library imports it
/// (`export_library`). `byoc.vendor.<vendor>.init` is called once, when `symbol` is first called;
/// it must be registered by then.
tvm::ffi::Module SegmentModule(tvm::ffi::String symbol, tvm::ffi::String vendor,
                               tvm::ffi::Bytes blob, tvm::ffi::Array<tvm::ffi::Tensor> constants,
                               tvm::ffi::String options);

/// Makes a module of what its SaveToBytes wrote. Throws byoc.ArtifactError on damaged bytes.
tvm::ffi::Module LoadSegmentModule(const tvm::ffi::Bytes& bytes);

}  // namespace byoc

#endif  // BYOC_RUNTIME_SEGMENT_MODULE_H_

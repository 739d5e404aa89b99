/*
 * Binding segments, for Python and for vendors' libraries.
 */
#include <tvm/ffi/reflection/registry.h>

#include <cstdint>
#include <string>

#include "core/mapping.h"
#include "plan/binding.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*! \brief bind(processor, init, blob, constants, options) -> [execute, packed, workspace, in use].
 */
ffi::Array<ffi::Any> Bind(const ffi::String& processor, const ffi::Function& init,
                          const ffi::Bytes& blob, const ffi::Array<ffi::Tensor>& constants,
                          const ffi::String& options) {
  Binding binding = BindSegment(std::string(processor), init, blob, constants, options);
  ffi::Array<int64_t> in_use;
  for (size_t i : binding.in_use) in_use.push_back(static_cast<int64_t>(i));
  return {binding.execute, static_cast<int64_t>(binding.packed),
          static_cast<int64_t>(binding.workspace), in_use};
}

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("byoc.runtime.bind", Bind)
      .def("byoc.runtime.is_mapped", IsMapped)
      .def("byoc.runtime.release_pages", ReleasePages)
      .def("byoc.runtime.tell_memory", TellMemory);
}

}  // namespace
}  // namespace byoc

/*
 * Binding segments, for Python and for vendors' libraries.
 */
#include <tvm/ffi/reflection/registry.h>

#include <cstdint>
#include <string>

#include "artifact/libraries.h"
#include "core/mapping.h"
#include "plan/binding.h"
#include "plan/segment_check.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*!
 * \brief bind(processor, init, blob, constants, options, inputs, outputs) -> [execute, packed,
 * workspace, in use]; inputs and outputs: how many there are, -1 where that is not known.
 */
ffi::Array<ffi::Any> Bind(const ffi::String& processor, const ffi::Function& init,
                          const ffi::Bytes& blob, const ffi::Array<ffi::Tensor>& constants,
                          const ffi::String& options, int64_t inputs, int64_t outputs) {
  Binding binding = BindSegment(std::string(processor), init, blob, constants, options,
                                PortCounts{inputs, outputs});
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
      .def("byoc.runtime.tell_memory", TellMemory)
      .def("byoc.runtime.tell_ports", TellPorts)
      .def("byoc.runtime.checks", ChecksWanted)
      .def("byoc.runtime.open_vendor", [](const ffi::String& vendor, const ffi::String& path) {
        OpenVendor(std::string(vendor), std::string(path));
      });
}

}  // namespace
}  // namespace byoc

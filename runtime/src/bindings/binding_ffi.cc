/*
 * Binding segments, for Python and for vendors' libraries.
 */
#include <tvm/ffi/reflection/registry.h>

#include <cstdint>
#include <string>

#include "artifact/libraries.h"
#include "core/mapping.h"
#include "core/processor.h"
#include "plan/binding.h"
#include "plan/segment_check.h"
#include "plan/vendor_calls.h"

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
      .def("byoc.runtime.segment_queue", MakeSegmentQueue)
      .def("byoc.runtime.segment_processor", ProcessorAtHand)
      .def("byoc.runtime.queue_depth",
           [](const ffi::String& processor) {
             Processor* found = Processor::Get(std::string(processor));
             return static_cast<int64_t>(found->Device(0)->depth());
           })
      .def("byoc.runtime.device_count",
           [](const ffi::String& processor) {
             return static_cast<int64_t>(Processor::Get(std::string(processor))->devices());
           })
      .def("byoc.runtime.devices_of",
           [](const ffi::String& vendor, const ffi::String& processor, int64_t count) {
             ffi::Array<ffi::String> names;
             for (const std::string& name :
                  DevicesOf(std::string(vendor), std::string(processor), count)) {
               names.push_back(name);
             }
             return names;
           })
      .def("byoc.runtime.of_devices",
           [](const ffi::Array<ffi::Function>& functions) {
             return OfDevices({functions.begin(), functions.end()});
           })
      .def("byoc.runtime.checks", ChecksWanted)
      .def("byoc.runtime.open_vendor", [](const ffi::String& vendor, const ffi::String& path) {
        OpenVendor(std::string(vendor), std::string(path));
      });
}

}  // namespace
}  // namespace byoc

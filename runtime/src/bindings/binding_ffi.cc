/*
 * Binding segments, for Python and for vendors' libraries.
 */
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/reflection/registry.h>

#include <cstdint>
#include <string>
#include <vector>

#include "artifact/engine_store.h"
#include "artifact/engines.h"
#include "artifact/kernel_segment.h"
#include "artifact/libraries.h"
#include "artifact/machine.h"
#include "artifact/sha256.h"
#include "core/mapping.h"
#include "core/processor.h"
#include "core/vendor_services.h"
#include "plan/binding.h"
#include "plan/segment_check.h"
#include "plan/vendor_calls.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*!
 * \brief bind(init, source) -> [execute, packed, workspace, in use].
 *
 * source: the fields of `SegmentSource` by name, ports as "input_count" and "output_count", -1
 * where that is not known.
 */
ffi::Array<ffi::Any> Bind(const ffi::Function& init,
                          const ffi::Map<ffi::String, ffi::Any>& source) {
  const auto text = [&](const char* key) { return std::string(source[key].cast<ffi::String>()); };
  Binding binding = BindSegment(
      init,
      SegmentSource{
          text("vendor"), text("version"), text("processor"), text("options"), text("name"),
          source["blob"].cast<ffi::Tensor>(), source["constants"].cast<ffi::Array<ffi::Tensor>>(),
          PortCounts{source["input_count"].cast<int64_t>(), source["output_count"].cast<int64_t>()},
          source["inputs"].cast<ffi::Array<ffi::Any>>(),
          source["outputs"].cast<ffi::Array<ffi::Any>>()});
  ffi::Array<int64_t> in_use;
  for (size_t i : binding.in_use) in_use.push_back(static_cast<int64_t>(i));
  return {binding.execute, static_cast<int64_t>(binding.packed),
          static_cast<int64_t>(binding.workspace), in_use};
}

/*! \brief Equal for tensors of equal dtype, shape and bytes: see `SegmentInit::Key`. */
ffi::String WeightKey(const ffi::Tensor& tensor) {
  const DLTensor& t = *tensor.GetDLTensorPtr();
  std::string head(ffi::DLDataTypeToString(t.dtype));
  for (int i = 0; i < t.ndim; ++i) head += " " + std::to_string(t.shape[i]);
  Sha256 digest;
  digest.Update(head.data(), head.size() + 1);
  digest.Update(static_cast<const char*>(t.data) + t.byte_offset, ffi::GetDataSize(t));
  return digest.Hex();
}

/*! \brief missing(what `Requires` holds, as JSON; equipment or null) -> words, "" for nothing. */
ffi::String MissingHere(const ffi::Bytes& needs,
                        const ffi::Optional<ffi::Array<ffi::Any>>& equipment) {
  const JsonView json =
      JsonView::Parse(std::string(needs.data(), needs.size()), "these are no requirements");
  return Missing(ReadRequirements(json), equipment);
}

/*!
 * \brief engine_of(source, maker): what `SegmentContext.engine` is. Fields of `EngineSource` by
 * name; maker: [load, build, save].
 */
void EngineOf(const ffi::Map<ffi::String, ffi::Any>& source,
              const ffi::Array<ffi::Function>& maker) {
  const auto text = [&](const char* key) { return std::string(source[key].cast<ffi::String>()); };
  std::vector<std::string> of;
  for (const ffi::String& what : source["of"].cast<ffi::Array<ffi::String>>()) of.push_back(what);
  MakeEngine({text("vendor"), text("version"), text("segment"), source["blob"].cast<ffi::Tensor>(),
              source["constants"].cast<ffi::Array<ffi::Tensor>>(), text("options"),
              source["threads"].cast<int64_t>(), text("code"), text("equipment"), of},
             {maker[0], maker[1], maker[2]});
}

/*! \brief engine(of, [load, build, save]) for what is being bound: see `SegmentInit::Engine`. */
void EngineHere(const ffi::Array<ffi::String>& of, const ffi::Array<ffi::Function>& maker) {
  MakeEngineHere({of.begin(), of.end()}, {maker[0], maker[1], maker[2]});
}

/*! \brief engines(whole) -> [[key, about, bytes, used, problem]], see `EngineStore::List`. */
ffi::Array<ffi::Any> Engines(bool whole) {
  ffi::Array<ffi::Any> rows;
  for (const StoredEngine& e : EngineStore::OfUser().List(whole)) {
    rows.push_back(ffi::Array<ffi::Any>{ffi::String(e.key), ffi::String(e.about),
                                        static_cast<int64_t>(e.bytes), e.used,
                                        ffi::String(e.problem)});
  }
  return rows;
}

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("byoc.runtime.bind", Bind)
      .def("byoc.runtime.is_mapped", IsMapped)
      .def("byoc.runtime.release_pages", ReleasePages)
      .def("byoc.runtime.tell_memory", TellMemory)
      .def("byoc.runtime.tell_ports", TellPorts)
      .def("byoc.runtime.segment_context", SegmentContext)
      .def("byoc.runtime.weight_key", WeightKey)
      .def("byoc.runtime.vendor_cache",
           [](const ffi::String& vendor) { return ffi::String(VendorCache(std::string(vendor))); })
      .def("byoc.runtime.engine_of", EngineOf)
      .def("byoc.runtime.engine", EngineHere)
      .def("byoc.runtime.engines", Engines)
      .def("byoc.runtime.engine_limit", [] { return static_cast<int64_t>(EngineLimit()); })
      .def("byoc.runtime.remove_engine",
           [](const ffi::String& key) { return EngineStore::OfUser().Remove(std::string(key)); })
      .def("byoc.runtime.prune_engines",
           [](int64_t limit) { return EngineStore::OfUser().Prune(static_cast<uint64_t>(limit)); })
      .def("byoc.runtime.log",
           [](const ffi::String& vendor, const ffi::String& segment, int64_t level,
              const ffi::String& text) {
             Log(std::string(vendor), std::string(segment), level, std::string(text));
           })
      .def("byoc.runtime.missing", MissingHere)
      .def("byoc.runtime.kernels_init", KernelsInit)
      .def("byoc.runtime.library_init",
           [](const ffi::String& symbol) { return LibraryInit(std::string(symbol)); })
      .def("byoc.runtime.segment_queue", MakeSegmentQueue)
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

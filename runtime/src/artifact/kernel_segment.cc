#include "artifact/kernel_segment.h"

#include <tvm/ffi/container/map.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "artifact/libraries.h"
#include "plan/assemble.h"
#include "plan/binding.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr size_t kHead = 8;  // bytes of the length

ffi::Function Init(const ffi::Bytes&, const ffi::Array<ffi::Tensor>& constants,
                   const ffi::String&) {
  // byoc's own binding passes a mapped blob by the context, without a copy.
  const ffi::Any context = SegmentContext();
  const auto blob = context.cast<ffi::Map<ffi::String, ffi::Any>>()["blob"].cast<ffi::Tensor>();
  const auto* data = static_cast<const unsigned char*>(blob.data_ptr());
  const auto size = static_cast<size_t>(blob.shape()[0]);
  uint64_t length = 0;
  for (size_t i = 0; i < kHead && i < size; ++i) length |= uint64_t{data[i]} << 8 * i;
  if (size < kHead || length > size - kHead) {
    TVM_FFI_THROW(ValueError) << "its blob is no plan with a library: " << size << " bytes, of "
                              << "which the plan would be " << length;
  }
  const char* plan = reinterpret_cast<const char*>(data) + kHead;
  const ffi::Optional<ffi::Module> library = LoadHost(plan + length, size - kHead - length);
  return FallbackFunction(NewExecutor(std::string(plan, length), library, {}, {}, constants),
                          library);
}

}  // namespace

ffi::Function KernelsInit() { return ffi::Function::FromTyped(Init); }

}  // namespace byoc

#include "artifact/weights.h"

#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/dtype.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/buffer.h"
#include "core/errors.h"
#include "core/tensors.h"
#include "core/text.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr size_t kMaxRank = 64;  // what numpy has

DLDataType ParseDtype(const std::string& name) {
  try {
    return ffi::StringToDLDataType(name);
  } catch (const ffi::Error&) {
    ThrowArtifactError("array table: unknown dtype " + Quoted(name));
  }
}

std::string Text(const ManifestArray& entry) {
  std::string text = Printable(entry.dtype) + "[";
  for (size_t i = 0; i < entry.shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(entry.shape[i]);
  }
  return text + "] at " + std::to_string(entry.offset);
}

}  // namespace

ffi::Tensor ViewArray(const ffi::Tensor& weights, const ManifestArray& entry) {
  if (entry.shape.size() > kMaxRank) {
    ThrowArtifactError("array table: an array of " + std::to_string(entry.shape.size()) +
                       " dimensions is not legal; there may be up to " + std::to_string(kMaxRank));
  }
  const bool negative =
      std::any_of(entry.shape.begin(), entry.shape.end(), [](int64_t dim) { return dim < 0; });
  if (negative || entry.offset < 0 || entry.offset % static_cast<int64_t>(kAlignment) != 0) {
    ThrowArtifactError("array table: " + Text(entry) + " is not legal");
  }
  const DLDataType dtype = ParseDtype(entry.dtype);
  const uint64_t bytes = NumBytes(entry.shape.data(), entry.shape.size(), dtype);
  const ffi::ShapeView shape(entry.shape.data(), entry.shape.size());
  if (bytes == 0) return NewTensor(shape, dtype);
  const auto size = static_cast<uint64_t>(weights.shape()[0]);
  if (bytes > size || static_cast<uint64_t>(entry.offset) > size - bytes) {
    ThrowArtifactError("array table: " + Text(entry) + " reaches beyond " + std::to_string(size) +
                       " bytes of weights");
  }
  return WrapMemory(static_cast<char*>(weights.data_ptr()) + entry.offset, shape, dtype, weights);
}

}  // namespace byoc

#include "core/tensors.h"

#include <tvm/ffi/error.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/buffer.h"

namespace byoc {

namespace ffi = tvm::ffi;

uint64_t NumBytes(const int64_t* shape, size_t rank, DLDataType dtype) {
  constexpr uint64_t kLimit = uint64_t{1} << 48;
  const uint64_t itemsize = (static_cast<uint64_t>(dtype.bits) * dtype.lanes + 7) / 8;
  uint64_t bytes = itemsize;
  for (size_t i = 0; i < rank; ++i) {
    if (shape[i] < 0) return UINT64_MAX;
    if (shape[i] == 0) bytes = 0;
  }
  for (size_t i = 0; i < rank && bytes != 0; ++i) {
    if (bytes > kLimit / static_cast<uint64_t>(shape[i])) return UINT64_MAX;
    bytes *= static_cast<uint64_t>(shape[i]);
  }
  return bytes;
}

ffi::Tensor NewTensor(ffi::ShapeView shape, DLDataType dtype) {
  struct Allocator {
    void AllocData(DLTensor* t) { t->data = AllocateAligned(ffi::GetDataSize(*t)); }
    void FreeData(DLTensor* t) { std::free(t->data); }
  };
  return ffi::Tensor::FromNDAlloc(Allocator(), shape, dtype, DLDevice{kDLCPU, 0});
}

ffi::Tensor WrapMemory(void* data, ffi::ShapeView shape, DLDataType dtype, ffi::Any owner) {
  struct Borrowed {
    void* data;
    ffi::Any owner;
    void AllocData(DLTensor* t) { t->data = data; }
    void FreeData(DLTensor*) {}
  };
  return ffi::Tensor::FromNDAlloc(Borrowed{data, std::move(owner)}, shape, dtype,
                                  DLDevice{kDLCPU, 0});
}

ffi::Tensor CopyOf(const ffi::Tensor& t) {
  if (!t.IsContiguous()) TVM_FFI_THROW(ValueError) << "expected a dense tensor";
  ffi::Tensor copy = NewTensor(t.shape(), t.dtype());
  std::memcpy(copy.data_ptr(), static_cast<const char*>(t.data_ptr()) + t.byte_offset(),
              ffi::GetDataSize(*t.GetDLTensorPtr()));
  return copy;
}

DLDataType ExchangeDtype(DLDataType dtype) {
  switch (dtype.code) {
    case kDLInt:
    case kDLUInt:
    case kDLFloat:
    case kDLComplex:
    case kDLBool:
      return dtype;
    default:
      return DLDataType{kDLUInt, dtype.bits, dtype.lanes};
  }
}

ffi::Tensor Exchange(const ffi::Tensor& t) {
  const DLDataType dtype = ExchangeDtype(t.dtype());
  if (dtype == t.dtype()) return t;
  if (!t.IsContiguous()) TVM_FFI_THROW(ValueError) << "expected a dense tensor";
  return WrapMemory(static_cast<char*>(t.data_ptr()) + t.byte_offset(), t.shape(), dtype, t);
}

}  // namespace byoc

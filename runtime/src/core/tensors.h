/// \file
/// Making tvm-ffi tensors: fresh ones, and views of memory that someone else owns.
#ifndef BYOC_RUNTIME_TENSORS_H_
#define BYOC_RUNTIME_TENSORS_H_

#include <tvm/ffi/any.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/dtype.h>

#include <cstddef>
#include <cstdint>

namespace byoc {

/// Returns the bytes of a dense tensor; UINT64_MAX when that is no sensible number.
uint64_t NumBytes(const int64_t* shape, size_t rank, DLDataType dtype);

/// Returns an uninitialised tensor on the CPU, aligned to 64 bytes. Throws std::bad_alloc.
tvm::ffi::Tensor NewTensor(tvm::ffi::ShapeView shape, DLDataType dtype);

/// Returns a tensor over dense memory at `data`; it keeps `owner` alive and owns nothing else.
tvm::ffi::Tensor WrapMemory(void* data, tvm::ffi::ShapeView shape, DLDataType dtype,
                            tvm::ffi::Any owner);

/// Returns a fresh copy of a dense tensor, aligned to 64 bytes. Throws ValueError for another.
tvm::ffi::Tensor CopyOf(const tvm::ffi::Tensor& t);

/// Returns the dtype that numpy can exchange: `dtype` itself, or for the types only ml_dtypes knows
/// (bfloat16, float8) the unsigned integer of the same width.
DLDataType ExchangeDtype(DLDataType dtype);

/// Returns a dense tensor as one that numpy can take (see `ExchangeDtype`), over the same memory.
///
/// Throws ValueError when `t` is not dense.
tvm::ffi::Tensor Exchange(const tvm::ffi::Tensor& t);

}  // namespace byoc

#endif  // BYOC_RUNTIME_TENSORS_H_

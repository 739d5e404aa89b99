/// \file
/// What is found in a tensor, as tensors whose size only the data tells: places of numbers that are
/// not zero, distinct numbers.
#ifndef BYOC_RUNTIME_FOUND_H_
#define BYOC_RUNTIME_FOUND_H_

#include <tvm/ffi/container/tensor.h>

#include <optional>

namespace byoc {
namespace kernels {

/// Returns the places of all numbers that are not zero, int64 [rank, found]: a row for each axis. A
/// scalar has one axis. NaN is not zero. Throws ValueError for a dtype it does not know.
tvm::ffi::Tensor NonZero(const DLTensor& x);

/// Distinct parts of a tensor; indices are int64 and of one dimension.
struct Distinct {
  tvm::ffi::Tensor values;   ///< One of each, as it stands first in the input.
  tvm::ffi::Tensor first;    ///< Where it stands first.
  tvm::ffi::Tensor inverse;  ///< For each part of the input, its place in `values`.
  tvm::ffi::Tensor counts;   ///< How often it stands in the input.
};

/// Returns the distinct numbers of a tensor, or its distinct slices along an axis.
///
/// \param x Read; all NaNs are one number.
/// \param axis Along which slices are taken, in range; nothing: numbers are.
/// \param sorted In ascending order, slices by their first number that differs; else as they come.
///
/// Throws ValueError for a dtype it does not know.
Distinct Unique(const DLTensor& x, std::optional<int> axis, bool sorted);

}  // namespace kernels
}  // namespace byoc

#endif  // BYOC_RUNTIME_FOUND_H_

/// \file copy.h
/// \brief Copies between strided layouts, and gathers by index.
#ifndef BYOC_DNNL_KERNELS_COPY_H_
#define BYOC_DNNL_KERNELS_COPY_H_

#include "../instance.h"

namespace byoc::onednn {

/// Copy operand 0 to operand 1: same shape, any strides.
///
/// \param from, to Descriptors without inner blocks.
/// \param element_size Bytes: 1, 2, 4 or 8.
Kernel StridedCopy(const Desc& from, const Desc& to, int64_t element_size);

/// The same, given shape and strides in elements; a source stride of 0 repeats an element.
Kernel StridedCopy(Dims shape, Dims from_strides, Dims to_strides, int64_t element_size);

/// Interleave rows: row r of the last operand is row r of each of the others, one after another.
///
/// \param bytes Length of a row of each source; all operands are dense.
/// \param rows How many rows each of them has.
Kernel ConcatRows(std::vector<int64_t> bytes, int64_t rows);

/// y[..., i, ...] = x[..., indices[i], ...] along one axis; operands x, indices, y, all dense.
///
/// An index out of range is a ProgramError at run time.
///
/// \param outer, axis_size, inner The shape of x as three loops.
/// \param index_is_int64 False: indices are int32.
/// \param from_end Negative indices count from the end, as in ONNX; else they are out of range.
/// \param element_size Bytes of an element of x.
Kernel Gather(int64_t outer, int64_t axis_size, int64_t inner, int64_t index_count,
              bool index_is_int64, bool from_end, int64_t element_size);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_COPY_H_

/// \file resize.h
/// \brief Kernels that pick or interpolate elements through index tables.
#ifndef BYOC_DNNL_KERNELS_RESIZE_H_
#define BYOC_DNNL_KERNELS_RESIZE_H_

#include <string>
#include <vector>

#include "../instance.h"

namespace byoc::onednn {

/// y[i...] = x[tables[d][i_d]...], for elements of 4 bytes.
///
/// \param tables Per axis, for each position of y the position of x, or -1 for `fill`.
/// \param x_strides, y_strides In elements, one per table.
/// \param fill The bits of the constant value.
Kernel PickKernel(std::vector<std::vector<int32_t>> tables, const Dims& x_strides,
                  const Dims& y_strides, int32_t fill);

/// Where position i of the output lies in the input, with s = input size / output size:
/// (i + 0.5) * s - 0.5, i * s, or i * (input - 1) / (output - 1).
enum class Coordinate : uint8_t { kHalfPixel, kAsymmetric, kAlignCorners };

/// How "nearest" rounds such a position; kEven: half to even.
enum class Rounding : uint8_t { kPreferFloor, kPreferCeil, kFloor, kCeil, kEven };

/// What kind of resize; `rounding` counts for nearest alone.
struct ResizeMode {
  bool linear;  ///< else nearest
  Coordinate coordinate;
  Rounding rounding;
};

/// The mode that three attributes of an op spell.
///
/// \throw ProgramError with the legal names when one is unknown.
ResizeMode FindResizeMode(const std::string& alg, const std::string& coordinate,
                          const std::string& rounding);

/// Resize the 1 to 3 spatial dims of operand 0 into operand 1, views of one layout.
Kernel ResizeKernel(const ResizeMode& mode, const SpatialView& from, const SpatialView& to);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_RESIZE_H_

/// \file resize.h
/// \brief Kernels that pick or interpolate elements through index tables.
#ifndef BYOC_DNNL_KERNELS_RESIZE_H_
#define BYOC_DNNL_KERNELS_RESIZE_H_

#include <string>
#include <vector>

#include "../instance.h"

namespace byoc::onednn {

/// y[i...] = x[tables[d][i_d]...], `fill` where a table says -1; 4-byte elements.
/// Strides in elements, one per table.
Kernel PickKernel(std::vector<std::vector<int32_t>> tables, const Dims& x_strides,
                  const Dims& y_strides, int32_t fill);

enum class Coordinate : uint8_t { kHalfPixel, kAsymmetric, kAlignCorners };
enum class Rounding : uint8_t { kPreferFloor, kPreferCeil, kFloor, kCeil, kEven };

struct ResizeMode {
  bool linear;
  Coordinate coordinate;
  Rounding rounding;
};

/// Throws with the legal names when one is unknown.
ResizeMode FindResizeMode(const std::string& alg, const std::string& coordinate,
                          const std::string& rounding);

/// Resize the 1 to 3 spatial dims of operand 0 into operand 1, views of one layout.
Kernel ResizeKernel(const ResizeMode& mode, const SpatialView& from, const SpatialView& to);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_RESIZE_H_

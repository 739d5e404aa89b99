/// \file max_pool.h
/// \brief Max pooling: NaN in a window is its result, and -inf that of a window of nothing else.
#ifndef BYOC_DNNL_KERNELS_MAX_POOL_H_
#define BYOC_DNNL_KERNELS_MAX_POOL_H_

#include "../instance.h"

namespace byoc::onednn {

/// A window over the spatial dims of a tensor, one number per dim each.
struct PoolWindow {
  Dims kernel, strides;
  Dims dilations;  ///< 1: dense
  Dims begin;      ///< padding before the first element; what is behind the last follows
};

/// How maps lie: channels as blocks of adjacent lanes, and for each dim a stride in elements.
struct PoolLayout {
  int64_t blocks, lanes;
  Dims x_shape, y_shape;      ///< [N, C, spatial...]
  Dims x_strides, y_strides;  ///< [N, block, spatial...]
};

/// Operand 1 = the maxima of windows over operand 0, of 1 to 3 spatial dims.
Kernel MaxPoolKernel(const PoolLayout& layout, const PoolWindow& window);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_MAX_POOL_H_

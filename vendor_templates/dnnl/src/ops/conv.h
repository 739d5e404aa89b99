/// \file conv.h
/// \brief What convolutions of floats and of integers share.
#ifndef BYOC_DNNL_OPS_CONV_H_
#define BYOC_DNNL_OPS_CONV_H_

#include "../builder.h"

namespace byoc::onednn {

/// Strides, dilations, padding and groups of a convolution, one number per spatial dimension.
struct Geometry {
  Dims strides;
  Dims dilations;   ///< as oneDNN counts them: 0 is dense
  Dims begin, end;  ///< padding before the first and after the last element
  int64_t groups;
};

/// The geometry in an op's attributes, checked against the ranks and shapes of its operands.
Geometry ReadGeometry(const Builder& b, const Op& op);

/// Weights with dim 0 split into (groups, dim 0 / groups), as oneDNN counts grouped weights;
/// unchanged for one group.
Tensor Grouped(Builder& b, int weight, int64_t groups);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_CONV_H_

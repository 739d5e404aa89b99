/// \file scale_shift.h
/// \brief A scale and a shift per channel in one pass: batch norms and what is left of them.
#ifndef BYOC_DNNL_OPS_SCALE_SHIFT_H_
#define BYOC_DNNL_OPS_SCALE_SHIFT_H_

#include <optional>

#include "../builder.h"

namespace byoc::onednn {

/// Build a binary op with a constant per channel, and the post-ops of that form which follow, as
/// one scale and shift.
///
/// \return How many post-ops were taken, or nothing, and no step, when the op is no such chain.
std::optional<size_t> TryScaleShift(Builder& b, const Op& op);

/// A value [N, C, ...] in a layout that the channel kernels can walk (see SpatialView).
Tensor ChannelOperand(Builder& b, int value);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_SCALE_SHIFT_H_

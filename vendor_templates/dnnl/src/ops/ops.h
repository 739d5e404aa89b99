/*!
 * \file ops.h
 * \brief One function per kind of op: asks the builder for operands, adds steps, sets results.
 *
 * Each throws ProgramError when shapes or attributes do not fit, or oneDNN refuses; the builder
 * adds the op's name and shapes.
 */
#ifndef BYOC_DNNL_OPS_OPS_H_
#define BYOC_DNNL_OPS_OPS_H_

#include "../builder.h"
#include "../error.h"
#include "table.h"

namespace byoc::onednn {

/*! \brief Strides, dilations, padding and groups of a convolution. */
struct Geometry {
  Dims strides, dilations, begin, end;  // dilations as oneDNN counts them: 0 = dense
  int64_t groups;
};
Geometry ReadGeometry(const Builder& b, const Op& op);

/*! \brief Split weight dim 0 into (groups, dim 0 / groups), as oneDNN counts grouped weights. */
Tensor Grouped(Builder& b, int weight, int64_t groups);

/*!
 * \brief Build `op` (binary with constants per channel, and such post-ops) as one scale and shift.
 * \return How many post-ops were taken, or nothing when the op is no such chain.
 */
std::optional<size_t> TryScaleShift(Builder& b, const Op& op);

/*! \brief A value in a layout the channel kernels can walk. */
Tensor ChannelOperand(Builder& b, int value);

/*! \brief Throw unless the condition holds; the parts say what was expected. */
template <typename... Parts>
void Expect(bool condition, const Parts&... parts) {
  if (!condition) Fail(parts...);
}

/*! \brief Throw unless `found` is the shape the op's output must have. */
inline void ExpectShape(const Dims& found, const Dims& expected) {
  Expect(found == expected, "output has shape ", ToString(found), ", expected ",
         ToString(expected));
}

/*! \brief Throw unless every value is float32. */
void ExpectFloat(const Builder& b, const std::vector<int>& values);

/*! \brief Shape of a numpy broadcast. Throws when the shapes do not fit. */
Dims BroadcastShape(const Dims& a, const Dims& b);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_OPS_H_

/// \file quantised_post_ops.h
/// \brief Post-ops of primitives that sum 8-bit values: rounding, and sums of quantised values.
#ifndef BYOC_DNNL_OPS_QUANTISED_POST_OPS_H_
#define BYOC_DNNL_OPS_QUANTISED_POST_OPS_H_

#include <string>
#include <vector>

#include "post_ops.h"
#include "quant_params.h"

namespace byoc::onednn {

/// Post-ops, and the quant params of the result, as attributes of a primitive.
///
/// Use: make one, ask the attributes for more if need be, `Finish`, make the primitive with
/// `attr()`, and give it the arguments of `AddArgs`.
class QuantisedPostOps {
 public:
  /// \param op Its attributes y_scale and y_zero count where its result is int8 or uint8.
  /// \param shape The result's, as the primitive sees it.
  /// \param allow_sum False where the primitive cannot add to its destination.
  /// \throw ProgramError for a post-op that has no fused form: such a program cannot be built.
  QuantisedPostOps(Builder& b, const Op& op, const Dims& shape, bool allow_sum);

  /// True when the primitive adds to what its destination holds.
  bool has_sum() const { return operands_.has_sum(); }

  /// "+relu+add(sum)", for introspection.
  const std::string& detail() const { return detail_; }
  dnnl::primitive_attr& attr() { return attr_; }

  /// Fix the attributes. Call once, before the primitive is made.
  ///
  /// \param by_attribute True where the primitive knows quant params of its result; else they
  /// become a last linear post-op.
  void Finish(bool by_attribute);

  /// With a sum: the memory to add to, in the primitive's destination layout.
  Tensor SumTarget(Builder& b, const Desc& dst) const { return operands_.SumTarget(b, dst); }

  /// Append the operands of post-ops, then the quant params of the result.
  void AddArgs(Builder& b, const dnnl::primitive_desc_base& pd, std::vector<Arg>* args) const;

 private:
  void Linear(float a, float c);
  void Flush();
  bool IsSaturation(const PostOp& post, DType dtype) const;
  void Append(Builder& b, const Op& op, const PostOp& post, const Dims& shape, bool allow_sum);
  void AppendBinary(Builder& b, const Op& op, const PostOp& post, const Dims& shape,
                    bool allow_sum);

  dnnl::primitive_attr attr_;
  dnnl::post_ops ops_;
  float a_ = 1, b_ = 0;  // linear function kept back: applied before what is appended next
  bool bytes_ = false;   // the result is int8 or uint8
  QuantParams result_;
  PostOpOperands operands_;
  std::string detail_;
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_QUANTISED_POST_OPS_H_

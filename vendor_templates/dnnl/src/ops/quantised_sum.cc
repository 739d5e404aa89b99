// The sum of two tensors of 8-bit values of one shape: oneDNN's binary add scales both operands,
// their zero points become one shift before the post-ops, and the result is rounded by a last one.
#include "checks.h"
#include "quantised_post_ops.h"

namespace byoc::onednn {

size_t BuildQAdd(Builder& b, const Op& op) {
  int left = op.inputs[0], right = op.inputs[1], y = op.outputs[0];
  ExpectBytes(b, {left, right, y});
  ExpectShape(b.values.Shape(y), b.values.Shape(left));
  ExpectShape(b.values.Shape(y), b.values.Shape(right));
  QuantParams a = ReadQuantParams(op, "a_scale", "a_zero"),
              c = ReadQuantParams(op, "b_scale", "b_zero");
  Op sum = op;  // the zero points of both operands come first, as one shift
  PostOp shift;
  shift.alg = "linear";
  shift.alpha = 1;
  shift.beta = -(a.scale * static_cast<float>(a.zero) + c.scale * static_cast<float>(c.zero));
  sum.post.insert(sum.post.begin(), shift);
  QuantisedPostOps post_ops(b, sum, b.values.Shape(y), /*allow_sum=*/false);
  post_ops.Finish(/*by_attribute=*/false);
  post_ops.attr().set_scales_mask(DNNL_ARG_SRC_0, 0);
  post_ops.attr().set_scales_mask(DNNL_ARG_SRC_1, 0);
  Desc layout = DenseAs(b.buffers.Get(left).desc, b.values.Type(left));
  Desc other = DenseAs(layout, b.values.Type(right)), result = DenseAs(layout, b.values.Type(y));
  dnnl::binary::primitive_desc pd(Engine(), dnnl::algorithm::binary_add, layout, other, result,
                                  post_ops.attr(), /*allow_empty=*/true);
  Expect(static_cast<bool>(pd), "oneDNN has no implementation for these shapes and attributes");
  Tensor target = b.buffers.Result(y, result);
  std::vector<Arg> args = {
      {DNNL_ARG_SRC_0, b.buffers.As(left, layout)},
      {DNNL_ARG_SRC_1, b.buffers.As(right, other)},
      {DNNL_ARG_DST, target},
      {DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC_0, SingleConstant(b, DType::kFloat32, a.scale)},
      {DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC_1, SingleConstant(b, DType::kFloat32, c.scale)}};
  post_ops.AddArgs(b, pd, &args);
  b.steps.Add(pd, args, Describe(layout) + post_ops.detail());
  b.buffers.Set(y, target);
  return op.post.size();
}

}  // namespace byoc::onednn

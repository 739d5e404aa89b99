// Convolution and matrix product of 8-bit values:
//
//   y = round(post(sum (x - x_zero) w * scales[o] + bias[o]) / y_scale) + y_zero, saturated
//
// Weights are symmetric (their zero point is 0) and constant; `scales` holds the product of x's and
// w's scale. y may also be float32: then nothing is rounded.
#include <algorithm>

#include "checks.h"
#include "conv.h"
#include "quantised_post_ops.h"

namespace byoc::onednn {
namespace {

/// The step of a product. `make`: (dst, attr) → primitive descriptor; `result`: the result's
/// shape as the primitive sees it, `mask`: of the scales in the weights' dims.
template <typename PrimitiveDesc, typename Make>
void EmitProduct(Builder& b, const Op& op, const Tensor& x, const Tensor& weight,
                 const Dims& result, int mask, const Desc& any, const Make& make) {
  int y = op.outputs[0];
  int64_t scales = Volume(b.values.Shape(op.inputs[2]));
  int x_zero = static_cast<int>(op.attrs.Int("x_zero"));
  std::optional<QuantisedPostOps> post_ops;
  PrimitiveDesc pd;
  for (bool allow_sum : {true, false}) {
    QuantisedPostOps candidate(b, op, result, allow_sum);
    if (post_ops && !post_ops->has_sum()) break;  // nothing to choose
    candidate.Finish(/*by_attribute=*/true);
    candidate.attr().set_scales_mask(DNNL_ARG_WEIGHTS, scales > 1 ? mask : 0);
    if (x_zero != 0) candidate.attr().set_zero_points_mask(DNNL_ARG_SRC, 0);
    PrimitiveDesc found = make(any, candidate.attr());
    if (!found || (post_ops && Grade(found.impl_info_str()) <= Grade(pd.impl_info_str()))) continue;
    pd = found;
    post_ops = std::move(candidate);
    if (Grade(pd.impl_info_str()) == 2) break;
  }
  Expect(post_ops.has_value(), "oneDNN has no implementation for these shapes and attributes");

  std::optional<Tensor> dst;
  if (post_ops->has_sum()) {
    dst = post_ops->SumTarget(b, pd.dst_desc());
  } else if (result == b.values.Shape(y)) {
    if (std::optional<Tensor> destination = b.buffers.Destination(y, pd.dst_desc())) {
      PrimitiveDesc into = make(destination->desc, post_ops->attr());
      if (into && Grade(into.impl_info_str()) == Grade(pd.impl_info_str())) {
        pd = into;
        dst = destination;
      }
    }
  }
  if (!dst) dst = b.buffers.Fresh(pd.dst_desc(), b.values.Type(y));
  std::vector<Arg> args = {{DNNL_ARG_SRC, b.buffers.As(x, pd.src_desc())},
                           {DNNL_ARG_WEIGHTS, b.buffers.Packed(weight, pd.weights_desc())},
                           {DNNL_ARG_DST, *dst},
                           {DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
                            *Reshaped(b.buffers.Plain(op.inputs[2]), {scales})}};
  if (op.inputs.size() > 3) {
    Tensor bias = b.buffers.Plain(op.inputs[3]);
    args.push_back({DNNL_ARG_BIAS, *Reshaped(bias, pd.bias_desc().get_dims())});
  }
  if (x_zero != 0) {
    args.push_back({DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC,
                    SingleConstant(b, DType::kInt32, static_cast<int32_t>(x_zero))});
  }
  post_ops->AddArgs(b, pd, &args);
  b.steps.Add(pd, args,
              Describe(pd.src_desc()) + " -> " + Describe(pd.dst_desc()) + post_ops->detail());
  b.buffers.Set(y, *Reshaped(*dst, b.values.Shape(y)));
}

/// Checks common to products; the number of output channels is `channels`.
void CheckProduct(const Builder& b, const Op& op, int64_t channels) {
  ExpectBytes(b, {op.inputs[0]});
  Expect(b.values.Type(op.inputs[1]) == DType::kInt8, "weights are ",
         ToString(b.values.Type(op.inputs[1])), ", expected int8");
  Expect(b.steps.IsConstant(b.buffers.Get(op.inputs[1])), "weights must be constant");
  DType result = b.values.Type(op.outputs[0]);
  Expect(IsByte(result) || result == DType::kFloat32, "result is ", ToString(result));
  int64_t scales = Volume(b.values.Shape(op.inputs[2]));
  Expect(b.values.Type(op.inputs[2]) == DType::kFloat32 && (scales == 1 || scales == channels),
         "expected 1 or ", channels, " float32 scales, found ", scales);
  if (op.inputs.size() > 3) {
    Expect(b.values.Type(op.inputs[3]) == DType::kFloat32 &&
               Volume(b.values.Shape(op.inputs[3])) == channels,
           "expected a float32 bias of ", channels, " elements, found ",
           ToString(b.values.Shape(op.inputs[3])));
  }
}

}  // namespace

size_t BuildQConvolution(Builder& b, const Op& op) {
  int x = op.inputs[0], y = op.outputs[0], rank = b.values.Rank(x);
  Expect(rank >= 3 && rank <= 5, "expected 1 to 3 spatial dimensions, found ", rank - 2);
  Expect(b.values.Rank(op.inputs[1]) == rank && b.values.Rank(y) == rank,
         "input, weight and output must have the same rank");
  CheckProduct(b, op, b.values.Shape(op.inputs[1])[0]);
  Geometry g = ReadGeometry(b, op);
  Tensor weight = Grouped(b, op.inputs[1], g.groups);
  Desc src = AnyDesc(b.values.Shape(x), b.values.Type(x));
  Desc weights = AnyDesc(weight.desc.get_dims(), DType::kInt8);
  Desc bias;
  if (op.inputs.size() > 3) bias = PlainDesc({b.values.Shape(y)[1]}, DType::kFloat32);
  using PrimitiveDesc = dnnl::convolution_forward::primitive_desc;
  auto make = [&](const Desc& dst, const dnnl::primitive_attr& attr) {
    return PrimitiveDesc(Engine(), dnnl::prop_kind::forward_inference,
                         dnnl::algorithm::convolution_direct, src, weights, bias, dst, g.strides,
                         g.dilations, g.begin, g.end, attr, /*allow_empty=*/true);
  };
  EmitProduct<PrimitiveDesc>(b, op, b.buffers.Get(x), weight, b.values.Shape(y),
                             g.groups > 1 ? 3 : 1, AnyDesc(b.values.Shape(y), b.values.Type(y)),
                             make);
  return op.post.size();
}

size_t BuildQMatmul(Builder& b, const Op& op) {
  int value = op.inputs[0], y = op.outputs[0];
  Dims shape = b.values.Shape(value), weights = b.values.Shape(op.inputs[1]);
  Expect(shape.size() >= 2 && weights.size() == 2 && shape.back() == weights[0],
         "operands do not fit: ", ToString(shape), " x ", ToString(weights));
  int64_t k = shape.back(), n = weights[1];
  Dims result = shape;
  result.back() = n;
  ExpectShape(b.values.Shape(y), result);
  CheckProduct(b, op, n);
  // One product of many rows, unless a post-op's operand can only be seen with the batch dims.
  bool rows_only = std::all_of(op.post.begin(), op.post.end(), [&](const PostOp& post) {
    if (!post.is_binary || b.values.Shape(post.value) == result) return true;
    const Dims& own = b.values.Shape(post.value);
    return own.empty() || Volume(own) == own.back();
  });
  size_t rank = rows_only ? 2 : shape.size();
  Dims seen = rows_only ? Dims{Volume(shape) / k, k} : shape;
  Dims product = seen, last(rank, 1), wide(rank, 1);
  product.back() = last.back() = n;
  wide[rank - 2] = k;
  wide[rank - 1] = n;
  Tensor x = *Reshaped(b.buffers.Plain(value), seen);
  Tensor weight = *Reshaped(b.buffers.Plain(op.inputs[1]), wide);
  Desc bias;
  if (op.inputs.size() > 3) bias = PlainDesc(last, DType::kFloat32);
  using PrimitiveDesc = dnnl::matmul::primitive_desc;
  Desc any = AnyDesc(wide, DType::kInt8);
  auto make = [&](const Desc& dst, const dnnl::primitive_attr& attr) {
    return op.inputs.size() > 3
               ? PrimitiveDesc(Engine(), x.desc, any, bias, dst, attr, /*allow_empty=*/true)
               : PrimitiveDesc(Engine(), x.desc, any, dst, attr, /*allow_empty=*/true);
  };
  EmitProduct<PrimitiveDesc>(b, op, x, weight, product, 1 << (rank - 1),
                             PlainDesc(product, b.values.Type(y)), make);
  return op.post.size();
}

}  // namespace byoc::onednn

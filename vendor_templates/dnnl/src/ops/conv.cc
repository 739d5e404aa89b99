// Convolution and deconvolution.
//
// oneDNN chooses the layouts of everything (`format_tag::any`): source and weights are brought
// into them, weights and bias once at build time, and the result stays in what it chose. When a
// concat has a window for the result, the primitive is asked again for exactly that window; if
// oneDNN would then take another implementation, the concat copies instead.
#include "conv.h"

#include <algorithm>
#include <cstring>

#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {

Geometry ReadGeometry(const Builder& b, const Op& op) {
  Geometry g{op.attrs.Ints("strides", b.values.bindings()),
             op.attrs.Ints("dilations", b.values.bindings()),
             op.attrs.Ints("pads_begin", b.values.bindings()),
             op.attrs.Ints("pads_end", b.values.bindings()), op.attrs.Int("groups")};
  size_t spatial = b.values.Shape(op.inputs[0]).size() - 2;
  for (const Dims* list : {&g.strides, &g.dilations, &g.begin, &g.end}) {
    Expect(list->size() == spatial, "expected ", spatial,
           " strides, dilations, pads_begin and pads_end each");
  }
  for (int64_t& dilation : g.dilations) {
    Expect(dilation >= 1, "dilations must be at least 1 (dense)");
    dilation -= 1;
  }
  for (int64_t stride : g.strides) Expect(stride >= 1, "strides must be at least 1");
  Expect(g.groups >= 1, "groups must be at least 1");
  return g;
}

Tensor Grouped(Builder& b, int weight, int64_t groups) {
  Tensor w = b.buffers.Plain(weight);
  if (groups == 1) return w;
  Dims shape = b.values.Shape(weight);
  Expect(shape[0] % groups == 0, "weight dim 0 of ", ToString(shape),
         " is no multiple of groups = ", groups);
  shape[0] /= groups;
  shape.insert(shape.begin(), groups);
  return *Reshaped(w, shape);
}

namespace {

/// Checks common to both: 1 to 3 spatial dims, equal ranks.
void CheckOperands(const Builder& b, const Op& op) {
  int rank = b.values.Rank(op.inputs[0]);
  Expect(rank >= 3 && rank <= 5, "expected 1 to 3 spatial dimensions, found ", rank - 2);
  Expect(b.values.Rank(op.inputs[1]) == rank && b.values.Rank(op.outputs[0]) == rank,
         "input, weight and output must have the same rank");
}

/// Constant grouped weights [g, O/g, C/g, ...] as those of one group [O, C, ...], zero
/// between groups.
///
/// oneDNN runs groups of odd sizes through a plain gemm per image. A dense convolution does g times
/// the arithmetic, on code that is faster by more than that when g is small.
std::optional<Tensor> Dense(Builder& b, const Tensor& grouped) {
  constexpr int64_t kMaxGroups = 8;
  Dims dims = grouped.desc.get_dims();
  int64_t groups = dims[0], outputs = dims[1], inputs = dims[2];
  if (groups > kMaxGroups || !b.steps.IsConstant(grouped) || !IsPlain(grouped.desc))
    return std::nullopt;
  int64_t kernel = Volume(Dims(dims.begin() + 3, dims.end())), row = inputs * kernel;
  Dims shape = {groups * outputs, groups * inputs};
  shape.insert(shape.end(), dims.begin() + 3, dims.end());
  void* data = nullptr;
  Tensor dense = b.buffers.NewConstant(PlainDesc(shape, DType::kFloat32), DType::kFloat32, &data);
  const float* from = static_cast<const float*>(b.steps.ConstantData(grouped));
  float* to = static_cast<float*>(data);
  std::fill_n(to, Volume(shape), 0.f);
  for (int64_t o = 0; o < groups * outputs; ++o) {
    std::copy_n(from + o * row, row, to + o * groups * row + o / outputs * row);
  }
  return dense;
}

/// Add the step, and say how many post-ops it takes: bind operands to the layouts chosen, place the
/// result.
template <typename PrimitiveDesc, typename Make>
size_t Emit(Builder& b, const Op& op, const Tensor& weight, const Make& make) {
  int x = op.inputs[0], y = op.outputs[0];
  const DType stored = b.values.Type(y);
  Desc any = AnyDesc(b.values.Shape(y), stored);
  Fused<PrimitiveDesc> best = FuseBest<PrimitiveDesc>(
      b, op, b.values.Shape(y), [&](const dnnl::primitive_attr& attr) { return make(any, attr); });
  PrimitiveDesc& pd = best.pd;

  std::optional<Tensor> dst;
  if (best.fusion.has_sum()) {
    dst = best.fusion.operands().SumTarget(b, pd.dst_desc());
  } else if (std::optional<Tensor> destination = b.buffers.Destination(y, pd.dst_desc())) {
    PrimitiveDesc into = make(destination->desc, best.fusion.attr());
    if (into && std::strcmp(into.impl_info_str(), pd.impl_info_str()) == 0) {
      pd = into;
      dst = destination;
    }
  }
  if (!dst) dst = b.buffers.Fresh(pd.dst_desc(), stored);

  std::vector<Arg> args = {{DNNL_ARG_SRC, b.buffers.As(x, pd.src_desc())},
                           {DNNL_ARG_WEIGHTS, b.buffers.As(weight, pd.weights_desc())},
                           {DNNL_ARG_DST, *dst}};
  if (op.inputs.size() > 2)
    args.push_back({DNNL_ARG_BIAS, b.buffers.As(op.inputs[2], pd.bias_desc())});
  best.fusion.operands().AddArgs(b, pd, &args);
  b.steps.Add(pd, args,
              Describe(pd.src_desc()) + " -> " + Describe(pd.dst_desc()) + best.fusion.detail());
  b.buffers.Set(y, *dst);
  return best.fusion.count();
}

Desc BiasDesc(const Builder& b, const Op& op, int64_t channels) {
  if (op.inputs.size() < 3) return Desc();
  Expect(b.values.Shape(op.inputs[2]) == Dims{channels}, "bias has shape ",
         ToString(b.values.Shape(op.inputs[2])), ", expected [", channels, "]");
  return AnyDesc({channels}, DType::kFloat32);
}

}  // namespace

size_t BuildConvolution(Builder& b, const Op& op) {
  CheckOperands(b, op);
  const DType computed = ProductType(b, op);
  Geometry g = ReadGeometry(b, op);
  Tensor weight = Grouped(b, op.inputs[1], g.groups);
  Desc src = AnyDesc(b.values.Shape(op.inputs[0]), computed);
  Desc weights = AnyDesc(weight.desc.get_dims(), computed);
  Desc bias = BiasDesc(b, op, b.values.Shape(op.outputs[0])[1]);
  using PrimitiveDesc = dnnl::convolution_forward::primitive_desc;
  auto make = [&](const Desc& dst, const dnnl::primitive_attr& attr) {
    return PrimitiveDesc(Engine(), dnnl::prop_kind::forward_inference,
                         dnnl::algorithm::convolution_direct, src, weights, bias, dst, g.strides,
                         g.dilations, g.begin, g.end, attr, /*allow_empty=*/true);
  };
  if (g.groups > 1) {
    PrimitiveDesc grouped =
        make(AnyDesc(b.values.Shape(op.outputs[0]), b.values.Type(op.outputs[0])), BaseAttr());
    if (grouped && Grade(grouped.impl_info_str()) < 2) {
      if (std::optional<Tensor> dense = Dense(b, weight)) {
        weight = *dense;
        weights = AnyDesc(weight.desc.get_dims(), computed);
      }
    }
  }
  return Emit<PrimitiveDesc>(b, op, weight, make);
}

size_t BuildDeconvolution(Builder& b, const Op& op) {
  CheckOperands(b, op);
  const DType computed = ProductType(b, op);
  Geometry g = ReadGeometry(b, op);
  // Output padding extends the result at its end: to oneDNN that is less padding there.
  const Dims &x = b.values.Shape(op.inputs[0]), &y = b.values.Shape(op.outputs[0]),
             &k = b.values.Shape(op.inputs[1]);
  for (size_t d = 0; d < g.strides.size(); ++d) {
    int64_t reach = (x[d + 2] - 1) * g.strides[d] + (k[d + 2] - 1) * (g.dilations[d] + 1) + 1;
    g.end[d] = reach - g.begin[d] - y[d + 2];
  }
  // [C, O/g, ...] or [g, C/g, O/g, ...]: oneDNN wants outputs before inputs.
  Tensor weight = Grouped(b, op.inputs[1], g.groups);
  std::vector<int> swap(weight.desc.get_ndims());
  for (size_t d = 0; d < swap.size(); ++d) swap[d] = static_cast<int>(d);
  size_t first = g.groups == 1 ? 0 : 1;
  std::swap(swap[first], swap[first + 1]);
  weight.desc = weight.desc.permute_axes(swap);
  Desc src = AnyDesc(x, computed);
  Desc weights = AnyDesc(weight.desc.get_dims(), computed);
  Desc bias = BiasDesc(b, op, y[1]);
  using PrimitiveDesc = dnnl::deconvolution_forward::primitive_desc;
  return Emit<PrimitiveDesc>(b, op, weight, [&](const Desc& dst, const dnnl::primitive_attr& attr) {
    return PrimitiveDesc(Engine(), dnnl::prop_kind::forward_inference,
                         dnnl::algorithm::deconvolution_direct, src, weights, bias, dst, g.strides,
                         g.dilations, g.begin, g.end, attr, /*allow_empty=*/true);
  });
}

}  // namespace byoc::onednn

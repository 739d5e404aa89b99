// Pooling and global pooling, in whatever layout the input has. Maxima of floats are ours: oneDNN's
// lose NaN, and begin with the least number instead of -inf.
#include "../kernels/max_pool.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

using PoolDesc = dnnl::pooling_forward::primitive_desc;

dnnl::algorithm PoolAlgorithm(const std::string& alg) {
  if (alg == "max") return dnnl::algorithm::pooling_max;
  if (alg == "avg" || alg == "avg_exclude_pad") {
    return dnnl::algorithm::pooling_avg_exclude_padding;
  }
  if (alg == "avg_include_pad") return dnnl::algorithm::pooling_avg_include_padding;
  Fail("pooling alg '", alg, "' is unknown; legal: max, avg_include_pad, avg_exclude_pad");
}

/// A value in a layout oneDNN pools quickly: as it lies unless that is a strided view.
Tensor PoolSource(Builder& b, int value) {
  const Tensor& x = b.buffers.Get(value);
  std::optional<Desc> dense = WithShape(x.desc, x.desc.get_dims());
  bool family = dense && dense->get_inner_blks() == x.desc.get_inner_blks();
  return family ? x : b.buffers.Plain(value);
}

struct PaddedWindow : PoolWindow {
  Dims end;
};

/// Channels as lanes where they are adjacent in both tensors.
PoolLayout LayoutOf(const Desc& x, const Desc& y) {
  PoolLayout layout{x.get_dims()[1], 1, x.get_dims(), y.get_dims(), x.get_strides(),
                    y.get_strides()};
  Dims blocks = x.get_inner_blks();
  if (!blocks.empty()) {
    layout.lanes = blocks[0];
    layout.blocks = x.get_padded_dims()[1] / blocks[0];
  } else if (layout.x_strides[1] == 1 && layout.y_strides[1] == 1) {
    std::swap(layout.blocks, layout.lanes);
  }
  return layout;
}

void PoolMaxima(Builder& b, const Op& op, const PaddedWindow& w, const Dims& result) {
  int y = op.outputs[0];
  Tensor x = PoolSource(b, op.inputs[0]);
  std::optional<Desc> layout = WithShape(x.desc, result);
  if (!layout) {
    x = b.buffers.Plain(op.inputs[0]);
    layout = PlainDesc(result, DType::kFloat32);
  }
  Tensor target = b.buffers.Result(y, *layout);
  b.steps.Add("byoc:max_pool", {x, target}, MaxPoolKernel(LayoutOf(x.desc, target.desc), w),
              Describe(x.desc));
  b.buffers.Set(y, target);
}

/// Pool `x`, seen under its own shape, into `y` of shape `result`; how many post-ops it takes.
size_t Pool(Builder& b, const Op& op, dnnl::algorithm alg, const PaddedWindow& w,
            const Dims& result) {
  int y = op.outputs[0];
  Tensor x = PoolSource(b, op.inputs[0]);
  if (IsFloat(x.dtype) && x.dtype != b.values.Type(y)) {
    x = b.buffers.As(op.inputs[0], WithFloat(x.desc, b.values.Type(y)));
  }
  std::optional<Desc> dst = WithShape(x.desc, result);
  if (!dst) dst = PlainDesc(result, b.values.Type(y));
  Dims dilations = w.dilations;
  for (int64_t& dilation : dilations) dilation -= 1;
  auto make = [&](const Desc& d, const dnnl::primitive_attr& attr) {
    return PoolDesc(Engine(), dnnl::prop_kind::forward_inference, alg, x.desc, d, w.strides,
                    w.kernel, dilations, w.begin, w.end, attr, /*allow_empty=*/true);
  };
  Fused<PoolDesc> best = FuseBest<PoolDesc>(
      b, op, result, [&](const dnnl::primitive_attr& attr) { return make(*dst, attr); },
      /*allow_sum=*/false);
  std::optional<Tensor> target;
  if (result == b.values.Shape(y)) {
    if (std::optional<Tensor> destination = b.buffers.Destination(y, *dst)) {
      PoolDesc into = make(destination->desc, best.fusion.attr());
      if (into && Grade(into.impl_info_str()) == Grade(best.pd.impl_info_str())) {
        best.pd = into;
        target = destination;
      }
    }
  }
  if (!target) target = b.buffers.Fresh(*dst, b.values.Type(y));
  std::vector<Arg> args = {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, *target}};
  best.fusion.operands().AddArgs(b, best.pd, &args);
  b.steps.Add(best.pd, args, Describe(x.desc) + best.fusion.detail());
  b.buffers.Set(y, *target);
  return best.fusion.count();
}

}  // namespace

size_t BuildPooling(Builder& b, const Op& op) {
  DType dtype = b.values.Type(op.inputs[0]);
  bool bytes = dtype == DType::kInt8 || dtype == DType::kUInt8;
  if (bytes && op.attrs.String("alg") == "max" && op.post.empty()) {
    Expect(dtype == b.values.Type(op.outputs[0]), "pooling keeps the dtype");
  } else {
    ExpectReal(b, {op.inputs[0], op.outputs[0]});
  }
  int rank = b.values.Rank(op.inputs[0]);
  Expect(rank >= 3 && rank <= 5, "expected 1 to 3 spatial dimensions, found ", rank - 2);
  const Bindings& bindings = b.values.bindings();
  PaddedWindow w{{op.attrs.Ints("kernel", bindings), op.attrs.Ints("strides", bindings),
                  op.attrs.Ints("dilations", bindings), op.attrs.Ints("pads_begin", bindings)},
                 op.attrs.Ints("pads_end", bindings)};
  for (const Dims* list : {&w.kernel, &w.strides, &w.dilations, &w.begin, &w.end}) {
    Expect(static_cast<int>(list->size()) == rank - 2, "expected ", rank - 2,
           " kernel, strides, dilations, pads_begin and pads_end each");
  }
  const Dims &from = b.values.Shape(op.inputs[0]), &result = b.values.Shape(op.outputs[0]);
  Expect(b.values.Rank(op.outputs[0]) == rank, "input and output must have the same rank");
  dnnl::algorithm alg = PoolAlgorithm(op.attrs.String("alg"));
  if (bytes || alg != dnnl::algorithm::pooling_max) return Pool(b, op, alg, w, result);
  ExpectFloat(b, {op.inputs[0], op.outputs[0]});
  Expect(from[0] == result[0] && from[1] == result[1],
         "input and output must have the same batch and channels");
  for (int i = 0; i < rank - 2; ++i) {
    Expect(w.kernel[i] > 0 && w.strides[i] > 0 && w.dilations[i] > 0 && w.begin[i] >= 0 &&
               w.end[i] >= 0,
           "kernel, strides and dilations must be positive, pads not negative");
    int64_t reach = from[i + 2] + w.begin[i] + w.end[i] - (w.kernel[i] - 1) * w.dilations[i] - 1;
    Expect(reach >= 0 && reach / w.strides[i] + 1 == result[i + 2], "dimension ", i + 2,
           " of the output is ", result[i + 2], ", which the window does not give");
  }
  PoolMaxima(b, op, w, result);
  return 0;
}

size_t BuildGlobalPooling(Builder& b, const Op& op) {
  ExpectReal(b, {op.inputs[0], op.outputs[0]});
  const Dims& x = b.values.Shape(op.inputs[0]);
  Expect(x.size() >= 3 && x.size() <= 5, "expected 1 to 3 spatial dimensions");
  size_t spatial = x.size() - 2;
  PaddedWindow w{
      {Dims(x.begin() + 2, x.end()), Dims(spatial, 1), Dims(spatial, 1), Dims(spatial, 0)},
      Dims(spatial, 0)};
  Dims result(x.size(), 1);
  result[0] = x[0];
  result[1] = x[1];
  ExpectShape(b.values.Shape(op.outputs[0]), result);
  dnnl::algorithm alg = PoolAlgorithm(op.attrs.String("alg"));
  if (alg != dnnl::algorithm::pooling_max) return Pool(b, op, alg, w, result);
  ExpectFloat(b, {op.inputs[0], op.outputs[0]});
  PoolMaxima(b, op, w, result);
  return 0;
}

}  // namespace byoc::onednn

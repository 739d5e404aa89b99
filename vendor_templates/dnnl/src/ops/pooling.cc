// Pooling and global pooling, in whatever layout the input has.
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

struct PoolWindow {
  Dims kernel, strides, dilations, begin, end;
};

/// Pool `x`, seen under its own shape, into `y` of shape `result`; how many post-ops it takes.
size_t Pool(Builder& b, const Op& op, dnnl::algorithm alg, const PoolWindow& w,
            const Dims& result) {
  int y = op.outputs[0];
  Tensor x = PoolSource(b, op.inputs[0]);
  std::optional<Desc> dst = WithShape(x.desc, result);
  if (!dst) dst = PlainDesc(result, b.values.Type(y));
  auto make = [&](const Desc& d, const dnnl::primitive_attr& attr) {
    return PoolDesc(Engine(), dnnl::prop_kind::forward_inference, alg, x.desc, d, w.strides,
                    w.kernel, w.dilations, w.begin, w.end, attr, /*allow_empty=*/true);
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
    ExpectFloat(b, {op.inputs[0], op.outputs[0]});
  }
  int rank = b.values.Rank(op.inputs[0]);
  Expect(rank >= 3 && rank <= 5, "expected 1 to 3 spatial dimensions, found ", rank - 2);
  const Bindings& bindings = b.values.bindings();
  PoolWindow w{op.attrs.Ints("kernel", bindings), op.attrs.Ints("strides", bindings),
               op.attrs.Ints("dilations", bindings), op.attrs.Ints("pads_begin", bindings),
               op.attrs.Ints("pads_end", bindings)};
  for (const Dims* list : {&w.kernel, &w.strides, &w.dilations, &w.begin, &w.end}) {
    Expect(static_cast<int>(list->size()) == rank - 2, "expected ", rank - 2,
           " kernel, strides, dilations, pads_begin and pads_end each");
  }
  for (int64_t& dilation : w.dilations) dilation -= 1;
  Expect(b.values.Rank(op.outputs[0]) == rank, "input and output must have the same rank");
  return Pool(b, op, PoolAlgorithm(op.attrs.String("alg")), w, b.values.Shape(op.outputs[0]));
}

size_t BuildGlobalPooling(Builder& b, const Op& op) {
  ExpectFloat(b, {op.inputs[0], op.outputs[0]});
  const Dims& x = b.values.Shape(op.inputs[0]);
  Expect(x.size() >= 3 && x.size() <= 5, "expected 1 to 3 spatial dimensions");
  size_t spatial = x.size() - 2;
  PoolWindow w{Dims(x.begin() + 2, x.end()), Dims(spatial, 1), Dims(spatial, 0), Dims(spatial, 0),
               Dims(spatial, 0)};
  Dims result(x.size(), 1);
  result[0] = x[0];
  result[1] = x[1];
  ExpectShape(b.values.Shape(op.outputs[0]), result);
  return Pool(b, op, PoolAlgorithm(op.attrs.String("alg")), w, result);
}

}  // namespace byoc::onednn

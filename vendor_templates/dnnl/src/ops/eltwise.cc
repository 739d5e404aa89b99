// Unary element-wise functions: oneDNN's, or one of our rows where it has none, or where its kernel
// would turn NaN into a number: exp, and ReLU, clip and hard sigmoid, which are limits of a line.
//
// Both run in place where the operand dies here. Ours take a tensor without gaps as one long row,
// the padding of blocked layouts included if the function keeps zero zero; else they walk the rows
// of its strides.
#include <omp.h>

#include <functional>
#include <limits>

#include "../kernels/float_rows.h"
#include "../kernels/loops.h"
#include "../kernels/simd.h"
#include "algorithms.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

/// A function of ours for rows.
struct RowFunction {
  std::function<void(const float* x, float* y, int64_t n)> run;
  bool keeps_zero;  ///< so that it may run over the padding of blocked layouts
};

RowFunction UnaryFunction(Unary alg) {
  bool keeps_zero =
      alg == Unary::kErf || alg == Unary::kFloor || alg == Unary::kCeil || alg == Unary::kSin;
  return {[alg](const float* x, float* y, int64_t n) { Rows().unary(alg, x, y, n); }, keeps_zero};
}

/// a * x + b, limited: how ReLU, clip and hard sigmoid are computed; nothing for other functions.
std::optional<RowFunction> LimitedLine(const std::string& alg, float alpha, float beta) {
  float a = 1.f, b = 0.f, low = 0.f, high = std::numeric_limits<float>::infinity();
  if (alg == "clip") {
    low = alpha;
    high = beta;
  } else if (alg == "hardsigmoid") {
    a = alpha;
    b = beta;
    high = 1.f;
  } else if (alg != "relu" || alpha != 0.f) {
    return std::nullopt;
  }
  return RowFunction{
      [=](const float* x, float* y, int64_t n) { Rows().clamp(x, y, n, a, b, low, high); },
      std::min(std::max(b, low), high) == 0.f};
}

/// The function of ours for an alg, if it is not left to oneDNN.
std::optional<RowFunction> OwnFunction(const std::string& alg, float alpha, float beta) {
  if (alg == "exp" || !FindEltwise(alg, alpha, beta)) return UnaryFunction(FindUnary(alg));
  return LimitedLine(alg, alpha, beta);
}

bool IsPadded(const Desc& desc) { return desc.get_dims() != desc.get_padded_dims(); }

/// All elements, padding included, when they lie without gaps; else nothing.
std::optional<int64_t> DenseCount(const Desc& desc) {
  if (!IsDense(desc)) return std::nullopt;
  return Volume(desc.get_padded_dims());
}

/// Run our kernel over whole memory, or row by row through the strides.
void ApplyRows(Builder& b, const RowFunction& f, const Tensor& x, const Tensor& y,
               const std::string& name) {
  std::optional<int64_t> count = DenseCount(x.desc);
  if (count && SameLayout(x.desc, y.desc) && (!IsPadded(x.desc) || f.keeps_zero)) {
    const RowStorage storage{x.dtype, y.dtype};
    b.steps.Add("byoc:" + name, {x, y}, [run = f.run, n = *count, storage](void* const* operands) {
      constexpr int64_t kRun = 1024;
      ParallelFor((n + kRun - 1) / kRun, 4 * kRun, [&](int64_t begin, int64_t end) {
        FloatRows rows(storage, kRun);
        int64_t last = std::min(end * kRun, n), step = storage.narrow() ? kRun : last;
        for (int64_t at = begin * kRun; at < last; at += step) {
          rows.Apply(operands[0], at, operands[1], at, std::min(step, last - at), run);
        }
      });
    });
    return;
  }
  if (y.dtype != DType::kFloat32) {  // strided rows are float32: computed beside
    Tensor wide = b.buffers.As(x, PlainDesc(x.desc.get_dims(), DType::kFloat32));
    Tensor result = b.buffers.Fresh(wide.desc, DType::kFloat32);
    ApplyRows(b, f, wide, result, name);
    b.steps.Copy(result, y);
    return;
  }
  Expect(IsStrided(x.desc) && IsStrided(y.desc), "layout ", Describe(x.desc), " is not supported");
  LoopNest<2> nest = Collapse<2>(x.desc.get_dims(), {x.desc.get_strides(), y.desc.get_strides()});
  b.steps.Add("byoc:" + name, {x, y}, [run = f.run, nest](void* const* operands) {
    const float* from = static_cast<const float*>(operands[0]);
    float* to = static_cast<float*>(operands[1]);
    ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
      if (nest.RowStride(0) == 1 && nest.RowStride(1) == 1) {
        run(from + at[0], to + at[1], n);
        return;
      }
      for (int64_t i = 0; i < n; ++i) {
        run(from + at[0] + i * nest.RowStride(0), to + at[1] + i * nest.RowStride(1), 1);
      }
    });
  });
}

dnnl::eltwise_forward::primitive_desc MakeEltwise(const Eltwise& alg, const Desc& x, const Desc& y,
                                                  const dnnl::primitive_attr& attr) {
  return dnnl::eltwise_forward::primitive_desc(Engine(), dnnl::prop_kind::forward_inference,
                                               alg.alg, x, y, alg.alpha, alg.beta, attr,
                                               /*allow_empty=*/true);
}

}  // namespace

void ApplyEltwise(Builder& b, const std::string& alg, float alpha, float beta, const Tensor& x,
                  const Tensor& y) {
  std::optional<Eltwise> eltwise = FindEltwise(alg, alpha, beta);
  if (std::optional<RowFunction> own = OwnFunction(alg, alpha, beta)) {
    return ApplyRows(b, *own, x, y, alg);
  }
  auto pd = MakeEltwise(*eltwise, x.desc, y.desc, BaseAttr());
  Expect(static_cast<bool>(pd), "oneDNN has no eltwise '", alg, "' for layout ", Describe(x.desc));
  b.steps.Add(pd, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}}, alg + " " + Describe(x.desc));
}

bool NeedsPlain(const std::string& alg, float alpha, float beta, const Desc& desc) {
  std::optional<RowFunction> own = OwnFunction(alg, alpha, beta);
  return !IsDense(desc) || (own && IsPadded(desc) && !own->keeps_zero);
}

size_t BuildEltwise(Builder& b, const Op& op) {
  ExpectReal(b, {op.inputs[0], op.outputs[0]});
  int value = op.inputs[0], result = op.outputs[0];
  const DType stored = b.values.Type(result);
  ExpectShape(b.values.Shape(result), b.values.Shape(value));
  const std::string& alg = op.attrs.String("alg");
  float alpha = op.attrs.Has("alpha") ? op.attrs.Float("alpha") : 0.f;
  float beta = op.attrs.Has("beta") ? op.attrs.Float("beta") : 0.f;

  Tensor x = b.buffers.Float(value, stored);
  if (NeedsPlain(alg, alpha, beta, x.desc)) {
    x = b.buffers.As(value, PlainDesc(b.values.Shape(value), stored));
  }
  std::optional<Eltwise> eltwise = FindEltwise(alg, alpha, beta);
  if (std::optional<RowFunction> own = OwnFunction(alg, alpha, beta)) {
    bool in_place = b.buffers.MayOverwrite(value, x) && !b.buffers.MayHaveDestination(result);
    Tensor y = in_place ? x : b.buffers.Result(result, x.desc);
    ApplyRows(b, *own, x, y, alg);
    b.buffers.Set(result, y);
    return 0;
  }
  using PrimitiveDesc = dnnl::eltwise_forward::primitive_desc;
  Fused<PrimitiveDesc> best = FuseBest<PrimitiveDesc>(
      b, op, b.values.Shape(result),
      [&](const dnnl::primitive_attr& attr) { return MakeEltwise(*eltwise, x.desc, x.desc, attr); },
      /*allow_sum=*/false);
  bool in_place = b.buffers.MayOverwrite(value, x) && !b.buffers.MayHaveDestination(result);
  Tensor y = in_place ? x : b.buffers.Result(result, x.desc);
  std::vector<Arg> args = {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}};
  best.fusion.operands().AddArgs(b, best.pd, &args);
  b.steps.Add(best.pd, args, alg + best.fusion.detail() + " " + Describe(x.desc));
  b.buffers.Set(result, y);
  return best.fusion.count();
}

}  // namespace byoc::onednn

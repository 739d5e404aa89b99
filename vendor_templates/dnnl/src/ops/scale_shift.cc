// y = (x - m) * a + c per channel, then perhaps relu: batch normalisation, and a product and a sum
// with constants (what is left of a batch normalisation that no convolution could take in).
//
// One pass over memory, in the layout x has; x may be a window of a concat's result.
#include "scale_shift.h"

#include <algorithm>
#include <cmath>

#include "../kernels/channel.h"
#include "algorithms.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

/// Factors of the whole chain, three per channel.
struct Factors {
  explicit Factors(int64_t channels) : m(channels, 0.f), a(channels, 1.f), c(channels, 0.f) {}
  std::vector<float> m, a, c;
  bool scaled = false, shifted = false;
};

bool IsRelu(const PostOp& post) {
  return !post.is_binary && post.alg == "relu" && post.alpha == 0.f;
}

/// Add the kernel; `table` holds m, a and c, padded to whole blocks, for the view of `x`.
void Emit(Builder& b, int value, int result, const Tensor& x, const Tensor& table, bool relu,
          const std::string& name) {
  SpatialView from = *ViewSpatial(x.desc);
  bool in_place = b.buffers.MayOverwrite(value, x) && !b.buffers.MayHaveDestination(result);
  Tensor y = in_place ? x : b.buffers.Result(result, *WithShape(x.desc, b.values.Shape(result)));
  SpatialView to = *ViewSpatial(y.desc);
  int64_t padded = from.blocks * from.lanes;
  b.steps.Add(
      "byoc:" + name, {x, y, table},
      [=](void* const* p) {
        const float* m = static_cast<const float*>(p[2]);
        ChannelAffine(static_cast<const float*>(p[0]), from, static_cast<float*>(p[1]), to, m,
                      m + padded, m + 2 * padded, /*batch_step=*/0, relu);
      },
      Describe(x.desc) + (relu ? "+relu" : ""));
  b.buffers.Set(result, y);
}

void EmitConstant(Builder& b, int value, int result, const Factors& factors, bool relu,
                  const std::string& name) {
  Tensor x = ChannelOperand(b, value);
  SpatialView view = *ViewSpatial(x.desc);
  int64_t padded = view.blocks * view.lanes;
  void* data = nullptr;
  Tensor table =
      b.buffers.NewConstant(PlainDesc({3, padded}, DType::kFloat32), DType::kFloat32, &data);
  float* to = static_cast<float*>(data);
  std::fill_n(to, 3 * padded, 0.f);
  std::copy(factors.m.begin(), factors.m.end(), to);
  std::copy(factors.a.begin(), factors.a.end(), to + padded);
  std::copy(factors.c.begin(), factors.c.end(), to + 2 * padded);
  Emit(b, value, result, x, table, relu, name);
}

/// A constant per channel of `shape` (or one number), as one value per channel.
std::optional<std::vector<float>> PerChannel(const Builder& b, int value, const Dims& shape) {
  if (b.values.Type(value) != DType::kFloat32 || !b.steps.IsConstant(b.buffers.Get(value)) ||
      !IsPlain(b.buffers.Get(value).desc)) {
    return std::nullopt;
  }
  const Dims& own = b.values.Shape(value);
  if (own.size() > shape.size()) return std::nullopt;
  for (size_t i = 1; i <= own.size(); ++i) {
    bool channel = shape.size() - i == 1;
    int64_t dim = own[own.size() - i];
    if (dim != 1 && !(channel && dim == shape[1])) return std::nullopt;
  }
  const float* data = static_cast<const float*>(b.steps.ConstantData(b.buffers.Get(value)));
  if (Volume(own) == 1) return std::vector<float>(shape[1], *data);
  return std::vector<float>(data, data + shape[1]);
}

/// Append one op with a constant; false when it is none of these, or the chain has its like.
///
/// A factor, then a shift, is all a chain has: joined factors or shifts would overflow and round
/// where the ops one by one do not.
bool Append(const std::string& alg, const std::vector<float>& constant, Factors* f) {
  bool factor = alg == "mul", shift = alg == "add" || alg == "sub";
  if (f->shifted || (factor && f->scaled) || !(factor || shift)) return false;
  (factor ? f->scaled : f->shifted) = true;
  for (size_t i = 0; i < f->a.size(); ++i) {
    (factor ? f->a[i] : f->c[i]) = alg == "sub" ? -constant[i] : constant[i];
  }
  return true;
}

}  // namespace

Tensor ChannelOperand(Builder& b, int value) {
  const Tensor& x = b.buffers.Get(value);
  std::optional<SpatialView> view = ViewSpatial(x.desc);
  std::optional<Desc> dense = WithShape(x.desc, b.values.Shape(value));
  std::optional<SpatialView> result = dense ? ViewSpatial(*dense) : std::nullopt;
  bool alike = view && result && view->lanes == result->lanes && view->blocks == result->blocks;
  return alike ? x : b.buffers.Plain(value);
}

std::optional<size_t> TryScaleShift(Builder& b, const Op& op) {
  int x = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(result);
  if (shape.size() < 3 || b.values.Shape(x) != shape || b.values.Type(x) != DType::kFloat32 ||
      b.values.Type(result) != DType::kFloat32) {
    return std::nullopt;
  }
  Factors factors(shape[1]);
  auto first = PerChannel(b, op.inputs[1], shape);
  if (!first || !Append(op.attrs.String("alg"), *first, &factors)) return std::nullopt;
  size_t taken = 0;
  while (taken < op.post.size() && op.post[taken].is_binary) {
    auto next = PerChannel(b, op.post[taken].value, shape);
    if (!next || !Append(op.post[taken].alg, *next, &factors)) break;
    ++taken;
  }
  bool relu = taken < op.post.size() && IsRelu(op.post[taken]);
  // A single op on dense memory is oneDNN's, and post-ops that follow fuse with it.
  if (taken == 0 && IsDense(b.buffers.Get(x).desc)) return std::nullopt;
  EmitConstant(b, x, result, factors, relu, "scale_shift");
  return taken + (relu ? 1 : 0);
}

size_t BuildBatchNorm(Builder& b, const Op& op) {
  ExpectFloat(b, op.inputs);
  ExpectFloat(b, op.outputs);
  int value = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  Expect(shape.size() >= 2, "expected [N, C, ...], found ", ToString(shape));
  ExpectShape(b.values.Shape(result), shape);
  float eps = op.attrs.Float("eps");
  int64_t channels = shape[1];
  std::vector<Tensor> parameters;
  for (size_t i = 1; i <= 4; ++i) {
    Expect(Volume(b.values.Shape(op.inputs[i])) == channels, "parameter ", i, " has shape ",
           ToString(b.values.Shape(op.inputs[i])), ", expected [", channels, "]");
    parameters.push_back(b.buffers.Plain(op.inputs[i]));
  }
  bool relu = !op.post.empty() && IsRelu(op.post[0]);
  auto fill = [channels, eps](const float* scale, const float* shift, const float* mean,
                              const float* var, float* m, float* a, float* c) {
    for (int64_t i = 0; i < channels; ++i) {
      m[i] = mean[i];
      a[i] = scale[i] / std::sqrt(var[i] + eps);
      c[i] = shift[i];
    }
  };
  bool constant = std::all_of(parameters.begin(), parameters.end(),
                              [&](const Tensor& t) { return b.steps.IsConstant(t); });
  if (constant) {
    auto at = [&](size_t i) {
      return static_cast<const float*>(b.steps.ConstantData(parameters[i]));
    };
    Factors factors(channels);
    fill(at(0), at(1), at(2), at(3), factors.m.data(), factors.a.data(), factors.c.data());
    EmitConstant(b, value, result, factors, relu, "batch_norm");
  } else {
    Tensor x = ChannelOperand(b, value);
    SpatialView view = *ViewSpatial(x.desc);
    int64_t padded = view.blocks * view.lanes;
    Tensor table = b.buffers.Fresh(PlainDesc({3, padded}, DType::kFloat32), DType::kFloat32);
    std::vector<Tensor> operands = parameters;
    operands.push_back(table);
    b.steps.Add("byoc:batch_norm_factors", operands, [fill, padded](void* const* p) {
      auto in = [&](size_t i) { return static_cast<const float*>(p[i]); };
      float* m = static_cast<float*>(p[4]);
      std::fill_n(m, 3 * padded, 0.f);
      fill(in(0), in(1), in(2), in(3), m, m + padded, m + 2 * padded);
    });
    Emit(b, value, result, x, table, relu, "batch_norm");
  }
  return relu ? 1 : 0;
}

}  // namespace byoc::onednn

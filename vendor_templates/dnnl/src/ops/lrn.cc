// Local response normalisation across channels: oneDNN's, or ours where it has only a reference.
//
//   y[c] = x[c] / (k + alpha / size * sum of x[i]^2, i from c - (size - 1) / 2 to c + size / 2) ^
//   beta
#include <algorithm>
#include <cmath>

#include "../kernels/parallel.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

struct Lrn {
  int64_t size;
  float alpha, beta, k;
};

/// y = x / (k + alpha / size * sum of squares over the window)^beta, one channel row.
void LrnRow(const Lrn& p, const float* x, float* y, int64_t channel, int64_t channels,
            int64_t pixels) {
  int64_t first = std::max<int64_t>(channel - (p.size - 1) / 2, 0);
  int64_t last = std::min(channel + p.size / 2, channels - 1);
  constexpr int64_t kRun = 256;
  float squares[kRun];
  for (int64_t begin = 0; begin < pixels; begin += kRun) {
    int64_t n = std::min(kRun, pixels - begin);
    std::fill_n(squares, n, 0.f);
    for (int64_t c = first; c <= last; ++c) {
      const float* row = x + c * pixels + begin;
      for (int64_t i = 0; i < n; ++i) squares[i] += row[i] * row[i];
    }
    const float* own = x + channel * pixels + begin;
    float* to = y + channel * pixels + begin;
    float factor = p.alpha / static_cast<float>(p.size);
    for (int64_t i = 0; i < n; ++i) {
      float base = p.k + factor * squares[i];
      // The usual exponent has a form without pow: base^-0.75 = 1 / sqrt(base * sqrt(base)).
      to[i] = own[i] *
              (p.beta == 0.75f ? 1.f / std::sqrt(base * std::sqrt(base)) : std::pow(base, -p.beta));
    }
  }
}

}  // namespace

size_t BuildLrn(Builder& b, const Op& op) {
  ExpectFloat(b, {op.inputs[0], op.outputs[0]});
  int value = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  Expect(shape.size() >= 3, "expected [N, C, ...], found ", ToString(shape));
  ExpectShape(b.values.Shape(result), shape);
  Lrn p{op.attrs.Int("size"), op.attrs.Float("alpha"), op.attrs.Float("beta"), op.attrs.Float("k")};
  Expect(p.size >= 1, "size must be at least 1, found ", p.size);

  Tensor x = b.buffers.Get(value);
  if (IsDense(x.desc) && p.size % 2 == 1) {
    dnnl::lrn_forward::primitive_desc pd(Engine(), dnnl::prop_kind::forward_inference,
                                         dnnl::algorithm::lrn_across_channels, x.desc, x.desc,
                                         p.size, p.alpha, p.beta, p.k, BaseAttr(),
                                         /*allow_empty=*/true);
    if (pd && !IsReference(pd.impl_info_str())) {
      Tensor y = b.buffers.Result(result, x.desc);
      b.steps.Add(pd, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}}, Describe(x.desc));
      b.buffers.Set(result, y);
      return 0;
    }
  }
  x = b.buffers.Plain(value);
  Tensor y = b.buffers.Result(result, PlainDesc(shape, DType::kFloat32));
  int64_t channels = shape[1];
  int64_t pixels = Volume(Dims(shape.begin() + 2, shape.end()));
  b.steps.Add("byoc:lrn", {x, y}, [p, batch = shape[0], channels, pixels](void* const* operands) {
    ParallelFor(batch * channels, pixels * p.size, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t n = i / channels * channels * pixels;
        LrnRow(p, static_cast<const float*>(operands[0]) + n, static_cast<float*>(operands[1]) + n,
               i % channels, channels, pixels);
      }
    });
  });
  b.buffers.Set(result, y);
  return 0;
}

}  // namespace byoc::onednn

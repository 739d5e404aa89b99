// Softmax and the normalisations that look at their input, by row kernels of our own
// (kernels/simd.h):
//
//   softmax     rows along the last axis, or columns side by side along another
//   layer, rms  rows: the trailing axes joined into one
//   group       two passes: factors per channel from the statistics of its group, then a scale and
//               shift per channel, in whatever layout the input has
#include <algorithm>
#include <cmath>

#include "../kernels/channel.h"
#include "../kernels/float_rows.h"
#include "../kernels/parallel.h"
#include "../kernels/simd.h"
#include "checks.h"
#include "post_ops.h"
#include "scale_shift.h"

namespace byoc::onednn {
namespace {

/// Scale or shift operand `i` of an op as a plain tensor of `count` numbers, or nothing.
std::optional<Tensor> Parameter(Builder& b, const Op& op, size_t i, int64_t count) {
  if (op.inputs.size() <= i) return std::nullopt;
  Expect(Volume(b.values.Shape(op.inputs[i])) == count, "parameter ", i, " has shape ",
         ToString(b.values.Shape(op.inputs[i])), ", expected ", count, " elements");
  return b.buffers.Plain(op.inputs[i]);
}

/// Memory for a result shaped like `x`: its own where it dies.
Tensor InPlaceOrNew(Builder& b, int value, const Tensor& x, int result) {
  const DType stored = b.values.Type(result);
  bool in_place = x.dtype == stored && b.buffers.MayOverwrite(value, x) &&
                  !b.buffers.MayHaveDestination(result);
  return in_place ? x : b.buffers.Result(result, WithFloat(x.desc, stored));
}

/// Layer norm, or its form without mean and shift, of rows: the trailing axes joined into one.
void BuildRowNorm(Builder& b, const Op& op, bool rms) {
  ExpectReal(b, {op.inputs[0], op.outputs[0]});
  ExpectFloat(b, {op.inputs.begin() + 1, op.inputs.end()});
  int value = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  ExpectShape(b.values.Shape(result), shape);
  Dims axes = op.attrs.Ints("axes", b.values.bindings());
  int64_t n = 1;
  for (size_t i = 0; i < axes.size(); ++i) {
    int64_t expected = static_cast<int64_t>(shape.size() - axes.size() + i);
    Expect(axes.size() <= shape.size() && axes[i] == expected, "axes ", ToString(axes),
           " are not the trailing ones of ", ToString(shape));
    n *= shape[axes[i]];
  }
  float eps = op.attrs.Float("eps");
  std::optional<Tensor> scale = Parameter(b, op, 1, n), shift = Parameter(b, op, 2, n);
  Tensor x = b.buffers.Plain(value);
  Tensor y = InPlaceOrNew(b, value, x, result);
  std::vector<Tensor> operands = {x, y};
  if (scale) operands.push_back(*scale);
  if (shift) operands.push_back(*shift);
  bool has_scale = scale.has_value(), has_shift = shift.has_value();
  int64_t rows = n == 0 ? 0 : Volume(shape) / n;
  const RowStorage storage{x.dtype, y.dtype};
  b.steps.Add(std::string("byoc:") + op.kind->name, operands, [=](void* const* pointers) {
    const float* gamma = has_scale ? static_cast<const float*>(pointers[2]) : nullptr;
    const float* beta = has_shift ? static_cast<const float*>(pointers[3]) : nullptr;
    ParallelFor(rows, 2 * n, [&](int64_t begin, int64_t end) {
      FloatRows floats(storage, n);
      auto norm = [&](const float* from, float* to, int64_t length) {
        if (rms) {
          Rows().rms_norm(from, gamma, to, length, eps);
        } else {
          Rows().layer_norm(from, gamma, beta, to, length, eps);
        }
      };
      for (int64_t i = begin; i < end; ++i) {
        floats.Apply(pointers[0], i * n, pointers[1], i * n, n, norm);
      }
    });
  });
  b.buffers.Set(result, y);
}

}  // namespace

size_t BuildSoftmax(Builder& b, const Op& op) {
  ExpectReal(b, {op.inputs[0], op.outputs[0]});
  int value = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  ExpectShape(b.values.Shape(result), shape);
  int64_t axis = op.attrs.Int("axis");
  bool log = op.attrs.Has("log") && op.attrs.Bool("log");
  Expect(axis >= 0 && axis < std::max<int64_t>(b.values.Rank(value), 1), "axis ", axis,
         " is out of range for shape ", ToString(shape));
  int64_t outer = 1, n = shape.empty() ? 1 : shape[axis], inner = 1;
  for (int64_t d = 0; d < b.values.Rank(value); ++d) {
    if (d < axis) outer *= shape[d];
    if (d > axis) inner *= shape[d];
  }
  if (inner == 1) {
    Tensor x = b.buffers.Plain(value);
    Tensor y = InPlaceOrNew(b, value, x, result);
    const RowStorage storage{x.dtype, y.dtype};
    b.steps.Add("byoc:softmax", {x, y}, [=](void* const* operands) {
      ParallelFor(outer, 8 * n, [&](int64_t begin, int64_t end) {
        FloatRows rows(storage, n);
        auto softmax = [log](const float* from, float* to, int64_t length) {
          Rows().softmax(from, to, length, log);
        };
        for (int64_t i = begin; i < end; ++i) {
          rows.Apply(operands[0], i * n, operands[1], i * n, n, softmax);
        }
      });
    });
    b.buffers.Set(result, y);
    return 0;
  }
  Tensor x = b.buffers.As(value, PlainDesc(shape, DType::kFloat32));
  const bool narrow = b.values.Type(result) != DType::kFloat32;
  Tensor y = narrow ? b.buffers.Fresh(x.desc, x.dtype) : InPlaceOrNew(b, value, x, result);
  b.steps.Add("byoc:softmax", {x, y}, [=](void* const* operands) {
    const float* from = static_cast<const float*>(operands[0]);
    float* to = static_cast<float*>(operands[1]);
    constexpr int64_t kColumns = 64;
    int64_t parts = (inner + kColumns - 1) / kColumns;
    ParallelFor(outer * parts, 8 * n * std::min(inner, kColumns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t column = i % parts * kColumns, at = i / parts * n * inner + column;
        Rows().softmax_columns(from + at, to + at, n, inner, std::min(kColumns, inner - column),
                               log);
      }
    });
  });
  if (narrow) {
    Tensor stored = b.buffers.Result(result, PlainDesc(shape, b.values.Type(result)));
    b.steps.Copy(y, stored);
    y = stored;
  }
  b.buffers.Set(result, y);
  return 0;
}

size_t BuildLayerNorm(Builder& b, const Op& op) {
  BuildRowNorm(b, op, /*rms=*/false);
  return 0;
}

size_t BuildRmsNorm(Builder& b, const Op& op) {
  BuildRowNorm(b, op, /*rms=*/true);
  return 0;
}

size_t BuildGroupNorm(Builder& b, const Op& op) {
  ExpectFloat(b, op.inputs);
  ExpectFloat(b, op.outputs);
  int value = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  Expect(shape.size() >= 2, "expected [N, C, ...], found ", ToString(shape));
  ExpectShape(b.values.Shape(result), shape);
  int64_t groups = op.attrs.Int("groups");
  Expect(groups >= 1 && shape[1] % groups == 0, shape[1], " channels do not split into ", groups,
         " groups");
  std::optional<Tensor> scale = Parameter(b, op, 1, shape[1]),
                        shift = Parameter(b, op, 2, shape[1]);
  Tensor x = ChannelOperand(b, value);
  Tensor y = InPlaceOrNew(b, value, x, result);
  SpatialView from = *ViewSpatial(x.desc), to = *ViewSpatial(y.desc);
  // Statistics per channel, then factors per channel: three numbers each.
  int64_t padded = from.blocks * from.lanes;
  Tensor factors =
      b.buffers.Fresh(PlainDesc({3, from.batch, padded}, DType::kFloat32), DType::kFloat32);
  std::vector<Tensor> operands = {x, y, factors};
  if (scale) operands.push_back(*scale);
  if (shift) operands.push_back(*shift);
  bool has_scale = scale.has_value(), has_shift = shift.has_value();
  float eps = op.attrs.Float("eps");
  b.steps.Add(
      "byoc:group_norm", operands,
      [=](void* const* pointers) {
        float* memory = static_cast<float*>(pointers[2]);
        float *m = memory, *a = m + from.batch * padded, *c = a + from.batch * padded;
        GroupFactors(static_cast<const float*>(pointers[0]), from, groups, eps,
                     has_scale ? static_cast<const float*>(pointers[3]) : nullptr,
                     has_shift ? static_cast<const float*>(pointers[4]) : nullptr, m, a, c);
        ChannelAffine(static_cast<const float*>(pointers[0]), from,
                      static_cast<float*>(pointers[1]), to, m, a, c, padded, /*relu=*/false);
      },
      Describe(x.desc));
  b.buffers.Set(result, y);
  return 0;
}

}  // namespace byoc::onednn

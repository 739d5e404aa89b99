// Reductions over any axes, on plain memory; the mean over all pixels of a blocked map is pooled
// where it lies.
//
//   axes joined to   [outer, reduced, inner, reduced, ...]   of which the first two patterns are
//   rows             inner = 1: each result folds one row
//   columns          inner > 1: rows are folded into an accumulator
// Anything else is brought into "rows" by a transposing copy.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../kernels/copy.h"
#include "../kernels/parallel.h"
#include "../kernels/simd.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

enum class Finish : uint8_t { kNone, kMean, kRoot };

struct Algorithm {
  Reduce reduce;
  Finish finish;
  float start;
};

Algorithm FindReduction(const std::string& alg) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (alg == "sum") return {Reduce::kSum, Finish::kNone, 0.f};
  if (alg == "mean") return {Reduce::kSum, Finish::kMean, 0.f};
  if (alg == "max") return {Reduce::kMax, Finish::kNone, -kInfinity};
  if (alg == "min") return {Reduce::kMin, Finish::kNone, kInfinity};
  if (alg == "prod") return {Reduce::kProd, Finish::kNone, 1.f};
  if (alg == "l2") return {Reduce::kSquares, Finish::kRoot, 0.f};
  Fail("reduction alg '", alg, "' is unknown; legal: sum, mean, max, min, prod, l2");
}

void Complete(const Algorithm& alg, float* y, int64_t n, int64_t reduced) {
  if (alg.finish == Finish::kMean) {
    float factor = 1.f / static_cast<float>(reduced);
    for (int64_t i = 0; i < n; ++i) y[i] *= factor;
  } else if (alg.finish == Finish::kRoot) {
    for (int64_t i = 0; i < n; ++i) y[i] = std::sqrt(y[i]);
  }
}

/// x as [outer, n, inner] → y [outer, inner].
void FoldMiddle(const Algorithm& alg, const float* x, float* y, int64_t outer, int64_t n,
                int64_t inner) {
  if (inner == 1) {
    // Long rows are folded in runs: float sums lose digits otherwise.
    constexpr int64_t kRun = 16384;
    ParallelFor(outer, n, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float total = alg.start;
        for (int64_t at = 0; at < n; at += kRun) {
          float part =
              Rows().reduce_row(alg.reduce, x + i * n + at, std::min(kRun, n - at), alg.start);
          Reduce join = alg.reduce == Reduce::kSquares ? Reduce::kSum : alg.reduce;
          total = at == 0 ? part : Rows().reduce_row(join, &part, 1, total);
        }
        y[i] = total;
        Complete(alg, y + i, 1, n);
      }
    });
    return;
  }
  constexpr int64_t kColumns = 256;
  int64_t parts = (inner + kColumns - 1) / kColumns;
  ParallelFor(outer * parts, n * std::min(inner, kColumns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t o = i / parts, column = i % parts * kColumns;
      int64_t width = std::min(kColumns, inner - column);
      float* row = y + o * inner + column;
      std::fill_n(row, width, alg.start);
      for (int64_t r = 0; r < n; ++r) {
        Rows().reduce_into(alg.reduce, row, x + (o * n + r) * inner + column, width);
      }
      Complete(alg, row, width, n);
    }
  });
}

/// Mean over exactly the spatial dims of a map that does not lie row-major.
bool PoolsInstead(const Builder& b, const Op& op, const std::vector<bool>& reduced) {
  const Tensor& x = b.buffers.Get(op.inputs[0]);
  size_t rank = reduced.size();
  if (op.attrs.String("alg") != "mean" || rank < 3 || rank > 5 || IsPlain(x.desc)) return false;
  for (size_t d = 0; d < rank; ++d) {
    if (reduced[d] != (d >= 2)) return false;
  }
  std::optional<Desc> family = WithShape(x.desc, x.desc.get_dims());
  return family && family->get_inner_blks() == x.desc.get_inner_blks();
}

/// Average pooling over all pixels, its result seen without (or with) the unit dims.
void ReduceByPooling(Builder& b, const Op& op) {
  const Tensor& x = b.buffers.Get(op.inputs[0]);
  Dims shape = x.desc.get_dims(), pooled(shape.size(), 1);
  pooled[0] = shape[0];
  pooled[1] = shape[1];
  Dims kernel(shape.begin() + 2, shape.end()), ones(kernel.size(), 1), zeros(kernel.size(), 0);
  Desc dst = *WithShape(x.desc, pooled);
  dnnl::pooling_forward::primitive_desc pd(Engine(), dnnl::prop_kind::forward_inference,
                                           dnnl::algorithm::pooling_avg_exclude_padding, x.desc,
                                           dst, ones, kernel, zeros, zeros, zeros, BaseAttr());
  Tensor y = b.buffers.Fresh(dst, DType::kFloat32);
  b.steps.Add(pd, {{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}}, Describe(x.desc));
  if (b.values.Shape(op.outputs[0]) != pooled) {
    Tensor plain = b.buffers.As(y, PlainDesc(pooled, DType::kFloat32));
    y = *Reshaped(plain, b.values.Shape(op.outputs[0]));
  }
  b.buffers.Set(op.outputs[0], y);
}

}  // namespace

size_t BuildReduction(Builder& b, const Op& op) {
  ExpectFloat(b, {op.inputs[0], op.outputs[0]});
  int value = op.inputs[0], result = op.outputs[0];
  const Dims& shape = b.values.Shape(value);
  Algorithm alg = FindReduction(op.attrs.String("alg"));
  std::vector<bool> reduced(shape.size(), false);
  for (int64_t axis : op.attrs.Ints("axes", b.values.bindings())) {
    Expect(axis >= 0 && axis < b.values.Rank(value), "axis ", axis, " is out of range for shape ",
           ToString(shape));
    reduced[axis] = true;
  }
  Dims kept, kept_ones;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (!reduced[d]) kept.push_back(shape[d]);
    kept_ones.push_back(reduced[d] ? 1 : shape[d]);
  }
  Expect(b.values.Shape(result) == kept || b.values.Shape(result) == kept_ones, "output has shape ",
         ToString(b.values.Shape(result)), ", expected ", ToString(kept), " or ",
         ToString(kept_ones));
  if (PoolsInstead(b, op, reduced)) {
    ReduceByPooling(b, op);
    return 0;
  }

  // Loops of the same sort joined: at most kept, reduced, kept is done in place.
  std::vector<std::pair<bool, int64_t>> loops;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    if (!loops.empty() && loops.back().first == reduced[d]) {
      loops.back().second *= shape[d];
    } else {
      loops.push_back({reduced[d], shape[d]});
    }
  }
  int64_t outer = 1, n = 1, inner = 1;
  size_t at = 0;
  if (at < loops.size() && !loops[at].first) outer = loops[at++].second;
  if (at < loops.size() && loops[at].first) n = loops[at++].second;
  if (at < loops.size() && !loops[at].first) inner = loops[at++].second;
  Tensor x;
  if (at == loops.size()) {
    x = b.buffers.Plain(value);
  } else {
    outer = Volume(kept);
    n = outer == 0 ? 0 : Volume(shape) / outer;
    inner = 1;
    std::vector<int64_t> order;
    for (bool last : {false, true}) {
      for (size_t d = 0; d < shape.size(); ++d) {
        if (reduced[d] == last) order.push_back(static_cast<int64_t>(d));
      }
    }
    Tensor from = b.buffers.Strided(value);
    Dims strides = from.desc.get_strides(), sizes, moved;
    for (int64_t d : order) {
      sizes.push_back(shape[d]);
      moved.push_back(strides[d]);
    }
    Tensor view = {Desc(sizes, from.desc.get_data_type(), moved), from.dtype, from.buffer,
                   from.Begin()};
    x = b.buffers.As(view, PlainDesc(sizes, DType::kFloat32));
  }
  Tensor y = b.buffers.Result(result, PlainDesc(b.values.Shape(result), DType::kFloat32));
  b.steps.Add("byoc:reduce_" + op.attrs.String("alg"), {x, y}, [=](void* const* operands) {
    FoldMiddle(alg, static_cast<const float*>(operands[0]), static_cast<float*>(operands[1]), outer,
               n, inner);
  });
  b.buffers.Set(result, y);
  return 0;
}

}  // namespace byoc::onednn

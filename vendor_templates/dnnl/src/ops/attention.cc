// Scaled-dot-product attention: y = softmax(scale * q k^T + mask) v, one tile of queries at a
// time.
//
//   for each (batch, head, tile of 64 queries), in parallel:
//       scores [64, T] = scale * q_tile k^T        one small gemm, scores stay in the L2 cache
//       scores        += mask; softmax of each row
//       y_tile [64, E] = scores v                  another one
//
// The score matrix [S, T] never exists as a whole, and q, k, v and y are read and written through
// their strides: transposes around attention cost nothing. Under a causal mask a tile only looks
// at the keys it can see.

#include <algorithm>

#include "../kernels/loops.h"
#include "../kernels/simd.h"
#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

/// Strides of one operand as [B, H, rows], in elements; columns lie side by side.
struct Matrix {
  int64_t batch, head, row;
};

struct Sizes {
  int64_t batch, heads, queries, keys, depth, width;  // depth: of q and k, width: of v and y
  float scale;
  bool causal;
  bool chooses;  // the mask does not add: where it is not 0, `hidden` takes the score's place
  float hidden;
  Matrix q, k, v, y;
  int64_t mask[4];  // strides over [B, H, S, T]
};

constexpr int64_t kTile = 64;

void AttentionTile(const Sizes& s, const float* q, const float* k, const float* v,
                   const float* mask, float* y, int64_t first, float* scores) {
  int64_t rows = std::min(kTile, s.queries - first);
  // Bottom-right aligned: query i sees keys up to i + keys - queries.
  int64_t seen = s.causal ? std::min(s.keys, first + rows + s.keys - s.queries) : s.keys;
  if (seen > 0) {
    dnnl_sgemm('N', 'T', rows, seen, s.depth, s.scale, q, s.q.row, k, s.k.row, 0.f, scores, seen);
  }
  for (int64_t i = 0; i < rows; ++i) {
    float* row = scores + i * seen;
    int64_t count = seen;
    if (s.causal) {
      count = std::clamp<int64_t>(first + i + 1 + s.keys - s.queries, 0, seen);
      std::fill(row + count, row + seen, 0.f);
    }
    if (count == 0) continue;
    if (mask != nullptr && s.chooses) {
      const float* hides = mask + i * s.mask[2];
      for (int64_t t = 0; t < count; ++t) row[t] = hides[t * s.mask[3]] != 0.f ? s.hidden : row[t];
    } else if (mask != nullptr) {
      Rows().add_mask(row, mask + i * s.mask[2], s.mask[3], count);
    }
    Rows().softmax(row, row, count, /*log=*/false);
  }
  if (seen > 0) {
    dnnl_sgemm('N', 'N', rows, s.width, seen, 1.f, scores, seen, v, s.v.row, 0.f, y, s.y.row);
  } else {
    for (int64_t i = 0; i < rows; ++i) std::fill_n(y + i * s.y.row, s.width, 0.f);
  }
}

void RunAttention(const Sizes& s, bool has_mask, int64_t scores_stride, void* const* operands) {
  const float* q = static_cast<const float*>(operands[0]);
  const float* k = static_cast<const float*>(operands[1]);
  const float* v = static_cast<const float*>(operands[2]);
  float* y = static_cast<float*>(operands[3]);
  float* scores = static_cast<float*>(operands[4]);
  const float* mask = has_mask ? static_cast<const float*>(operands[5]) : nullptr;
  int64_t tiles = (s.queries + kTile - 1) / kTile;
  ParallelFor(s.batch * s.heads * tiles, kSerialWork, [&](int64_t begin, int64_t end) {
    float* mine = scores + threads::Id() * scores_stride;
    for (int64_t i = begin; i < end; ++i) {
      int64_t tile = i % tiles, head = i / tiles % s.heads, batch = i / tiles / s.heads;
      auto at = [&](const Matrix& m) { return batch * m.batch + head * m.head; };
      int64_t first = tile * kTile;
      const float* bias = mask == nullptr
                              ? nullptr
                              : mask + batch * s.mask[0] + head * s.mask[1] + first * s.mask[2];
      AttentionTile(s, q + at(s.q) + first * s.q.row, k + at(s.k), v + at(s.v), bias,
                    y + at(s.y) + first * s.y.row, first, mine);
    }
  });
}

/// Axes of batch, head, row and column in a layout.
struct Axes {
  int batch, head, row, column;
};

Matrix StridesOf(const Desc& desc, const Axes& axes) {
  Dims strides = desc.get_strides();
  return {strides[axes.batch], strides[axes.head], strides[axes.row]};
}

/// A strided operand whose columns lie side by side.
Tensor RowOperand(Builder& b, int value, const Axes& axes) {
  Tensor t = b.buffers.Strided(value);
  Dims strides = t.desc.get_strides(), dims = t.desc.get_dims();
  bool rows = (strides[axes.column] == 1 || dims[axes.column] == 1) &&
              strides[axes.row] >= dims[axes.column];
  return rows ? t : b.buffers.Plain(value);
}

/// Where the result goes: plain, or so that the one transpose behind it moves nothing.
Tensor AttentionResult(Builder& b, int y, const Axes& axes) {
  const Op* user = b.values.OnlyUser(y);
  const Dims& shape = b.values.Shape(y);
  if (user != nullptr && user->kind->Has(kPermutesAxes) && user->post.empty()) {
    Dims order = user->attrs.Ints("axes", b.values.bindings());
    Dims inner = PlainStrides(b.values.Shape(user->outputs[0])), strides(shape.size());
    bool fits = order.size() == shape.size() && order.back() == axes.column;
    for (size_t d = 0; fits && d < order.size(); ++d) {
      fits = order[d] >= 0 && order[d] < static_cast<int64_t>(shape.size());
      if (fits) strides[order[d]] = inner[d];
    }
    if (fits)
      return b.buffers.Fresh(Desc(shape, dnnl::memory::data_type::f32, strides), DType::kFloat32);
  }
  return b.buffers.Result(y, PlainDesc(shape, DType::kFloat32));
}

}  // namespace

size_t BuildAttention(Builder& b, const Op& op) {
  ExpectFloat(b, op.inputs);
  ExpectFloat(b, op.outputs);
  std::string layout = op.attrs.Has("layout") ? op.attrs.String("layout") : "bhsd";
  Expect(layout == "bhsd" || layout == "bshd", "layout '", layout,
         "' is unknown; legal: bhsd, bshd");
  Axes axes = layout == "bhsd" ? Axes{0, 1, 2, 3} : Axes{0, 2, 1, 3};
  int q = op.inputs[0], k = op.inputs[1], v = op.inputs[2], y = op.outputs[0];
  for (int value : {q, k, v, y})
    Expect(b.values.Rank(value) == 4, "operands must have four dimensions");
  const Dims &qs = b.values.Shape(q), &ks = b.values.Shape(k), &vs = b.values.Shape(v);
  Sizes s{};
  s.batch = qs[axes.batch];
  s.heads = qs[axes.head];
  s.queries = qs[axes.row];
  s.keys = ks[axes.row];
  s.depth = qs[axes.column];
  s.width = vs[axes.column];
  s.scale = op.attrs.Float("scale");
  s.causal = op.attrs.Has("causal") && op.attrs.Bool("causal");
  s.chooses = op.attrs.Has("hidden");
  s.hidden = s.chooses ? op.attrs.Float("hidden") : 0.f;
  auto shape_of = [&](int64_t rows, int64_t columns) {
    Dims shape(4);
    shape[axes.batch] = s.batch;
    shape[axes.head] = s.heads;
    shape[axes.row] = rows;
    shape[axes.column] = columns;
    return shape;
  };
  Expect(ks == shape_of(s.keys, s.depth), "k has shape ", ToString(ks), ", expected ",
         ToString(shape_of(s.keys, s.depth)));
  Expect(vs == shape_of(s.keys, s.width), "v has shape ", ToString(vs), ", expected ",
         ToString(shape_of(s.keys, s.width)));
  ExpectShape(b.values.Shape(y), shape_of(s.queries, s.width));

  Tensor qt = RowOperand(b, q, axes), kt = RowOperand(b, k, axes), vt = RowOperand(b, v, axes);
  Tensor result = AttentionResult(b, y, axes);
  s.q = StridesOf(qt.desc, axes);
  s.k = StridesOf(kt.desc, axes);
  s.v = StridesOf(vt.desc, axes);
  s.y = StridesOf(result.desc, axes);
  // One score tile per thread, on lines of its own.
  int64_t scores = (std::min(kTile, s.queries) * s.keys + 15) / 16 * 16;
  Tensor scratch = b.buffers.Fresh(
      PlainDesc({b.threads * std::max<int64_t>(scores, 16)}, DType::kFloat32), DType::kFloat32);
  std::vector<Tensor> operands = {qt, kt, vt, result, scratch};
  bool has_mask = op.inputs.size() > 3;
  if (has_mask) {
    const Dims& ms = b.values.Shape(op.inputs[3]);
    Dims full = {s.batch, s.heads, s.queries, s.keys};
    Expect(BroadcastShape(ms, full) == full, "mask of shape ", ToString(ms),
           " does not broadcast to ", ToString(full));
    Tensor mask = b.buffers.Plain(op.inputs[3]);
    Dims strides = PlainStrides(ms);
    for (size_t d = 0; d < ms.size(); ++d) {
      s.mask[4 - ms.size() + d] = ms[d] == 1 ? 0 : strides[d];
    }
    operands.push_back(mask);
  }
  b.steps.Add(
      "byoc:attention", operands,
      [s, has_mask, scores](void* const* pointers) { RunAttention(s, has_mask, scores, pointers); },
      ToString(qs));
  b.buffers.Set(y, result);
  return 0;
}

}  // namespace byoc::onednn

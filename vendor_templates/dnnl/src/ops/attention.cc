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
//
// In bfloat16 both products read bfloat16 and sum float32; what lies between them is float32.

#include <algorithm>

#include "../kernels/loops.h"
#include "../kernels/simd.h"
#include "checks.h"
#include "post_ops.h"

// oneDNN exports its gemm of bfloat16 as it does sgemm, but declares it for its own tests only:
// where a build lacks it, attention computes in float32.
extern "C" __attribute__((weak)) dnnl_status_t
dnnl_gemm_bf16bf16f32(char transa, char transb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                      float alpha, const uint16_t* a, dnnl_dim_t lda, const uint16_t* b,
                      dnnl_dim_t ldb, float beta, float* c, dnnl_dim_t ldc);

namespace byoc::onednn {
namespace {

/// A product of row-major matrices: of bfloat16 (as its bits) or of float32, into float32.
void Product(char transpose_b, int64_t m, int64_t n, int64_t k, float scale, const float* a,
             int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  dnnl_sgemm('N', transpose_b, m, n, k, scale, a, lda, b, ldb, 0.f, c, ldc);
}

void Product(char transpose_b, int64_t m, int64_t n, int64_t k, float scale, const uint16_t* a,
             int64_t lda, const uint16_t* b, int64_t ldb, float* c, int64_t ldc) {
  dnnl_gemm_bf16bf16f32('N', transpose_b, m, n, k, scale, a, lda, b, ldb, 0.f, c, ldc);
}

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

/// The weights times v: where all is float32 straight into y.
void Combine(const Sizes& s, float* weights, const float* v, float* y, int64_t rows, int64_t seen) {
  Product('N', rows, s.width, seen, 1.f, weights, seen, v, s.v.row, y, s.y.row);
}

/// In bfloat16 by way of rounded weights, and of sums in float32; both lie behind the weights.
void Combine(const Sizes& s, float* weights, const uint16_t* v, uint16_t* y, int64_t rows,
             int64_t seen) {
  float* sums = weights + rows * seen;
  uint16_t* rounded = reinterpret_cast<uint16_t*>(sums + rows * s.width);
  Rows().narrow(weights, rounded, rows * seen);
  Product('N', rows, s.width, seen, 1.f, rounded, seen, v, s.v.row, sums, s.width);
  for (int64_t i = 0; i < rows; ++i) {
    Rows().narrow(sums + i * s.width, y + i * s.y.row, s.width);
  }
}

/// Floats that one thread needs beside its operands.
int64_t ScratchOf(const Sizes& s, DType type) {
  int64_t rows = std::min(kTile, s.queries), scores = rows * s.keys;
  int64_t floats = type == DType::kFloat32 ? scores : scores + rows * s.width + (scores + 1) / 2;
  return std::max<int64_t>((floats + 15) / 16 * 16, 16);  // on lines of its own
}

template <typename T>
void AttentionTile(const Sizes& s, const T* q, const T* k, const T* v, const float* mask, T* y,
                   int64_t first, float* scores) {
  int64_t rows = std::min(kTile, s.queries - first);
  // Bottom-right aligned: query i sees keys up to i + keys - queries.
  int64_t seen = s.causal ? std::min(s.keys, first + rows + s.keys - s.queries) : s.keys;
  if (seen > 0) {
    Product('T', rows, seen, s.depth, s.scale, q, s.q.row, k, s.k.row, scores, seen);
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
    Combine(s, scores, v, y, rows, seen);
  } else {
    for (int64_t i = 0; i < rows; ++i) std::fill_n(y + i * s.y.row, s.width, T{0});
  }
}

template <typename T>
void RunAttention(const Sizes& s, bool has_mask, int64_t scores_stride, void* const* operands) {
  const T* q = static_cast<const T*>(operands[0]);
  const T* k = static_cast<const T*>(operands[1]);
  const T* v = static_cast<const T*>(operands[2]);
  T* y = static_cast<T*>(operands[3]);
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

/// A strided operand of this dtype whose columns lie side by side.
Tensor RowOperand(Builder& b, int value, const Axes& axes, DType type) {
  const Desc plain = PlainDesc(b.values.Shape(value), type);
  Tensor t = b.buffers.Strided(value);
  if (t.dtype != type) t = b.buffers.As(value, plain);
  Dims strides = t.desc.get_strides(), dims = t.desc.get_dims();
  bool rows = (strides[axes.column] == 1 || dims[axes.column] == 1) &&
              strides[axes.row] >= dims[axes.column];
  return rows ? t : b.buffers.As(value, plain);
}

/// Where the result goes: plain, or so that the one transpose behind it moves nothing.
Tensor AttentionResult(Builder& b, int y, const Axes& axes, DType type) {
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
    if (fits) return b.buffers.Fresh(Desc(shape, StorageType(type), strides), type);
  }
  if (type != b.values.Type(y)) return b.buffers.Fresh(PlainDesc(shape, type), type);
  return b.buffers.Result(y, PlainDesc(shape, type));
}

}  // namespace

size_t BuildAttention(Builder& b, const Op& op) {
  DType type = ProductType(b, op);
  if (dnnl_gemm_bf16bf16f32 == nullptr) type = DType::kFloat32;
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

  Tensor qt = RowOperand(b, q, axes, type), kt = RowOperand(b, k, axes, type),
         vt = RowOperand(b, v, axes, type);
  Tensor result = AttentionResult(b, y, axes, type);
  s.q = StridesOf(qt.desc, axes);
  s.k = StridesOf(kt.desc, axes);
  s.v = StridesOf(vt.desc, axes);
  s.y = StridesOf(result.desc, axes);
  const int64_t scores = ScratchOf(s, type);
  Tensor scratch =
      b.buffers.Fresh(PlainDesc({b.threads * scores}, DType::kFloat32), DType::kFloat32);
  std::vector<Tensor> operands = {qt, kt, vt, result, scratch};
  bool has_mask = op.inputs.size() > 3;
  if (has_mask) {
    const Dims& ms = b.values.Shape(op.inputs[3]);
    Dims full = {s.batch, s.heads, s.queries, s.keys};
    Expect(BroadcastShape(ms, full) == full, "mask of shape ", ToString(ms),
           " does not broadcast to ", ToString(full));
    Tensor mask = b.buffers.As(op.inputs[3], PlainDesc(ms, DType::kFloat32));
    Dims strides = PlainStrides(ms);
    for (size_t d = 0; d < ms.size(); ++d) {
      s.mask[4 - ms.size() + d] = ms[d] == 1 ? 0 : strides[d];
    }
    operands.push_back(mask);
  }
  auto run = type == DType::kFloat32 ? RunAttention<float> : RunAttention<uint16_t>;
  b.steps.Add(
      "byoc:attention", operands,
      [s, has_mask, scores, run](void* const* pointers) { run(s, has_mask, scores, pointers); },
      ToString(qs));
  if (type != b.values.Type(y)) {
    Tensor stored = b.buffers.Result(y, WithFloat(result.desc, b.values.Type(y)));
    b.steps.Copy(result, stored);
    result = stored;
  }
  b.buffers.Set(y, result);
  return 0;
}

}  // namespace byoc::onednn

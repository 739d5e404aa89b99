// Matrix product with broadcast batch dims.
//
//   a [..., M, K]   b [..., K, N]   →   y [..., M, N]
//
// When b is one matrix, the batch dims of a join M: one large product instead of many small ones.
// Otherwise all batch dims become one where the strides allow. Transposed and sliced operands are
// passed as strides, not copied. A constant b is packed once in the layout oneDNN asks for.
#include <algorithm>
#include <cstring>

#include "checks.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

using PrimitiveDesc = dnnl::matmul::primitive_desc;

/// True when the last two dims are a matrix oneDNN takes: one of them at stride 1.
bool IsMatrix(const Desc& desc) {
  Dims dims = desc.get_dims(), strides = desc.get_strides();
  size_t n = dims.size();
  return strides[n - 1] == 1 || strides[n - 2] == 1 || dims[n - 1] == 1 || dims[n - 2] == 1;
}

/// An operand as a strided tensor, its last two dims swapped when `transpose`.
///
/// Constants stay as they are: packing converts them.
Tensor MatrixOperand(Builder& b, int value, bool transpose, DType type) {
  Expect(b.values.Rank(value) >= 2, "operands need at least two dimensions, found ",
         ToString(b.values.Shape(value)));
  Tensor t = b.buffers.Strided(value);
  if (!IsMatrix(t.desc)) t = b.buffers.Plain(value);
  if (t.dtype != type && !b.steps.IsConstant(t)) t = b.buffers.As(value, WithFloat(t.desc, type));
  if (!transpose) return t;
  std::vector<int> axes(t.desc.get_ndims());
  for (size_t d = 0; d < axes.size(); ++d) axes[d] = static_cast<int>(d);
  std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
  t.desc = t.desc.permute_axes(axes);
  return t;
}

Dims WithOnes(const Dims& shape, size_t rank) {
  Dims extended(rank - shape.size(), 1);
  extended.insert(extended.end(), shape.begin(), shape.end());
  return extended;
}

/// The same operand under another shape; copied to row-major order if strides forbid it.
Tensor Shaped(Builder& b, const Tensor& t, const Dims& shape) {
  if (std::optional<Tensor> reshaped = Reshaped(t, shape)) return *reshaped;
  Tensor plain = b.buffers.As(t, PlainDesc(t.desc.get_dims(), t.dtype));
  return *Reshaped(plain, shape);
}

/// True when post-ops and bias can be seen on a result whose leading dims are joined.
bool RowsOnly(const Builder& b, const Op& op, int y) {
  auto fits = [&](int value) {
    const Dims& shape = b.values.Shape(value);
    if (shape == b.values.Shape(y) || shape.size() < 2) return true;
    return std::all_of(shape.begin(), shape.end() - 1, [](int64_t d) { return d == 1; });
  };
  for (const PostOp& post : op.post) {
    if (post.is_binary && !fits(post.value)) return false;
  }
  return op.inputs.size() < 3 || fits(op.inputs[2]);
}

struct Operands {
  Tensor a, c;  // c: the right operand
  Dims shape;   // of the result, as the primitive sees it
};

/// Bring both operands to one rank, joining as many dims as possible.
Operands Prepare(Builder& b, const Op& op, DType type) {
  int y = op.outputs[0];
  Tensor a = MatrixOperand(b, op.inputs[0], op.attrs.Bool("transpose_a"), type);
  if (a.dtype != type) a = b.buffers.As(a, WithFloat(a.desc, type));
  Tensor c = MatrixOperand(b, op.inputs[1], op.attrs.Bool("transpose_b"), type);
  Dims as = a.desc.get_dims(), cs = c.desc.get_dims();
  int64_t m = as[as.size() - 2], k = as.back(), n = cs.back();
  Expect(k == cs[cs.size() - 2], "inner dimensions differ: ", ToString(as), " x ", ToString(cs));
  Dims batch = BroadcastShape(Dims(as.begin(), as.end() - 2), Dims(cs.begin(), cs.end() - 2));
  Dims result = batch;
  result.push_back(m);
  result.push_back(n);
  ExpectShape(b.values.Shape(y), result);

  int64_t batch_a = Volume(Dims(as.begin(), as.end() - 2));
  int64_t batch_c = Volume(Dims(cs.begin(), cs.end() - 2));
  int64_t batches = Volume(batch);
  bool rows_only = RowsOnly(b, op, y);
  if (batches == 1 && (rows_only || result.size() == 2)) {
    return {Shaped(b, a, {m, k}), Shaped(b, c, {k, n}), {m, n}};
  }
  if (batch_c == 1 && batch_a == batches && rows_only) {
    return {Shaped(b, a, {batches * m, k}), Shaped(b, c, {k, n}), {batches * m, n}};
  }
  if (rows_only && op.post.empty() && op.inputs.size() < 3 &&
      (batch_a == batches || batch_a == 1) && (batch_c == batches || batch_c == 1)) {
    auto a3 = Reshaped(a, {batch_a, m, k}), c3 = Reshaped(c, {batch_c, k, n});
    if (a3 && c3) return {*a3, *c3, {batches, m, n}};
  }
  return {Shaped(b, a, WithOnes(as, result.size())), Shaped(b, c, WithOnes(cs, result.size())),
          result};
}

/// Layout for a result that only a transpose reads: so that the transposed one is plain.
std::optional<Desc> LayoutForTranspose(const Builder& b, int y) {
  const Op* user = b.values.OnlyUser(y);
  if (user == nullptr || !user->kind->Has(kPermutesAxes) || !user->post.empty()) {
    return std::nullopt;
  }
  Dims axes = user->attrs.Ints("axes", b.values.bindings());
  Dims shape = b.values.Shape(y), inner = PlainStrides(b.values.Shape(user->outputs[0])),
       strides(shape.size());
  if (axes.size() != shape.size()) return std::nullopt;
  for (size_t d = 0; d < axes.size(); ++d) {
    if (axes[d] < 0 || axes[d] >= static_cast<int64_t>(shape.size())) return std::nullopt;
    strides[axes[d]] = inner[d];
  }
  if (strides.back() != 1) return std::nullopt;  // the product is written row by row
  return Desc(shape, StorageType(b.values.Type(y)), strides);
}

}  // namespace

size_t BuildMatmul(Builder& b, const Op& op) {
  int y = op.outputs[0];
  const DType computed = ProductType(b, op), stored = b.values.Type(y);
  Operands in = Prepare(b, op, computed);
  const Dims& shape = in.shape;

  // A bias along N is oneDNN's bias; any other is added by a step of its own.
  Desc bias_desc;
  bool has_bias = op.inputs.size() > 2;
  Dims bias_shape(shape.size(), 1);
  bias_shape.back() = shape.back();
  bool native_bias = has_bias && Volume(b.values.Shape(op.inputs[2])) == shape.back() &&
                     !b.values.Shape(op.inputs[2]).empty() &&
                     b.values.Shape(op.inputs[2]).back() == shape.back();
  if (native_bias) bias_desc = PlainDesc(bias_shape, DType::kFloat32);
  bool odd_bias = has_bias && !native_bias;
  if (has_bias) {
    ExpectShape(b.values.Shape(y), BroadcastShape(b.values.Shape(y), b.values.Shape(op.inputs[2])));
  }

  bool packed = b.steps.IsConstant(in.c);
  Desc c_desc = packed ? AnyDesc(in.c.desc.get_dims(), computed) : in.c.desc;
  Desc dst = PlainDesc(shape, stored);
  bool placed_by_transpose = false;
  if (op.post.empty() && !odd_bias && !b.buffers.MayHaveDestination(y)) {
    if (std::optional<Desc> wanted = LayoutForTranspose(b, y)) {
      Desc seen = wanted->reshape(shape, /*allow_empty=*/true);
      if (!IsEmpty(seen)) {
        dst = seen;
        placed_by_transpose = true;
      }
    }
  }
  auto make = [&](const Desc& d, const dnnl::primitive_attr& attr) {
    return native_bias ? PrimitiveDesc(Engine(), in.a.desc, c_desc, bias_desc, d, attr, true)
                       : PrimitiveDesc(Engine(), in.a.desc, c_desc, d, attr, true);
  };
  static const Op kNoPosts{};
  const Op& fusable = odd_bias ? kNoPosts : op;
  Fused<PrimitiveDesc> best = FuseBest<PrimitiveDesc>(
      b, fusable, shape, [&](const dnnl::primitive_attr& attr) { return make(dst, attr); });

  std::optional<Tensor> target;  // in the primitive's shape
  if (best.fusion.has_sum()) {
    target = best.fusion.operands().SumTarget(b, dst);
  } else if (!placed_by_transpose) {
    if (std::optional<Tensor> destination =
            b.buffers.Destination(y, PlainDesc(b.values.Shape(y), stored))) {
      if (std::optional<Tensor> seen = Reshaped(*destination, shape)) {
        PrimitiveDesc into = make(seen->desc, best.fusion.attr());
        if (into && Grade(into.impl_info_str()) >= Grade(best.pd.impl_info_str())) {
          best.pd = into;
          target = seen;
        }
      }
    }
  }
  if (!target) target = b.buffers.Fresh(dst, stored);

  std::vector<Arg> args = {{DNNL_ARG_SRC, in.a},
                           {DNNL_ARG_WEIGHTS, b.buffers.As(in.c, best.pd.weights_desc())},
                           {DNNL_ARG_DST, *target}};
  if (native_bias) {
    Desc plain = PlainDesc(b.values.Shape(op.inputs[2]), DType::kFloat32);
    args.push_back({DNNL_ARG_BIAS, *Reshaped(b.buffers.As(op.inputs[2], plain), bias_shape)});
  }
  best.fusion.operands().AddArgs(b, best.pd, &args);
  b.steps.Add(best.pd, args,
              ToString(in.a.desc.get_dims()) + " x " + ToString(in.c.desc.get_dims()) +
                  best.fusion.detail());
  b.buffers.Set(y, *Reshaped(*target, b.values.Shape(y)));
  if (odd_bias) ApplyBinary(b, "add", y, op.inputs[2], y, nullptr);
  return best.fusion.count();
}

}  // namespace byoc::onednn

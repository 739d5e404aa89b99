// Binary ops with numpy broadcasting.
//
// oneDNN's primitive takes a full left operand and a right one that broadcasts, in blocked layouts
// too. What it would hand to its reference code (odd broadcasts, int64, pow), and max and min, in
// which it loses NaN, run in a loop nest of ours; blocked layouts become nests by splitting
// channels into blocks and lanes.
#include "../kernels/binary.h"

#include <algorithm>

#include "algorithms.h"
#include "checks.h"
#include "post_ops.h"
#include "scale_shift.h"

namespace byoc::onednn {
namespace {

/// Strides of an operand for loops over `shape`, 0 where it broadcasts.
Dims BroadcastStrides(const Tensor& tensor, const Dims& shape) {
  Dims dims = tensor.desc.get_dims(), own = tensor.desc.get_strides(), strides(shape.size(), 0);
  size_t ahead = shape.size() - std::min(shape.size(), dims.size());
  for (size_t d = ahead; d < shape.size(); ++d) {
    if (dims[d - ahead] != 1) strides[d] = own[d - ahead];
  }
  return strides;
}

/// Loops over a blocked result: dims [N, C, ...] as [N, C / b, ..., b].
/// Nothing when channels are padded, or an operand is blocked otherwise.
template <size_t N>
std::optional<LoopNest<N>> BlockedNest(const Dims& shape, const std::array<Tensor, N>& tensors,
                                       int64_t block) {
  if (shape.size() < 2 || shape[1] % block != 0) return std::nullopt;
  Dims loops = shape;
  loops[1] /= block;
  loops.push_back(block);
  std::array<Dims, N> strides;
  for (size_t i = 0; i < N; ++i) {
    const Desc& desc = tensors[i].desc;
    Dims dims = desc.get_dims();
    Dims own = BroadcastStrides(tensors[i], shape);
    int64_t lane_stride = 0;
    if (IsStrided(desc)) {
      lane_stride = own[1];
      own[1] *= block;
    } else {
      if (dims.size() != shape.size() || dims[1] != shape[1] ||
          desc.get_inner_blks() != Dims{block} || desc.get_inner_idxs() != Dims{1}) {
        return std::nullopt;
      }
      lane_stride = 1;
    }
    own.push_back(lane_stride);
    strides[i] = own;
  }
  return Collapse<N>(loops, strides);
}

template <size_t N>
LoopNest<N> StridedNest(const Dims& shape, const std::array<Tensor, N>& tensors) {
  std::array<Dims, N> strides;
  for (size_t i = 0; i < N; ++i) strides[i] = BroadcastStrides(tensors[i], shape);
  return Collapse<N>(shape, strides);
}

/// The dense layout an element-wise op works in: that of its full operands.
Desc CommonLayout(const Builder& b, const std::vector<int>& values, int result) {
  const Desc* found = nullptr;
  for (int value : values) {
    if (b.values.Shape(value) != b.values.Shape(result)) continue;
    const Desc& desc = b.buffers.Get(value).desc;
    if (!IsDense(desc)) continue;
    if (found == nullptr || (IsPlain(*found) && !IsPlain(desc))) found = &desc;
  }
  if (found == nullptr) return PlainDesc(b.values.Shape(result), DType::kFloat32);
  return *found;
}

/// The same layout, of another dtype.
Desc WithType(const Desc& desc, DType dtype) {
  if (desc.get_data_type() == StorageType(dtype)) return desc;
  Desc typed = AnyDesc(desc.get_dims(), dtype);
  for (Tag tag : {Tag::aBcd16b, Tag::aBcd8b, Tag::aBcd4b, Tag::acdb, Tag::aBc16b, Tag::aBc8b,
                  Tag::acb, Tag::aBcde16b, Tag::aBcde8b, Tag::acdeb}) {
    Desc same(desc.get_dims(), desc.get_data_type(), tag, /*allow_empty=*/true);
    if (!IsEmpty(same) && SameLayout(same, desc)) {
      return Desc(desc.get_dims(), StorageType(dtype), tag);
    }
  }
  return PlainDesc(desc.get_dims(), dtype);
}

/// Memory for the result: the left operand's own where it dies, or what `y` is destination in.
Tensor Target(Builder& b, int a, const Tensor& lead, int y, const Desc& desc) {
  bool same = SameLayout(lead.desc, desc) && lead.desc.get_data_type() == desc.get_data_type();
  if (a == y) return same && b.buffers.MayUpdate(y) ? lead : b.buffers.Result(y, desc);
  bool in_place = same && b.values.Shape(a) == b.values.Shape(y) &&
                  b.buffers.MayOverwrite(a, lead) && !b.buffers.MayHaveDestination(y);
  return in_place ? lead : b.buffers.Result(y, desc);
}

/// A value with ones in front of its shape until it has `rank` dims.
Tensor Operand(Builder& b, int value, size_t rank, const Desc* want) {
  const Dims& shape = b.values.Shape(value);
  if (shape.size() == rank)
    return want != nullptr ? b.buffers.As(value, *want) : b.buffers.Get(value);
  Dims extended(rank - shape.size(), 1);
  extended.insert(extended.end(), shape.begin(), shape.end());
  return *Reshaped(b.buffers.Plain(value), extended);
}

/// oneDNN's primitive; false when it has no fast one.
bool TryPrimitive(Builder& b, BinaryAlg alg, int a, int c, int y, const Op* fuse, size_t* fused) {
  using PrimitiveDesc = dnnl::binary::primitive_desc;
  const Dims& shape = b.values.Shape(y);
  if (shape.empty()) return false;
  if (b.values.Shape(a) != shape) {  // the left operand must be the full one
    std::optional<BinaryAlg> swapped = Swapped(alg);
    if (b.values.Shape(c) != shape || !swapped || a == y) return false;
    std::swap(a, c);
    alg = *swapped;
  }
  std::optional<dnnl::algorithm> known = ToOneDnn(alg);
  if (!known || alg == BinaryAlg::kMax || alg == BinaryAlg::kMin) return false;  // NaN is lost
  Desc layout = WithFloat(CommonLayout(b, {a, c}, y), b.values.Type(y));
  bool full = b.values.Shape(c) == shape;
  const Desc* want = full ? &layout : nullptr;
  Desc right = full ? layout : Operand(b, c, shape.size(), nullptr).desc;
  auto make = [&](const dnnl::primitive_attr& attr) {
    return PrimitiveDesc(Engine(), *known, layout, right, layout, attr, /*allow_empty=*/true);
  };
  PrimitiveDesc plain = make(BaseAttr());
  if (!plain || IsReference(plain.impl_info_str())) return false;
  static const Op kNoPosts{};
  Fused<PrimitiveDesc> best = FuseBest<PrimitiveDesc>(b, fuse ? *fuse : kNoPosts, shape, make,
                                                      /*allow_sum=*/false);
  Tensor left = b.buffers.As(a, layout);
  Tensor other = Operand(b, c, shape.size(), want);
  Tensor target = Target(b, a, left, y, layout);
  std::vector<Arg> args = {{DNNL_ARG_SRC_0, left}, {DNNL_ARG_SRC_1, other}, {DNNL_ARG_DST, target}};
  best.fusion.operands().AddArgs(b, best.pd, &args);
  b.steps.Add(best.pd, args, best.fusion.detail() + " " + Describe(layout));
  b.buffers.Set(y, target);
  *fused = best.fusion.count();
  return true;
}

/// y = a alg c of reals that are not all float32, which our loops are made for: beside.
void ApplyWide(Builder& b, BinaryAlg alg, int a, int c, int y) {
  constexpr DType kWide = DType::kFloat32;
  const Dims& shape = b.values.Shape(y);
  auto wide = [&](int value) {
    return b.buffers.As(value, PlainDesc(b.values.Shape(value), kWide));
  };
  Tensor left = wide(a), right = wide(c), result = b.buffers.Fresh(PlainDesc(shape, kWide), kWide);
  b.steps.Add("byoc:wide_binary", {left, right, result},
              BinaryKernel(alg, StridedNest<3>(shape, {left, right, result}), kWide, kWide));
  Tensor target = b.buffers.Result(y, PlainDesc(shape, b.values.Type(y)));
  b.steps.Copy(result, target);
  b.buffers.Set(y, target);
}

}  // namespace

size_t ApplyBinary(Builder& b, const std::string& name, int a, int c, int y, const Op* fuse) {
  BinaryAlg alg = FindBinary(name);
  ExpectShape(b.values.Shape(y), BroadcastShape(b.values.Shape(a), b.values.Shape(c)));
  DType in = b.values.Type(a), out = b.values.Type(y);
  const bool reals = IsFloat(in) && IsFloat(b.values.Type(c)) && IsFloat(out);
  const bool narrow =
      in == DType::kBFloat16 || b.values.Type(c) == DType::kBFloat16 || out == DType::kBFloat16;
  Expect(in == b.values.Type(c) || (reals && !IsComparison(alg)), "operands are ", ToString(in),
         " and ", ToString(b.values.Type(c)));
  if (IsComparison(alg)) {
    Expect(out == DType::kBool || out == DType::kFloat32, "a comparison gives bool or float32");
  } else {
    Expect(in == out || reals, "result is ", ToString(out), ", operands are ", ToString(in));
  }
  size_t fused = 0;
  if (reals && TryPrimitive(b, alg, a, c, y, fuse, &fused)) return fused;
  if (narrow) {
    ApplyWide(b, alg, a, c, y);
    return 0;
  }

  const Dims& shape = b.values.Shape(y);
  Desc layout = CommonLayout(b, {a, c}, y);
  if (!IsStrided(layout) && in == DType::kFloat32) {
    int64_t block = layout.get_inner_blks()[0];
    auto operand = [&](int value) {
      return b.values.Shape(value) == shape ? b.buffers.As(value, layout) : b.buffers.Plain(value);
    };
    Tensor left = operand(a), right = operand(c);
    Tensor shadow{WithType(layout, out), out, left.buffer, 0};
    if (auto nest = BlockedNest<3>(shape, {left, right, shadow}, block)) {
      Tensor target = Target(b, a, left, y, shadow.desc);
      b.steps.Add("byoc:" + name, {left, right, target}, BinaryKernel(alg, *nest, in, out),
                  Describe(layout));
      b.buffers.Set(y, target);
      return 0;
    }
  }
  Tensor left = b.buffers.Strided(a), right = b.buffers.Strided(c);
  Tensor target = Target(b, a, left, y, PlainDesc(shape, out));
  b.steps.Add("byoc:" + name, {left, right, target},
              BinaryKernel(alg, StridedNest<3>(shape, {left, right, target}), in, out));
  b.buffers.Set(y, target);
  return 0;
}

size_t BuildBinary(Builder& b, const Op& op) {
  if (std::optional<size_t> taken = TryScaleShift(b, op)) return *taken;
  size_t fused =
      ApplyBinary(b, op.attrs.String("alg"), op.inputs[0], op.inputs[1], op.outputs[0], &op);
  return fused;
}

size_t BuildWhere(Builder& b, const Op& op) {
  int c = op.inputs[0], x = op.inputs[1], z = op.inputs[2], y = op.outputs[0];
  Expect(b.values.Type(c) == DType::kBool, "the condition is ", ToString(b.values.Type(c)),
         ", expected bool");
  Expect(b.values.Type(x) == b.values.Type(y) && b.values.Type(z) == b.values.Type(y),
         "branches and result differ in dtype");
  ExpectShape(
      b.values.Shape(y),
      BroadcastShape(b.values.Shape(c), BroadcastShape(b.values.Shape(x), b.values.Shape(z))));
  Tensor condition = b.buffers.Strided(c), left = b.buffers.Strided(x),
         right = b.buffers.Strided(z);
  Tensor target = b.buffers.Result(y, PlainDesc(b.values.Shape(y), b.values.Type(y)));
  b.steps.Add("byoc:where", {condition, left, right, target},
              WhereKernel(StridedNest<4>(b.values.Shape(y), {condition, left, right, target}),
                          SizeOf(b.values.Type(y))));
  b.buffers.Set(y, target);
  return 0;
}

size_t BuildCast(Builder& b, const Op& op) {
  int x = op.inputs[0], y = op.outputs[0];
  ExpectShape(b.values.Shape(y), b.values.Shape(x));
  if (b.values.Type(x) == b.values.Type(y)) {
    b.buffers.Set(y, b.buffers.Strided(x));
    return 0;
  }
  if (IsFloat(b.values.Type(x)) && IsFloat(b.values.Type(y))) {
    const Tensor lies = b.buffers.Get(x);
    Tensor converted = b.buffers.Result(y, WithFloat(lies.desc, b.values.Type(y)));
    b.steps.Copy(lies, converted);
    b.buffers.Set(y, converted);
    return 0;
  }
  for (int value : {x, y}) {
    Expect(b.values.Type(value) != DType::kBFloat16, "bfloat16 is cast from and to float32 only");
  }
  Tensor from = b.buffers.Strided(x);
  Tensor target = b.buffers.Result(y, PlainDesc(b.values.Shape(y), b.values.Type(y)));
  b.steps.Add("byoc:cast", {from, target},
              CastKernel(StridedNest<2>(b.values.Shape(y), {from, target}), b.values.Type(x),
                         b.values.Type(y)),
              std::string(ToString(b.values.Type(x))) + " -> " + ToString(b.values.Type(y)));
  b.buffers.Set(y, target);
  return 0;
}

}  // namespace byoc::onednn

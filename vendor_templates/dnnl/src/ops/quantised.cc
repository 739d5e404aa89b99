// Integer arithmetic: convolution, matrix product and sum of 8-bit values, and conversions between
// floats and 8-bit values.
//
//   real = scale * (integer - zero)
//
//   y = round(post(sum (x - x_zero) w * scales[o] + bias[o]) / y_scale) + y_zero, saturated
//
// oneDNN sums in 32 bits and computes the rest in float. Post-ops that round to quantised values
// are spelled with linear functions, rounding and clipping; linear functions that meet are
// multiplied out, also with the last division:
//
//   requantize(s, z), add int8 (t, u)  =  [1/s, z] round clip [s, -zs] [1/t, -u] add [t, 0]
//                                                             └── one linear ──┘
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "../kernels/loops.h"
#include "../kernels/simd.h"
#include "algorithms.h"
#include "checks.h"
#include "conv.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

bool IsByte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUInt8; }

void ExpectBytes(const Builder& b, const std::vector<int>& values) {
  for (int value : values) {
    Expect(IsByte(b.values.Type(value)), "operand is ", ToString(b.values.Type(value)),
           ", expected int8 or uint8");
  }
}

/// Scale and zero point of quantised values: real = (integer - zero) * scale.
struct QuantParams {
  float scale = 1;
  int zero = 0;
};

QuantParams ReadQuantParams(const Op& op, const std::string& scale, const std::string& zero) {
  QuantParams params{op.attrs.Float(scale), static_cast<int>(op.attrs.Int(zero))};
  Expect(params.scale > 0 && params.scale <= std::numeric_limits<float>::max(), scale, " is ",
         params.scale, ", expected a positive number");
  Expect(params.zero >= -128 && params.zero <= 255, zero, " is ", params.zero,
         ", expected -128 to 255");
  return params;
}

/// A constant of one element.
template <typename T>
Tensor Single(Builder& b, DType dtype, T number) {
  void* data = nullptr;
  Tensor tensor = b.placement.NewConstant(PlainDesc({1}, dtype), dtype, &data);
  *static_cast<T*>(data) = number;
  return tensor;
}

/// Post-ops, and the quant params of the result, as attributes of a primitive.
///
/// The next post-op's input is `a_` times what the primitive has computed, plus `b_`: this linear
/// function is kept back and multiplied out with those that follow, until a post-op needs it.
class QuantizedPostOps {
 public:
  /// \param shape The result's, as the primitive sees it.
  QuantizedPostOps(Builder& b, const Op& op, const Dims& shape, bool allow_sum)
      : attr_(BaseAttr()) {
    int y = op.outputs[0];
    bytes_ = IsByte(b.values.Type(y));
    if (bytes_) result_ = ReadQuantParams(op, "y_scale", "y_zero");
    for (size_t i = 0; i < op.post.size(); ++i) {
      bool last = i + 1 == op.post.size();
      if (last && bytes_ && IsSaturation(op.post[i], b.values.Type(y))) break;
      Append(b, op, op.post[i], shape, allow_sum);
    }
    if (!bytes_ || b_ != 0 || a_ <= 0) Flush();
    result_.scale /= a_;
    a_ = 1;
  }

  bool has_sum() const { return operands_.has_sum(); }
  const std::string& detail() const { return detail_; }
  dnnl::primitive_attr& attr() { return attr_; }

  /// Fix the attributes. `by_attribute`: the primitive knows scales of its result.
  void Finish(bool by_attribute) {
    if (bytes_ && !by_attribute) {
      Linear(1 / result_.scale, static_cast<float>(result_.zero));
      Flush();
      result_ = {};
    }
    attr_.set_post_ops(ops_);
    if (result_.scale != 1) attr_.set_scales_mask(DNNL_ARG_DST, 0);
    if (result_.zero != 0) attr_.set_zero_points_mask(DNNL_ARG_DST, 0);
  }

  Tensor SumTarget(Builder& b, const Desc& dst) const { return operands_.SumTarget(b, dst); }

  /// Append the operands of post-ops, then the quant params of the result.
  void AddArgs(Builder& b, const dnnl::primitive_desc_base& pd, std::vector<Arg>* args) const {
    operands_.AddArgs(b, pd, args);
    if (result_.scale != 1) {
      args->push_back(
          {DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, Single(b, DType::kFloat32, result_.scale)});
    }
    if (result_.zero != 0) {
      args->push_back({DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_DST,
                       Single(b, DType::kInt32, static_cast<int32_t>(result_.zero))});
    }
  }

 private:
  /// Multiply by `a` and add `c` before what is appended next.
  void Linear(float a, float c) {
    b_ = b_ * a + c;
    a_ *= a;
  }

  void Flush() {
    if (a_ != 1 || b_ != 0) ops_.append_eltwise(dnnl::algorithm::eltwise_linear, a_, b_);
    a_ = 1;
    b_ = 0;
  }

  /// A relu or clip whose bounds are those of the result's dtype: saturating does it.
  bool IsSaturation(const PostOp& post, DType dtype) const {
    float low = dtype == DType::kInt8 ? -128.f : 0.f, high = low + 255.f;
    auto stored = [&](float real) { return std::nearbyint(real / result_.scale) + result_.zero; };
    if (post.is_binary || post.is_requantize) return false;
    if (post.alg == "relu") return post.alpha == 0 && stored(0) <= low;
    return post.alg == "clip" && stored(post.alpha) <= low && stored(post.beta) >= high;
  }

  void Append(Builder& b, const Op& op, const PostOp& post, const Dims& shape, bool allow_sum) {
    if (post.is_requantize) {
      Linear(1 / post.scale, static_cast<float>(post.zero));
      Flush();
      ops_.append_eltwise(dnnl::algorithm::eltwise_round, 0, 0);
      ops_.append_eltwise(dnnl::algorithm::eltwise_clip, post.alpha, post.beta);
      Linear(post.scale, -static_cast<float>(post.zero) * post.scale);
      detail_ += "+requantize";
      return;
    }
    if (post.is_binary) return AppendBinary(b, op, post, shape, allow_sum);
    std::optional<Eltwise> eltwise = FindEltwise(post.alg, post.alpha, post.beta);
    Expect(eltwise.has_value(), "post-op '", post.alg, "' cannot be fused");
    // relu of a multiple is a multiple of relu.
    if (post.alg != "relu" || b_ != 0 || a_ <= 0) Flush();
    ops_.append_eltwise(eltwise->alg, eltwise->alpha, eltwise->beta);
    detail_ += "+" + post.alg;
  }

  void AppendBinary(Builder& b, const Op& op, const PostOp& post, const Dims& shape,
                    bool allow_sum) {
    int y = op.outputs[0];
    DType dtype = b.values.Type(post.value);
    bool bytes = IsByte(dtype), full = b.values.Shape(post.value) == b.values.Shape(y);
    Expect(bytes || dtype == DType::kFloat32, "post-op operand is ", ToString(dtype));
    Expect(!bytes || (post.alg == "add" && full), "int8 post-op operands are added in full only");
    detail_ += "+" + post.alg;
    if (bytes && allow_sum && !has_sum() && dtype == b.values.Type(y) &&
        !b.placement.MayHaveDestination(y) &&
        b.placement.MayOverwrite(post.value, b.placement.Get(post.value))) {
      Linear(1, -static_cast<float>(post.zero) * post.scale);
      Flush();
      ops_.append_sum(post.scale);
      operands_.SetSum(post.value);
      detail_ += "(sum)";
      return;
    }
    if (bytes) Linear(1 / post.scale, -static_cast<float>(post.zero));
    Flush();
    std::optional<dnnl::algorithm> alg = ToOneDnn(FindBinary(post.alg));
    Expect(alg.has_value(), "post-op '", post.alg, "' cannot be fused");
    Dims seen = full ? shape : b.values.Shape(post.value);
    if (!full) {
      Expect(seen.size() <= shape.size() || Volume(seen) == seen.back(), "post-op operand ",
             ToString(seen), " does not fit ", ToString(shape));
      if (seen.size() > shape.size()) seen = {seen.back()};
      seen.insert(seen.begin(), shape.size() - seen.size(), 1);
    }
    operands_.Add(ops_.len(), post.value, seen);
    ops_.append_binary(*alg, full ? AnyDesc(seen, dtype) : PlainDesc(seen, dtype));
    if (bytes) Linear(post.scale, 0);
  }

  dnnl::primitive_attr attr_;
  dnnl::post_ops ops_;
  float a_ = 1, b_ = 0;  // linear function to be applied next
  bool bytes_ = false;
  QuantParams result_;
  PostOpOperands operands_;
  std::string detail_;
};

/// The step of a product. `make`: (dst, attr) → primitive descriptor; `result`: the result's
/// shape as the primitive sees it, `mask`: of the scales in the weights' dims.
template <typename PrimitiveDesc, typename Make>
void EmitProduct(Builder& b, const Op& op, const Tensor& x, const Tensor& weight,
                 const Dims& result, int mask, const Desc& any, const Make& make) {
  int y = op.outputs[0];
  int64_t scales = Volume(b.values.Shape(op.inputs[2]));
  int x_zero = static_cast<int>(op.attrs.Int("x_zero"));
  std::optional<QuantizedPostOps> post_ops;
  PrimitiveDesc pd;
  for (bool allow_sum : {true, false}) {
    QuantizedPostOps candidate(b, op, result, allow_sum);
    if (post_ops && !post_ops->has_sum()) break;  // nothing to choose
    candidate.Finish(/*by_attribute=*/true);
    candidate.attr().set_scales_mask(DNNL_ARG_WEIGHTS, scales > 1 ? mask : 0);
    if (x_zero != 0) candidate.attr().set_zero_points_mask(DNNL_ARG_SRC, 0);
    PrimitiveDesc found = make(any, candidate.attr());
    if (!found || (post_ops && Grade(found.impl_info_str()) <= Grade(pd.impl_info_str()))) continue;
    pd = found;
    post_ops = std::move(candidate);
    if (Grade(pd.impl_info_str()) == 2) break;
  }
  Expect(post_ops.has_value(), "oneDNN has no implementation for these shapes and attributes");

  std::optional<Tensor> dst;
  if (post_ops->has_sum()) {
    dst = post_ops->SumTarget(b, pd.dst_desc());
  } else if (result == b.values.Shape(y)) {
    if (std::optional<Tensor> placed = b.placement.Destination(y, pd.dst_desc())) {
      PrimitiveDesc into = make(placed->desc, post_ops->attr());
      if (into && Grade(into.impl_info_str()) == Grade(pd.impl_info_str())) {
        pd = into;
        dst = placed;
      }
    }
  }
  if (!dst) dst = b.placement.Fresh(pd.dst_desc(), b.values.Type(y));
  std::vector<Arg> args = {{DNNL_ARG_SRC, b.placement.As(x, pd.src_desc())},
                           {DNNL_ARG_WEIGHTS, b.placement.Packed(weight, pd.weights_desc())},
                           {DNNL_ARG_DST, *dst},
                           {DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
                            *Reshaped(b.placement.Plain(op.inputs[2]), {scales})}};
  if (op.inputs.size() > 3) {
    Tensor bias = b.placement.Plain(op.inputs[3]);
    args.push_back({DNNL_ARG_BIAS, *Reshaped(bias, pd.bias_desc().get_dims())});
  }
  if (x_zero != 0) {
    args.push_back({DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC,
                    Single(b, DType::kInt32, static_cast<int32_t>(x_zero))});
  }
  post_ops->AddArgs(b, pd, &args);
  b.steps.Add(pd, args,
              Describe(pd.src_desc()) + " -> " + Describe(pd.dst_desc()) + post_ops->detail());
  b.placement.Set(y, *Reshaped(*dst, b.values.Shape(y)));
}

/// Checks common to products; the number of output channels is `channels`.
void CheckProduct(const Builder& b, const Op& op, int64_t channels) {
  ExpectBytes(b, {op.inputs[0]});
  Expect(b.values.Type(op.inputs[1]) == DType::kInt8, "weights are ",
         ToString(b.values.Type(op.inputs[1])), ", expected int8");
  Expect(b.steps.IsConstant(b.placement.Get(op.inputs[1])), "weights must be constant");
  DType result = b.values.Type(op.outputs[0]);
  Expect(IsByte(result) || result == DType::kFloat32, "result is ", ToString(result));
  int64_t scales = Volume(b.values.Shape(op.inputs[2]));
  Expect(b.values.Type(op.inputs[2]) == DType::kFloat32 && (scales == 1 || scales == channels),
         "expected 1 or ", channels, " float32 scales, found ", scales);
  if (op.inputs.size() > 3) {
    Expect(b.values.Type(op.inputs[3]) == DType::kFloat32 &&
               Volume(b.values.Shape(op.inputs[3])) == channels,
           "expected a float32 bias of ", channels, " elements, found ",
           ToString(b.values.Shape(op.inputs[3])));
  }
}

/// The layout of `desc`, dense or not, for another dtype; row-major where that is blocked.
Desc DenseAs(const Desc& desc, DType dtype) {
  std::optional<Desc> dense = WithShape(desc, desc.get_dims());
  if (!dense || !IsStrided(*dense)) return PlainDesc(desc.get_dims(), dtype);
  return Desc(desc.get_dims(), StorageType(dtype), dense->get_strides());
}

/// For every byte that one set of quant params reads as a real, the byte of the nearest real of
/// another.
std::array<uint8_t, 256> RequantizeTable(const QuantParams& from, bool in_signed,
                                         const QuantParams& to, bool out_signed) {
  std::array<uint8_t, 256> table{};
  for (int byte = 0; byte < 256; ++byte) {
    int integer = in_signed ? static_cast<int8_t>(byte) : byte;
    float real = static_cast<float>(integer - from.zero) * from.scale;
    Rows().quantize(&real, 1, &table[byte], 1, 1, to.scale, to.zero, out_signed);
  }
  return table;
}

Kernel LookUp(const LoopNest<2>& nest, const std::array<uint8_t, 256>& table) {
  return [nest, table](void* const* operands) {
    const uint8_t* x = static_cast<const uint8_t*>(operands[0]);
    uint8_t* y = static_cast<uint8_t*>(operands[1]);
    int64_t sx = nest.RowStride(0), sy = nest.RowStride(1);
    ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
      for (int64_t i = 0; i < n; ++i) y[at[1] + i * sy] = table[x[at[0] + i * sx]];
    });
  };
}

/// An element-wise change of how reals are stored; bytes stand for reals by their quant params.
void BuildConversion(Builder& b, const Op& op, bool from_bytes, bool to_bytes) {
  int value = op.inputs[0], y = op.outputs[0];
  ExpectShape(b.values.Shape(y), b.values.Shape(value));
  for (auto [checked, bytes] : {std::pair(value, from_bytes), std::pair(y, to_bytes)}) {
    Expect(bytes ? IsByte(b.values.Type(checked)) : b.values.Type(checked) == DType::kFloat32,
           "operand is ", ToString(b.values.Type(checked)), ", expected ",
           bytes ? "int8 or uint8" : "float32");
  }
  bool both = from_bytes && to_bytes;
  QuantParams from, to;
  if (from_bytes) from = ReadQuantParams(op, both ? "x_scale" : "scale", both ? "x_zero" : "zero");
  if (to_bytes) to = ReadQuantParams(op, "scale", "zero");

  // As it lies, by loops of ours: oneDNN's reorder forgets the zero point in some layouts (s8 acdb
  // to f32 abcd of 64 channels, in 3.2).
  Tensor x = b.placement.Strided(value);
  Tensor target = b.placement.Result(y, DenseAs(x.desc, b.values.Type(y)));
  Dims from_strides = x.desc.get_strides(), to_strides = target.desc.get_strides();
  std::vector<size_t> order(b.values.Rank(y));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t d, size_t e) { return to_strides[d] > to_strides[e]; });
  Dims shape;
  std::array<Dims, 2> strides;
  for (size_t d : order) {
    shape.push_back(b.values.Shape(y)[d]);
    strides[0].push_back(from_strides[d]);
    strides[1].push_back(to_strides[d]);
  }
  LoopNest<2> nest = Collapse<2>(shape, strides);
  bool in_signed = b.values.Type(value) == DType::kInt8,
       out_signed = b.values.Type(y) == DType::kInt8;
  Kernel kernel;
  if (both) {
    kernel = LookUp(nest, RequantizeTable(from, in_signed, to, out_signed));
  } else if (to_bytes) {
    kernel = [nest, to, out_signed](void* const* operands) {
      const float* in = static_cast<const float*>(operands[0]);
      uint8_t* out = static_cast<uint8_t*>(operands[1]);
      ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
        Rows().quantize(in + at[0], nest.RowStride(0), out + at[1], nest.RowStride(1), n, to.scale,
                        to.zero, out_signed);
      });
    };
  } else {
    kernel = [nest, from, in_signed](void* const* operands) {
      const uint8_t* in = static_cast<const uint8_t*>(operands[0]);
      float* out = static_cast<float*>(operands[1]);
      ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
        Rows().dequantize(in + at[0], nest.RowStride(0), out + at[1], nest.RowStride(1), n,
                          from.scale, from.zero, in_signed);
      });
    };
  }
  b.steps.Add(std::string("byoc:") + op.kind->name, {x, target}, kernel, Describe(target.desc));
  b.placement.Set(y, target);
}

}  // namespace

void BuildQConvolution(Builder& b, const Op& op) {
  int x = op.inputs[0], y = op.outputs[0], rank = b.values.Rank(x);
  Expect(rank >= 3 && rank <= 5, "expected 1 to 3 spatial dimensions, found ", rank - 2);
  Expect(b.values.Rank(op.inputs[1]) == rank && b.values.Rank(y) == rank,
         "input, weight and output must have the same rank");
  CheckProduct(b, op, b.values.Shape(op.inputs[1])[0]);
  Geometry g = ReadGeometry(b, op);
  Tensor weight = Grouped(b, op.inputs[1], g.groups);
  Desc src = AnyDesc(b.values.Shape(x), b.values.Type(x));
  Desc weights = AnyDesc(weight.desc.get_dims(), DType::kInt8);
  Desc bias;
  if (op.inputs.size() > 3) bias = PlainDesc({b.values.Shape(y)[1]}, DType::kFloat32);
  using PrimitiveDesc = dnnl::convolution_forward::primitive_desc;
  auto make = [&](const Desc& dst, const dnnl::primitive_attr& attr) {
    return PrimitiveDesc(Engine(), dnnl::prop_kind::forward_inference,
                         dnnl::algorithm::convolution_direct, src, weights, bias, dst, g.strides,
                         g.dilations, g.begin, g.end, attr, /*allow_empty=*/true);
  };
  EmitProduct<PrimitiveDesc>(b, op, b.placement.Get(x), weight, b.values.Shape(y),
                             g.groups > 1 ? 3 : 1, AnyDesc(b.values.Shape(y), b.values.Type(y)),
                             make);
}

void BuildQMatmul(Builder& b, const Op& op) {
  int value = op.inputs[0], y = op.outputs[0];
  Dims shape = b.values.Shape(value), weights = b.values.Shape(op.inputs[1]);
  Expect(shape.size() >= 2 && weights.size() == 2 && shape.back() == weights[0],
         "operands do not fit: ", ToString(shape), " x ", ToString(weights));
  int64_t k = shape.back(), n = weights[1];
  Dims result = shape;
  result.back() = n;
  ExpectShape(b.values.Shape(y), result);
  CheckProduct(b, op, n);
  // One product of many rows, unless a post-op's operand can only be seen with the batch dims.
  bool rows_only = std::all_of(op.post.begin(), op.post.end(), [&](const PostOp& post) {
    if (!post.is_binary || b.values.Shape(post.value) == result) return true;
    const Dims& own = b.values.Shape(post.value);
    return own.empty() || Volume(own) == own.back();
  });
  size_t rank = rows_only ? 2 : shape.size();
  Dims seen = rows_only ? Dims{Volume(shape) / k, k} : shape;
  Dims product = seen, last(rank, 1), wide(rank, 1);
  product.back() = last.back() = n;
  wide[rank - 2] = k;
  wide[rank - 1] = n;
  Tensor x = *Reshaped(b.placement.Plain(value), seen);
  Tensor weight = *Reshaped(b.placement.Plain(op.inputs[1]), wide);
  Desc bias;
  if (op.inputs.size() > 3) bias = PlainDesc(last, DType::kFloat32);
  using PrimitiveDesc = dnnl::matmul::primitive_desc;
  Desc any = AnyDesc(wide, DType::kInt8);
  auto make = [&](const Desc& dst, const dnnl::primitive_attr& attr) {
    return op.inputs.size() > 3
               ? PrimitiveDesc(Engine(), x.desc, any, bias, dst, attr, /*allow_empty=*/true)
               : PrimitiveDesc(Engine(), x.desc, any, dst, attr, /*allow_empty=*/true);
  };
  EmitProduct<PrimitiveDesc>(b, op, x, weight, product, 1 << (rank - 1),
                             PlainDesc(product, b.values.Type(y)), make);
}

void BuildQAdd(Builder& b, const Op& op) {
  int left = op.inputs[0], right = op.inputs[1], y = op.outputs[0];
  ExpectBytes(b, {left, right, y});
  ExpectShape(b.values.Shape(y), b.values.Shape(left));
  ExpectShape(b.values.Shape(y), b.values.Shape(right));
  QuantParams a = ReadQuantParams(op, "a_scale", "a_zero"),
              c = ReadQuantParams(op, "b_scale", "b_zero");
  Op sum = op;  // the zero points of both operands come first, as one shift
  PostOp shift;
  shift.alg = "linear";
  shift.alpha = 1;
  shift.beta = -(a.scale * static_cast<float>(a.zero) + c.scale * static_cast<float>(c.zero));
  sum.post.insert(sum.post.begin(), shift);
  QuantizedPostOps post_ops(b, sum, b.values.Shape(y), /*allow_sum=*/false);
  post_ops.Finish(/*by_attribute=*/false);
  post_ops.attr().set_scales_mask(DNNL_ARG_SRC_0, 0);
  post_ops.attr().set_scales_mask(DNNL_ARG_SRC_1, 0);
  Desc layout = DenseAs(b.placement.Get(left).desc, b.values.Type(left));
  Desc other = DenseAs(layout, b.values.Type(right)), result = DenseAs(layout, b.values.Type(y));
  dnnl::binary::primitive_desc pd(Engine(), dnnl::algorithm::binary_add, layout, other, result,
                                  post_ops.attr(), /*allow_empty=*/true);
  Expect(static_cast<bool>(pd), "oneDNN has no implementation for these shapes and attributes");
  Tensor target = b.placement.Result(y, result);
  std::vector<Arg> args = {
      {DNNL_ARG_SRC_0, b.placement.As(left, layout)},
      {DNNL_ARG_SRC_1, b.placement.As(right, other)},
      {DNNL_ARG_DST, target},
      {DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC_0, Single(b, DType::kFloat32, a.scale)},
      {DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC_1, Single(b, DType::kFloat32, c.scale)}};
  post_ops.AddArgs(b, pd, &args);
  b.steps.Add(pd, args, Describe(layout) + post_ops.detail());
  b.placement.Set(y, target);
}

void BuildQuantize(Builder& b, const Op& op) {
  BuildConversion(b, op, /*from_bytes=*/false, /*to_bytes=*/true);
}

void BuildDequantize(Builder& b, const Op& op) {
  BuildConversion(b, op, /*from_bytes=*/true, /*to_bytes=*/false);
}

void BuildRequantize(Builder& b, const Op& op) {
  BuildConversion(b, op, /*from_bytes=*/true, /*to_bytes=*/true);
}

}  // namespace byoc::onednn

// oneDNN sums bytes in 32 bits and applies post-ops in float. Those that round to quantised values
// are spelled with linear functions, rounding and clipping; linear functions that meet are
// multiplied out, also with the division by the result's scale:
//
//   requantize(s, z), add int8 (t, u)  =  [1/s, z] round clip [s, -zs] [1/t, -u] add [t, 0]
//                                                             └── one linear ──┘
//
// The next post-op's input is `a_` times what the primitive has computed, plus `b_`: this function
// is kept back until a post-op needs it.
#include "quantised_post_ops.h"

#include <cmath>

#include "algorithms.h"
#include "checks.h"

namespace byoc::onednn {

QuantisedPostOps::QuantisedPostOps(Builder& b, const Op& op, const Dims& shape, bool allow_sum)
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

void QuantisedPostOps::Finish(bool by_attribute) {
  if (bytes_ && !by_attribute) {
    Linear(1 / result_.scale, static_cast<float>(result_.zero));
    Flush();
    result_ = {};
  }
  attr_.set_post_ops(ops_);
  if (result_.scale != 1) attr_.set_scales_mask(DNNL_ARG_DST, 0);
  if (result_.zero != 0) attr_.set_zero_points_mask(DNNL_ARG_DST, 0);
}

void QuantisedPostOps::AddArgs(Builder& b, const dnnl::primitive_desc_base& pd,
                               std::vector<Arg>* args) const {
  operands_.AddArgs(b, pd, args);
  if (result_.scale != 1) {
    args->push_back(
        {DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, SingleConstant(b, DType::kFloat32, result_.scale)});
  }
  if (result_.zero != 0) {
    args->push_back({DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_DST,
                     SingleConstant(b, DType::kInt32, static_cast<int32_t>(result_.zero))});
  }
}

// Multiply by `a` and add `c` before what is appended next.
void QuantisedPostOps::Linear(float a, float c) {
  b_ = b_ * a + c;
  a_ *= a;
}

void QuantisedPostOps::Flush() {
  if (a_ != 1 || b_ != 0) ops_.append_eltwise(dnnl::algorithm::eltwise_linear, a_, b_);
  a_ = 1;
  b_ = 0;
}

// A relu or clip whose bounds are those of the result's dtype: saturating does it.
bool QuantisedPostOps::IsSaturation(const PostOp& post, DType dtype) const {
  float low = dtype == DType::kInt8 ? -128.f : 0.f, high = low + 255.f;
  auto stored = [&](float real) { return std::nearbyint(real / result_.scale) + result_.zero; };
  if (post.is_binary || post.is_requantize) return false;
  if (post.alg == "relu") return post.alpha == 0 && stored(0) <= low;
  return post.alg == "clip" && stored(post.alpha) <= low && stored(post.beta) >= high;
}

void QuantisedPostOps::Append(Builder& b, const Op& op, const PostOp& post, const Dims& shape,
                              bool allow_sum) {
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

void QuantisedPostOps::AppendBinary(Builder& b, const Op& op, const PostOp& post, const Dims& shape,
                                    bool allow_sum) {
  int y = op.outputs[0];
  DType dtype = b.values.Type(post.value);
  bool bytes = IsByte(dtype), full = b.values.Shape(post.value) == b.values.Shape(y);
  Expect(bytes || dtype == DType::kFloat32, "post-op operand is ", ToString(dtype));
  Expect(!bytes || (post.alg == "add" && full), "int8 post-op operands are added in full only");
  detail_ += "+" + post.alg;
  if (bytes && allow_sum && !has_sum() && dtype == b.values.Type(y) &&
      !b.buffers.MayHaveDestination(y) &&
      b.buffers.MayOverwrite(post.value, b.buffers.Get(post.value))) {
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

}  // namespace byoc::onednn

// A binary post-op reads its operand in the layout of the primitive's destination, which the
// primitive is asked for once it is made. An operand of full shape may have any layout (`AnyDesc`);
// one that broadcasts is small, and passed row-major. Where leading dims of the result were joined
// into one, operands are seen under the joined shape.
#include "post_ops.h"

#include <algorithm>

#include "algorithms.h"
#include "checks.h"

namespace byoc::onednn {
namespace {

/// Shape of a value as an operand of `result`: ones in front until the ranks agree.
Dims Extended(const Dims& shape, size_t rank) {
  Dims extended(rank - std::min(rank, shape.size()), 1);
  extended.insert(extended.end(), shape.begin(), shape.end());
  return extended;
}

}  // namespace

dnnl::primitive_attr BaseAttr() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

std::optional<Tensor> Reshaped(const Tensor& tensor, const Dims& shape) {
  if (tensor.desc.get_dims() == shape) return tensor;
  if (IsPlain(tensor.desc)) {
    return Tensor{PlainDesc(shape, tensor.dtype), tensor.dtype, tensor.buffer, tensor.Begin()};
  }
  Desc desc = tensor.desc.reshape(shape.empty() ? Dims{1} : shape, /*allow_empty=*/true);
  if (IsEmpty(desc)) return std::nullopt;
  return Tensor{desc, tensor.dtype, tensor.buffer, tensor.offset};
}

Tensor PostOpOperands::SumTarget(Builder& b, const Desc& dst) const {
  if (b.values.Shape(sum_value_) == dst.get_dims()) return b.buffers.As(sum_value_, dst);
  return b.buffers.As(*Reshaped(b.buffers.Plain(sum_value_), dst.get_dims()), dst);
}

void PostOpOperands::AddArgs(Builder& b, const dnnl::primitive_desc_base& pd,
                             std::vector<Arg>* args) const {
  for (const Operand& operand : operands_) {
    int id = DNNL_ARG_ATTR_MULTIPLE_POST_OP(operand.position) | DNNL_ARG_SRC_1;
    Desc want = pd.query_md(dnnl::query::exec_arg_md, id);
    if (b.values.Shape(operand.value) == operand.shape) {
      args->push_back({id, b.buffers.As(operand.value, want)});
    } else {
      args->push_back(
          {id, b.buffers.As(*Reshaped(b.buffers.Plain(operand.value), operand.shape), want)});
    }
  }
}

Fusion::Fusion(Builder& b, const Op& op, size_t count, const Dims& shape, bool allow_sum)
    : count_(count), attr_(BaseAttr()) {
  if (b.bf16) attr_.set_fpmath_mode(dnnl::fpmath_mode::bf16);
  dnnl::post_ops ops;
  for (size_t i = 0; i < count && possible_; ++i) {
    const PostOp& post = op.post[i];
    if (post.is_binary) {
      possible_ = AppendBinary(b, op, post, shape, allow_sum, &ops, static_cast<int>(i));
    } else if (auto eltwise = FindEltwise(post.alg, post.alpha, post.beta)) {
      possible_ = !b.keeps_nan || !LosesNan(eltwise->alg, eltwise->alpha);
      ops.append_eltwise(eltwise->alg, eltwise->alpha, eltwise->beta);
      detail_ += "+" + post.alg;
    } else {
      possible_ = false;
    }
  }
  if (possible_) attr_.set_post_ops(ops);
}

bool Fusion::AppendBinary(Builder& b, const Op& op, const PostOp& post, const Dims& shape,
                          bool allow_sum, dnnl::post_ops* ops, int position) {
  std::optional<dnnl::algorithm> alg = ToOneDnn(FindBinary(post.alg));
  if (post.alg == "max" || post.alg == "min") return false;  // oneDNN's lose NaN
  if (!alg || !IsFloat(b.values.Type(post.value))) return false;
  int result = op.outputs[0];
  // Those that broadcast are few: oneDNN reads them as float32, whatever it stores.
  const DType type = b.buffers.Get(post.value).dtype;
  const Dims& value_shape = b.values.Shape(post.value);
  bool full = value_shape == b.values.Shape(result);
  if (allow_sum && full && post.alg == "add" && !has_sum() && type == b.values.Type(result) &&
      !b.buffers.MayHaveDestination(result) &&
      b.buffers.MayOverwrite(post.value, b.buffers.Get(post.value))) {
    ops->append_sum();
    operands_.SetSum(post.value);
    detail_ += "+sum";
    return true;
  }
  Dims seen = shape;
  if (!full) {
    seen = Extended(value_shape, b.values.Rank(result));
    if (shape.size() != seen.size()) {  // leading dims of the result were joined: only rows fit
      if (!std::all_of(seen.begin(), seen.end() - 1, [](int64_t d) { return d == 1; })) {
        return false;
      }
      seen = Dims(shape.size() - 1, 1);
      seen.push_back(value_shape.empty() ? 1 : value_shape.back());
    }
  }
  ops->append_binary(*alg, full ? AnyDesc(seen, type) : PlainDesc(seen, DType::kFloat32));
  operands_.Add(position, post.value, seen);
  detail_ += "+" + post.alg;
  return true;
}

void ApplyPostOps(Builder& b, const Op& op, size_t first) {
  int y = op.outputs[0];
  for (size_t i = first; i < op.post.size(); ++i) {
    const PostOp& post = op.post[i];
    if (post.is_binary) {
      ApplyBinary(b, post.alg, y, post.value, y, nullptr);
      continue;
    }
    Tensor x = b.buffers.Get(y);
    const bool brought = NeedsPlain(post.alg, post.alpha, post.beta, x.desc);
    if (!brought && b.buffers.MayUpdate(y)) {
      ApplyEltwise(b, post.alg, post.alpha, post.beta, x, x);
      continue;
    }
    if (brought) x = b.buffers.Plain(y);
    Tensor target = b.buffers.Result(y, x.desc);
    ApplyEltwise(b, post.alg, post.alpha, post.beta, x, target);
    b.buffers.Set(y, target);
  }
}

}  // namespace byoc::onednn

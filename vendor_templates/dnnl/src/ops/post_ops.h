/// \file post_ops.h
/// \brief Post-ops: fused into the primitive where oneDNN can, steps of their own where it cannot.
#ifndef BYOC_DNNL_OPS_POST_OPS_H_
#define BYOC_DNNL_OPS_POST_OPS_H_

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "../builder.h"
#include "../error.h"

namespace byoc::onednn {

/// The tensors that fused post-ops read beside the primitive's own arguments.
class PostOpOperands {
 public:
  /// Note the right operand of a binary post-op.
  ///
  /// \param position The post-op's, among those of the primitive.
  /// \param shape The operand's shape as the primitive sees it.
  void Add(int position, int value, Dims shape) {
    operands_.push_back({position, value, std::move(shape)});
  }

  /// Note the value that a `sum` adds to; there is one at most.
  void SetSum(int value) { sum_value_ = value; }
  bool has_sum() const { return sum_value_ >= 0; }

  /// With a sum: the memory to add to, in the primitive's destination layout.
  Tensor SumTarget(Builder& b, const Desc& dst) const;

  /// Append the operands, in the layouts the primitive wants.
  void AddArgs(Builder& b, const dnnl::primitive_desc_base& pd, std::vector<Arg>* args) const;

 private:
  struct Operand {
    int position, value;
    Dims shape;
  };
  int sum_value_ = -1;
  std::vector<Operand> operands_;
};

/// The first `count` post-ops of an op as attributes of a primitive.
///
/// An `add` of a value that dies here and may be overwritten becomes a `sum`: the primitive adds to
/// what its destination holds. All other binary post-ops read their operand beside it.
class Fusion {
 public:
  /// \param count How many post-ops to fuse, from the first on.
  /// \param shape The destination's shape as the primitive sees it: that of the op's output, or
  /// with its leading dims joined into one.
  /// \param allow_sum False where the primitive cannot add to its destination.
  Fusion(Builder& b, const Op& op, size_t count, const Dims& shape, bool allow_sum);

  /// False when a post-op has no fused form.
  bool possible() const { return possible_; }
  size_t count() const { return count_; }

  /// The attributes to make the primitive with.
  const dnnl::primitive_attr& attr() const { return attr_; }

  /// What the primitive reads besides its own arguments.
  const PostOpOperands& operands() const { return operands_; }
  bool has_sum() const { return operands_.has_sum(); }

  /// "+relu+sum", for introspection.
  const std::string& detail() const { return detail_; }

 private:
  bool AppendBinary(Builder& b, const Op& op, const PostOp& post, const Dims& shape, bool allow_sum,
                    dnnl::post_ops* ops, int position);

  bool possible_ = true;
  size_t count_;
  dnnl::primitive_attr attr_;
  PostOpOperands operands_;
  std::string detail_;
};

/// How fast oneDNN's choice is: 0 reference, 1 by way of a plain gemm, 2 its own kernel.
inline int Grade(const char* impl) {
  if (IsReference(impl)) return 0;
  return std::strstr(impl, "gemm:") != nullptr && std::strstr(impl, "brg") == nullptr ? 1 : 2;
}

/// A primitive, chosen together with the post-ops it takes.
template <typename PrimitiveDesc>
struct Fused {
  PrimitiveDesc pd;
  Fusion fusion;
};

/// The best primitive for an op: fuse as many post-ops as leave it on fast code.
///
/// Tries all post-ops first, then one less, and so on down to none. The rest become steps of their
/// own (`ApplyPostOps`, by the builder).
///
/// \param shape The destination's, as the primitive sees it.
/// \param make (attr) → primitive descriptor, empty when oneDNN refuses.
/// \throw ProgramError when oneDNN refuses whatever is fused.
template <typename PrimitiveDesc, typename Make>
Fused<PrimitiveDesc> FuseBest(Builder& b, const Op& op, const Dims& shape, const Make& make,
                              bool allow_sum = true) {
  std::optional<Fused<PrimitiveDesc>> best;
  for (size_t count = op.post.size() + 1; count-- > 0;) {
    Fusion fusion(b, op, count, shape, allow_sum);
    if (!fusion.possible()) continue;
    PrimitiveDesc pd = make(fusion.attr());
    if (!pd) continue;
    int grade = Grade(pd.impl_info_str());
    if (!best || grade > Grade(best->pd.impl_info_str())) {
      best = Fused<PrimitiveDesc>{pd, std::move(fusion)};
    }
    if (grade == 2) break;
  }
  if (!best) Fail("oneDNN has no implementation for these shapes and attributes");
  return std::move(*best);
}

/// Apply the op's post-ops from `first` on to its output, as steps, in place if possible: the
/// builder does so with what a build function leaves.
void ApplyPostOps(Builder& b, const Op& op, size_t first);

/// Whether an eltwise step cannot work in a layout: its tensor must be brought into row-major
/// order.
bool NeedsPlain(const std::string& alg, float alpha, float beta, const Desc& desc);

/// Add one eltwise step from `x` to `y`, which has the same layout and may be the same memory.
void ApplyEltwise(Builder& b, const std::string& alg, float alpha, float beta, const Tensor& x,
                  const Tensor& y);

/// y = a alg c with numpy broadcasting, in the layout of the larger operand.
/// \param fuse The op whose post-ops may be fused, or null.
/// \return How many post-ops were fused.
size_t ApplyBinary(Builder& b, const std::string& alg, int a, int c, int y, const Op* fuse);

/// The same tensor under another shape, or nothing when its layout cannot express it.
std::optional<Tensor> Reshaped(const Tensor& tensor, const Dims& shape);

/// Primitive attributes every primitive here has: the scratchpad is ours.
dnnl::primitive_attr BaseAttr();

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_POST_OPS_H_

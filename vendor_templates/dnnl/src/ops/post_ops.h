/*!
 * \file post_ops.h
 * \brief Post-ops: fused into the primitive where oneDNN can, steps of their own where it cannot.
 */
#ifndef BYOC_DNNL_OPS_POST_OPS_H_
#define BYOC_DNNL_OPS_POST_OPS_H_

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "../builder.h"
#include "../error.h"

namespace byoc::onednn {

/*!
 * \brief The first `count` post-ops of an op as attributes of a primitive.
 *
 * An `add` of a value that dies here and may be overwritten becomes a `sum`: the primitive adds to
 * what its destination holds. All other binary post-ops read their operand beside it.
 */
class Fusion {
 public:
  /*!
   * \param shape The destination's shape as the primitive sees it: that of the op's output, or with
   * its leading dims joined into one.
   */
  Fusion(Builder& b, const Op& op, size_t count, const Dims& shape, bool allow_sum);

  /*! \brief False when a post-op has no fused form. */
  bool possible() const { return possible_; }
  size_t count() const { return count_; }
  const dnnl::primitive_attr& attr() const { return attr_; }
  bool has_sum() const { return sum_value_ >= 0; }

  /*! \brief With a sum: the memory to add to, in the primitive's destination layout. */
  Tensor SumTarget(Builder& b, const Desc& dst) const;
  /*! \brief The operands of binary post-ops, in the layouts the primitive wants. */
  void AddArgs(Builder& b, const dnnl::primitive_desc_base& pd, std::vector<Arg>* args) const;
  /*! \brief "relu+sum", for introspection. */
  const std::string& detail() const { return detail_; }

 private:
  bool AppendBinary(Builder& b, const Op& op, const PostOp& post, const Dims& shape, bool allow_sum,
                    dnnl::post_ops* ops, int position);

  struct Operand {
    int position, value;
    Dims shape;
  };
  bool possible_ = true;
  size_t count_;
  dnnl::primitive_attr attr_;
  int sum_value_ = -1;
  std::vector<Operand> operands_;
  std::string detail_;
};

/*! \brief How fast oneDNN's choice is: 0 reference, 1 by way of a plain gemm, 2 its own kernel. */
inline int Grade(const char* impl) {
  if (IsReference(impl)) return 0;
  return std::strstr(impl, "gemm:") != nullptr && std::strstr(impl, "brg") == nullptr ? 1 : 2;
}

template <typename PrimitiveDesc>
struct Fused {
  PrimitiveDesc pd;
  Fusion fusion;
};

/*!
 * \brief The best primitive for an op: fuse as many post-ops as leave it on fast code.
 * \param make (attr) → primitive descriptor, empty when oneDNN refuses.
 */
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

/*! \brief Apply the op's post-ops from `first` on to its output, as steps, in place if possible. */
void ApplyPostOps(Builder& b, const Op& op, size_t first);

/*! \brief One eltwise step from `x` to `y`, which has the same layout and may be the same memory.
 */
void ApplyEltwise(Builder& b, const std::string& alg, float alpha, float beta, const Tensor& x,
                  const Tensor& y);

/*!
 * \brief y = a alg c with numpy broadcasting, in the layout of the larger operand.
 * \param fuse The op whose post-ops may be fused, or null.
 * \return How many post-ops were fused.
 */
size_t ApplyBinary(Builder& b, const std::string& alg, int a, int c, int y, const Op* fuse);

/*! \brief The same tensor under another shape, or nothing when its layout cannot express it. */
std::optional<Tensor> Reshaped(const Tensor& tensor, const Dims& shape);

/*! \brief Primitive attributes every primitive here has: the scratchpad is ours. */
dnnl::primitive_attr BaseAttr();

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_POST_OPS_H_

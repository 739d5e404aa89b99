/// \file algorithms.h
/// \brief Names of element-wise functions in programs → oneDNN's algorithms or our own kernels.
#ifndef BYOC_DNNL_OPS_ALGORITHMS_H_
#define BYOC_DNNL_OPS_ALGORITHMS_H_

#include <dnnl.hpp>
#include <optional>
#include <string>

#include "../kernels/simd.h"

namespace byoc::onednn {

struct Eltwise {
  dnnl::algorithm alg;
  float alpha, beta;
};

/// oneDNN's form of an eltwise function, or nothing when it has none.
std::optional<Eltwise> FindEltwise(const std::string& alg, float alpha, float beta);

/// Our kernel for a function that oneDNN does not have; throws for unknown names.
Unary FindUnary(const std::string& alg);

enum class BinaryAlg : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMax,
  kMin,
  kPow,
  kGe,
  kGt,
  kLe,
  kLt,
  kEq,
  kNe
};

/// Throws for unknown names.
BinaryAlg FindBinary(const std::string& alg);
/// oneDNN's form, or nothing (pow).
std::optional<dnnl::algorithm> ToOneDnn(BinaryAlg alg);
inline bool IsComparison(BinaryAlg alg) { return alg >= BinaryAlg::kGe; }
/// The algorithm with operands swapped, or nothing (sub, div, pow).
std::optional<BinaryAlg> Swapped(BinaryAlg alg);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_ALGORITHMS_H_

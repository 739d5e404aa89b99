/// \file algorithms.h
/// \brief Names of element-wise functions in programs → oneDNN's algorithms or our own kernels.
///
/// A new function is a line in a table of algorithms.cc; program.md lists the names.
#ifndef BYOC_DNNL_OPS_ALGORITHMS_H_
#define BYOC_DNNL_OPS_ALGORITHMS_H_

#include <dnnl.hpp>
#include <optional>
#include <string>

#include "../kernels/simd.h"

namespace byoc::onednn {

/// An element-wise function as oneDNN takes it.
struct Eltwise {
  dnnl::algorithm alg;
  float alpha, beta;
};

/// oneDNN's form of an eltwise function, or nothing when it has none.
///
/// \param alpha, beta The function's parameters as program.md means them; oneDNN's may differ.
std::optional<Eltwise> FindEltwise(const std::string& alg, float alpha, float beta);

/// Whether oneDNN's kernels of a function answer NaN with a number.
///
/// They limit by the processor's max and min, which answer the other operand.
inline bool LosesNan(dnnl::algorithm alg, float alpha) {
  return (alg == dnnl::algorithm::eltwise_relu && alpha == 0.f) ||
         alg == dnnl::algorithm::eltwise_clip || alg == dnnl::algorithm::eltwise_hardsigmoid ||
         alg == dnnl::algorithm::eltwise_exp;
}

/// Our kernel for a function that oneDNN does not have.
///
/// \throw ProgramError with the legal names when the name is unknown.
Unary FindUnary(const std::string& alg);

/// Binary ops: arithmetic first, then comparisons.
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

/// The op of a name.
///
/// \throw ProgramError with the legal names when the name is unknown.
BinaryAlg FindBinary(const std::string& alg);

/// oneDNN's form, or nothing (pow).
std::optional<dnnl::algorithm> ToOneDnn(BinaryAlg alg);

/// True for ops whose result says yes or no.
inline bool IsComparison(BinaryAlg alg) { return alg >= BinaryAlg::kGe; }

/// The algorithm with operands swapped, or nothing (sub, div, pow).
std::optional<BinaryAlg> Swapped(BinaryAlg alg);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_ALGORITHMS_H_

// Each table has one line per name that programs may use. What oneDNN computes under another
// parametrisation is adapted in `FindEltwise`.
#include "algorithms.h"

#include "../error.h"

namespace byoc::onednn {
namespace {

using dnnl::algorithm;

struct EltwiseName {
  const char* name;
  algorithm alg;
  // Constants of functions whose parameters are fixed; others take those of the program.
  bool fixed;
  float alpha, beta;
};

constexpr EltwiseName kEltwise[] = {
    {"relu", algorithm::eltwise_relu, false, 0, 0},
    {"clip", algorithm::eltwise_clip, false, 0, 0},
    {"gelu_erf", algorithm::eltwise_gelu_erf, true, 0, 0},
    {"gelu_tanh", algorithm::eltwise_gelu_tanh, true, 0, 0},
    {"swish", algorithm::eltwise_swish, false, 0, 0},
    {"hardswish", algorithm::eltwise_hardswish, false, 0, 0},
    {"hardsigmoid", algorithm::eltwise_hardsigmoid, false, 0, 0},
    {"logistic", algorithm::eltwise_logistic, true, 0, 0},
    {"tanh", algorithm::eltwise_tanh, true, 0, 0},
    {"exp", algorithm::eltwise_exp, true, 0, 0},
    {"log", algorithm::eltwise_log, true, 0, 0},
    {"sqrt", algorithm::eltwise_sqrt, true, 0, 0},
    {"abs", algorithm::eltwise_abs, true, 0, 0},
    {"square", algorithm::eltwise_square, true, 0, 0},
    {"round", algorithm::eltwise_round, true, 0, 0},
    {"elu", algorithm::eltwise_elu, false, 0, 0},
    {"soft_relu", algorithm::eltwise_soft_relu, false, 0, 0},
    {"mish", algorithm::eltwise_mish, true, 0, 0},
    {"linear", algorithm::eltwise_linear, false, 0, 0},
    {"pow", algorithm::eltwise_pow, false, 0, 0},
    {"neg", algorithm::eltwise_linear, true, -1, 0},
    {"reciprocal", algorithm::eltwise_pow, true, 1, -1},
};

struct UnaryName {
  const char* name;
  Unary alg;
};

constexpr UnaryName kUnary[] = {
    {"erf", Unary::kErf},   {"rsqrt", Unary::kRsqrt}, {"floor", Unary::kFloor},
    {"ceil", Unary::kCeil}, {"sin", Unary::kSin},     {"cos", Unary::kCos},
    {"exp", Unary::kExp},
};

constexpr const char* kBinary[] = {"add", "sub", "mul", "div", "max", "min", "pow",
                                   "ge",  "gt",  "le",  "lt",  "eq",  "ne"};

}  // namespace

std::optional<Eltwise> FindEltwise(const std::string& alg, float alpha, float beta) {
  for (const EltwiseName& known : kEltwise) {
    if (alg != known.name) continue;
    if (known.fixed) return Eltwise{known.alg, known.alpha, known.beta};
    return Eltwise{known.alg, alpha, beta};
  }
  return std::nullopt;
}

Unary FindUnary(const std::string& alg) {
  for (const UnaryName& known : kUnary) {
    if (alg == known.name) return known.alg;
  }
  std::string legal;
  for (const EltwiseName& known : kEltwise) legal += std::string(known.name) + ", ";
  for (const UnaryName& known : kUnary) legal += std::string(known.name) + ", ";
  legal.resize(legal.size() - 2);
  Fail("eltwise alg '", alg, "' is unknown; legal: ", legal);
}

BinaryAlg FindBinary(const std::string& alg) {
  for (size_t i = 0; i < std::size(kBinary); ++i) {
    if (alg == kBinary[i]) return static_cast<BinaryAlg>(i);
  }
  Fail("binary alg '", alg,
       "' is unknown; legal: add, sub, mul, div, max, min, pow, ge, gt, le, lt, eq, ne");
}

std::optional<algorithm> ToOneDnn(BinaryAlg alg) {
  switch (alg) {
    case BinaryAlg::kAdd:
      return algorithm::binary_add;
    case BinaryAlg::kSub:
      return algorithm::binary_sub;
    case BinaryAlg::kMul:
      return algorithm::binary_mul;
    case BinaryAlg::kDiv:
      return algorithm::binary_div;
    case BinaryAlg::kMax:
      return algorithm::binary_max;
    case BinaryAlg::kMin:
      return algorithm::binary_min;
    case BinaryAlg::kGe:
      return algorithm::binary_ge;
    case BinaryAlg::kGt:
      return algorithm::binary_gt;
    case BinaryAlg::kLe:
      return algorithm::binary_le;
    case BinaryAlg::kLt:
      return algorithm::binary_lt;
    case BinaryAlg::kEq:
      return algorithm::binary_eq;
    case BinaryAlg::kNe:
      return algorithm::binary_ne;
    case BinaryAlg::kPow:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<BinaryAlg> Swapped(BinaryAlg alg) {
  switch (alg) {
    case BinaryAlg::kSub:
    case BinaryAlg::kDiv:
    case BinaryAlg::kPow:
      return std::nullopt;
    case BinaryAlg::kGe:
      return BinaryAlg::kLe;
    case BinaryAlg::kLe:
      return BinaryAlg::kGe;
    case BinaryAlg::kGt:
      return BinaryAlg::kLt;
    case BinaryAlg::kLt:
      return BinaryAlg::kGt;
    default:
      return alg;
  }
}

}  // namespace byoc::onednn

/*!
 * \file dims.h
 * \brief Dimensions: numbers, or integer expressions over named variables.
 *
 *   "n * 12 + max(m, 4)"  ──parse──▶  n 12 * m 4 max +   (postfix)  ──Evaluate({n, m})──▶  int64
 *
 * Operators: + - * // % with Python's meaning (floor division), parentheses, max(a, b),
 * min(a, b). Overflow and division by zero are errors.
 */
#ifndef BYOC_DNNL_DIMS_H_
#define BYOC_DNNL_DIMS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace byoc::onednn {

using Dims = std::vector<int64_t>;

/*! \brief The variables of a program; a variable is its position in `names`. */
class Variables {
 public:
  /*! \brief Position of a name, added when new. */
  int Intern(std::string_view name);
  int Count() const { return static_cast<int>(names_.size()); }
  const std::string& Name(int variable) const { return names_[variable]; }

 private:
  std::vector<std::string> names_;
};

/*! \brief Values of all variables, by position. */
using Bindings = Dims;

/*! \brief One dimension. */
class DimExpr {
 public:
  DimExpr() : DimExpr(0) {}
  explicit DimExpr(int64_t value) : code_{{Token::kNumber, value}} {}

  /*! \brief Parse an expression. Throws ProgramError with the position of the fault. */
  static DimExpr Parse(std::string_view text, Variables* variables);

  /*! \brief The value under `bindings`. Throws ProgramError on overflow and division by zero. */
  int64_t Evaluate(const Bindings& bindings) const;

  bool IsConstant() const { return code_.size() == 1 && code_[0].kind == Token::kNumber; }

  /*! \brief The variable when the expression is a bare name, else -1. */
  int BareVariable() const {
    return code_.size() == 1 && code_[0].kind == Token::kVariable ? static_cast<int>(code_[0].value)
                                                                  : -1;
  }

 private:
  friend class DimParser;
  struct Token {
    enum Kind : uint8_t { kNumber, kVariable, kAdd, kSub, kMul, kDiv, kMod, kMax, kMin };
    Kind kind;
    int64_t value;
  };
  std::vector<Token> code_;
};

/*! \brief Evaluate each expression of a shape. */
Dims Evaluate(const std::vector<DimExpr>& shape, const Bindings& bindings);

/*! \brief Number of elements. Throws ProgramError when it does not fit into 63 bits. */
int64_t Volume(const Dims& shape);

/*! \brief "[1, 64, 56, 56]". */
std::string ToString(const Dims& shape);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_DIMS_H_

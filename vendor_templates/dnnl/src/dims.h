/// \file dims.h
/// \brief Dimensions: numbers, or integer expressions over named variables.
///
///   "n * 12 + max(m, 4)"  ──parse──▶  n 12 * m 4 max +   (postfix)  ──Evaluate({n, m})──▶  int64
///
/// Operators: + - * // % with Python's meaning (floor division), parentheses, max(a, b),
/// min(a, b). Overflow and division by zero are errors.
#ifndef BYOC_DNNL_DIMS_H_
#define BYOC_DNNL_DIMS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace byoc::onednn {

/// A shape, strides, or any list of integers per dimension.
using Dims = std::vector<int64_t>;

/// The names of a program's variables; a variable is known by its position among them.
class Variables {
 public:
  /// Position of a name, added when new.
  int Intern(std::string_view name);

  /// Number of variables.
  int Count() const { return static_cast<int>(names_.size()); }

  /// The name of a variable, as the program spells it.
  const std::string& Name(int variable) const { return names_[variable]; }

 private:
  std::vector<std::string> names_;
};

/// Values of all variables, by position.
using Bindings = Dims;

/// One dimension: a number, or an expression kept as postfix code.
///
/// Parsing happens once, when a program is read; evaluating, at each new set of shapes, only walks
/// the code. A value type: copies are independent.
class DimExpr {
 public:
  DimExpr() : DimExpr(0) {}

  /// A number.
  explicit DimExpr(int64_t value) : code_{{Token::kNumber, value}} {}

  /// Parse an expression.
  ///
  /// \param variables Receives the names that are new.
  /// \throw ProgramError with the column of the fault.
  static DimExpr Parse(std::string_view text, Variables* variables);

  /// The value under `bindings`.
  ///
  /// \throw ProgramError on overflow and on division by zero.
  int64_t Evaluate(const Bindings& bindings) const;

  /// True when the dimension is a plain number.
  bool IsConstant() const { return code_.size() == 1 && code_[0].kind == Token::kNumber; }

  /// The variable when the expression is a bare name, else -1.
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

/// Evaluate each expression of a shape.
Dims Evaluate(const std::vector<DimExpr>& shape, const Bindings& bindings);

/// Number of elements.
///
/// \throw ProgramError for a negative dimension, and when the number does not fit into 63 bits.
int64_t Volume(const Dims& shape);

/// The shape as messages show it: "[1, 64, 56, 56]".
std::string ToString(const Dims& shape);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_DIMS_H_

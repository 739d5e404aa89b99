#include "dims.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "error.h"

namespace byoc::onednn {

int Variables::Intern(std::string_view name) {
  auto it = std::find(names_.begin(), names_.end(), name);
  if (it != names_.end()) return static_cast<int>(it - names_.begin());
  names_.emplace_back(name);
  return static_cast<int>(names_.size()) - 1;
}

/// Recursive descent, two levels of precedence, writing postfix code:
///   sum = product (("+" | "-") product)*      product = unary (("*" | "//" | "%") unary)*
class DimParser {
 public:
  DimParser(std::string_view text, Variables* variables) : text_(text), variables_(variables) {}

  std::vector<DimExpr::Token> Parse() {
    Sum();
    Skip();
    if (at_ != text_.size()) Fault("expected an operator or the end");
    return std::move(code_);
  }

 private:
  using Token = DimExpr::Token;
  // Bounds the recursion, and with it the stack: dimensions people write nest two or three deep.
  static constexpr int kMaxDepth = 64;

  [[noreturn]] void Fault(const char* what) const {
    Fail("dimension '", text_.substr(0, 200), "', column ", at_ + 1, ": ", what);
  }

  void Skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }

  bool Take(std::string_view symbol) {
    Skip();
    if (text_.substr(at_, symbol.size()) != symbol) return false;
    at_ += symbol.size();
    return true;
  }

  void Emit(Token::Kind kind, int64_t value = 0) { code_.push_back({kind, value}); }

  void Sum() {
    if (++depth_ > kMaxDepth) Fault("nested too deeply");
    Product();
    for (;;) {
      if (Take("+")) {
        Product();
        Emit(Token::kAdd);
      } else if (Take("-")) {
        Product();
        Emit(Token::kSub);
      } else {
        break;
      }
    }
    --depth_;
  }

  void Product() {
    Unary();
    for (;;) {
      if (Take("//")) {
        Unary();
        Emit(Token::kDiv);
      } else if (Take("*")) {
        Unary();
        Emit(Token::kMul);
      } else if (Take("%")) {
        Unary();
        Emit(Token::kMod);
      } else {
        break;
      }
    }
  }

  void Unary() {
    if (++depth_ > kMaxDepth) Fault("nested too deeply");
    if (Take("-")) {
      Emit(Token::kNumber, 0);
      Unary();
      Emit(Token::kSub);
    } else {
      Primary();
    }
    --depth_;
  }

  void Primary() {
    if (Take("(")) {
      Sum();
      if (!Take(")")) Fault("expected ')'");
      return;
    }
    Skip();
    if (at_ == text_.size()) Fault("expected a number or a name");
    char c = text_[at_];
    if (std::isdigit(static_cast<unsigned char>(c))) return Number();
    if (std::isalpha(static_cast<unsigned char>(c)) || c == '_') return Name();
    Fault("expected a number or a name");
  }

  void Number() {
    int64_t value = 0;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) {
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, text_[at_] - '0', &value)) {
        Fault("number too large");
      }
      ++at_;
    }
    Emit(Token::kNumber, value);
  }

  void Name() {
    size_t begin = at_;
    auto in_name = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
    };
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;
    std::string_view name = text_.substr(begin, at_ - begin);
    if ((name == "max" || name == "min") && Take("(")) {
      Sum();
      if (!Take(",")) Fault("expected ','");
      Sum();
      if (!Take(")")) Fault("expected ')'");
      Emit(name == "max" ? Token::kMax : Token::kMin);
    } else {
      Emit(Token::kVariable, variables_->Intern(name));
    }
  }

  std::string_view text_;
  Variables* variables_;
  size_t at_ = 0;
  int depth_ = 0;
  std::vector<Token> code_;
};

DimExpr DimExpr::Parse(std::string_view text, Variables* variables) {
  DimExpr expr;
  expr.code_ = DimParser(text, variables).Parse();
  return expr;
}

int64_t DimExpr::Evaluate(const Bindings& bindings) const {
  if (IsConstant()) return code_[0].value;
  std::vector<int64_t> stack;
  for (const Token& token : code_) {
    if (token.kind == Token::kNumber) {
      stack.push_back(token.value);
      continue;
    }
    if (token.kind == Token::kVariable) {
      stack.push_back(bindings.at(token.value));
      continue;
    }
    int64_t b = stack.back();
    stack.pop_back();
    int64_t a = stack.back(), r = 0;
    bool overflow = false;
    switch (token.kind) {
      case Token::kAdd:
        overflow = __builtin_add_overflow(a, b, &r);
        break;
      case Token::kSub:
        overflow = __builtin_sub_overflow(a, b, &r);
        break;
      case Token::kMul:
        overflow = __builtin_mul_overflow(a, b, &r);
        break;
      case Token::kMax:
        r = std::max(a, b);
        break;
      case Token::kMin:
        r = std::min(a, b);
        break;
      default:  // kDiv, kMod
        if (b == 0) Fail("a dimension divides by zero");
        overflow = a == std::numeric_limits<int64_t>::min() && b == -1;
        if (overflow) break;
        r = a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
        if (token.kind == Token::kMod) r = a - r * b;
    }
    if (overflow) Fail("a dimension does not fit into 64 bits");
    stack.back() = r;
  }
  return stack.back();
}

Dims Evaluate(const std::vector<DimExpr>& shape, const Bindings& bindings) {
  Dims result;
  result.reserve(shape.size());
  for (const DimExpr& dim : shape) result.push_back(dim.Evaluate(bindings));
  return result;
}

int64_t Volume(const Dims& shape) {
  int64_t volume = 1;
  for (int64_t dim : shape) {
    if (dim < 0) Fail("shape ", ToString(shape), " has a negative dimension");
    if (__builtin_mul_overflow(volume, dim, &volume)) {
      Fail("shape ", ToString(shape), " has too many elements");
    }
  }
  return volume;
}

std::string ToString(const Dims& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace byoc::onednn

#include "dims.h"

#include <limits>

#include "programs.h"

namespace byoc::onednn {
namespace {

int64_t Eval(const std::string& text, const Bindings& bindings = {}) {
  Variables variables;
  variables.Intern("n");
  variables.Intern("m");
  return DimExpr::Parse(text, &variables).Evaluate(bindings.empty() ? Bindings{7, 3} : bindings);
}

TEST(DimsFollowPython) {
  CHECK_EQ(Eval("1 + 2 * 3"), 7);
  CHECK_EQ(Eval("(1 + 2) * 3"), 9);
  CHECK_EQ(Eval("n // m"), 2);
  CHECK_EQ(Eval("-n // m"), -3);
  CHECK_EQ(Eval("n % m"), 1);
  CHECK_EQ(Eval("-n % m"), 2);
  CHECK_EQ(Eval("n - m - 1"), 3);
  CHECK_EQ(Eval("max(n, m) * min(n - 5, m)"), 14);
  CHECK_EQ(Eval("--n"), 7);
  CHECK_EQ(Eval("9223372036854775807"), std::numeric_limits<int64_t>::max());
}

TEST(DimsKnowWhatTheyAre) {
  Variables variables;
  CHECK(DimExpr::Parse("12", &variables).IsConstant());
  CHECK_EQ(DimExpr::Parse("batch.size", &variables).BareVariable(), 0);
  CHECK_EQ(DimExpr::Parse("batch.size * 2", &variables).BareVariable(), -1);
  CHECK_EQ(variables.Count(), 1);
}

TEST(DimsRefuseWhatIsNoExpression) {
  for (const char* text : {"", "1 +", "(1", "1)", "a b", "max(1)", "/ 2", "1 $ 2", "2 ** 3"}) {
    Refuses("dimension '", [&] { Eval(text); });
  }
  Refuses("number too large", [] { Eval("9223372036854775808"); });
  Refuses("nested too deeply", [] { Eval(std::string(100000, '(')); });
  Refuses("nested too deeply", [] { Eval(std::string(100000, '-') + "1"); });
}

TEST(DimsRefuseArithmeticThatDoesNotFit) {
  Refuses("divides by zero", [] { Eval("n // (m - 3)"); });
  Refuses("divides by zero", [] { Eval("n % 0"); });
  Refuses("64 bits", [] { Eval("n * 9223372036854775807"); });
  Refuses("64 bits", [] { Eval("(-9223372036854775807 - 1) // (0 - 1)"); });
  Refuses("too many elements", [] { Volume({int64_t{1} << 40, int64_t{1} << 40}); });
  Refuses("negative", [] { Volume({2, -1}); });
}

}  // namespace
}  // namespace byoc::onednn

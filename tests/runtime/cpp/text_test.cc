#include "core/text.h"

#include <string>

#include "check.h"
#include "core/json_view.h"

namespace byoc {
namespace {

TEST(PrintableKeepsWordsOfAnyLanguage) {
  for (const char* text : {"", "segments/dnnl_0.bin", "größe 大きさ 🙂", "\xc2\xa0"}) {
    CHECK(IsUtf8(text));
    CHECK_EQ(Printable(text), std::string(text));
  }
}

TEST(PrintableShowsWhatTerminalsAndDecodersChokeOn) {
  CHECK_EQ(Printable("\033[31m"), std::string("\\x1b[31m"));
  CHECK_EQ(Printable(std::string("a\0b\n\x7f", 5)), std::string("a\\x00b\\x0a\\x7f"));
  CHECK_EQ(Printable("\xc2\x9b"), std::string("\\xc2\\x9b"));  // CSI in one character
  for (const char* wrong : {"\xff", "\x80", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                            "\xe2\x82", "\xf8\x88\x80\x80\x80"}) {
    CHECK(!IsUtf8(wrong));
    CHECK_EQ(Printable(wrong).substr(0, 2), std::string("\\x"));
  }
  CHECK_EQ(Quoted("a\033"), std::string("'a\\x1b'"));
}

TEST(JsonThatTwoReadersCouldUnderstandInTwoWays) {
  for (const char* text : {R"({"a": 1, "a": 2})", R"({"a": 1, "\u0061": 2})",
                           R"([{"x": {"b": [], "c": 1, "b": []}}])"}) {
    CHECK_THROWS(JsonView::Parse(text, "text"), "an object has a key twice");
  }
  const auto json = JsonView::Parse(R"({"a:": {"a": ":\":"}, "b": [{"a": 1}, {"a": 2}]})", "text");
  CHECK_EQ(json["a:"]["a"].String(), std::string(":\":"));
  CHECK_THROWS(JsonView::Parse("{\"\xff\": 1}", "text"), "not UTF-8");
}

}  // namespace
TEST(TvmsMessagesInPlainWords) {
  CHECK_EQ(InPlainWords("Check failed: (p->ndim == ndim) is false: expect 4 but get 3"),
           std::string("expect 4 but get 3"));
  CHECK_EQ(InPlainWords("Check failed: shape[i] == reg (2 vs. 3) : R.Tensor((1, 3)) mismatch"),
           std::string("(2 vs. 3) : Tensor((1, 3)) mismatch"));
  CHECK_EQ(InPlainWords("f(x: Tensor([T.int64(1), T.int64(32)], float32)), expected 32"),
           std::string("f(x: Tensor([1, 32], float32)), expected 32"));
  // Of what is no such message nothing is lost, and no text makes it run for ever.
  CHECK_EQ(InPlainWords("Check failed: x"), std::string("x"));
  CHECK_EQ(InPlainWords("T.int64("), std::string(""));
  CHECK_EQ(InPlainWords("(1 vs. 2) Check failed: y"), std::string("(1 vs. 2) y"));
}

}  // namespace byoc

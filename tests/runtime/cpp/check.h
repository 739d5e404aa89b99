/*! \brief A tiny test harness: TEST(name) { ... }, CHECK, CHECK_EQ, CHECK_THROWS. */
#ifndef BYOC_TESTS_RUNTIME_CPP_CHECK_H_
#define BYOC_TESTS_RUNTIME_CPP_CHECK_H_

#include <tvm/ffi/error.h>

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace check {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Body = void (*)();

inline std::vector<std::pair<const char*, Body>>& Tests() {
  static std::vector<std::pair<const char*, Body>> tests;
  return tests;
}

/*! \brief What this program does when a test starts it once more, with "--child" and arguments. */
using Child = int (*)(int argc, char** argv);

inline Child& TheChild() {
  static Child child = nullptr;
  return child;
}

struct Register {
  Register(const char* name, Body body) { Tests().emplace_back(name, body); }
};

[[noreturn]] inline void Fail(const char* file, int line, const std::string& what) {
  throw Failure(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

template <typename A, typename B>
void Equal(const char* file, int line, const char* text, const A& a, const B& b) {
  if (a == b) return;
  std::ostringstream out;
  out << text << ": " << a << " is not " << b;
  Fail(file, line, out.str());
}

/*! \brief `body` must throw an error whose kind and message together contain `part`. */
template <typename F>
void Throws(const char* file, int line, const char* part, F body) {
  std::string text;
  try {
    body();
  } catch (const tvm::ffi::Error& error) {
    text = std::string(error.kind()) + ": " + std::string(error.message());
  }
  if (text.empty()) Fail(file, line, std::string("no error, expected: ") + part);
  if (text.find(part) == std::string::npos) {
    Fail(file, line, "expected \"" + std::string(part) + "\" in \"" + text + "\"");
  }
}

}  // namespace check

#define TEST(name)                                             \
  static void name();                                          \
  static const ::check::Register register_##name(#name, name); \
  static void name()
#define CHECK(condition) \
  if (!(condition)) ::check::Fail(__FILE__, __LINE__, #condition)
#define CHECK_EQ(a, b) ::check::Equal(__FILE__, __LINE__, #a " == " #b, a, b)
#define CHECK_THROWS(statement, part) ::check::Throws(__FILE__, __LINE__, part, [&] { statement; })

#endif  // BYOC_TESTS_RUNTIME_CPP_CHECK_H_

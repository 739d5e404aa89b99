/// \file
/// Reading JSON that may be hostile: every step checked, errors name the path.
#ifndef BYOC_RUNTIME_JSON_VIEW_H_
#define BYOC_RUNTIME_JSON_VIEW_H_

#include <tvm/ffi/any.h>
#include <tvm/ffi/extra/json.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace byoc {

/// A JSON value and where it stands ("tasks[3].args").
///
/// Every access checks the type and throws byoc.ArtifactError with the path. Views share the parsed
/// document; copying is cheap.
class JsonView {
 public:
  /// Parses a document. An object that has a key twice is refused: two readers could understand it
  /// in two ways.
  ///
  /// \param text the JSON text.
  /// \param what names the document in messages ("plan").
  static JsonView Parse(const std::string& text, std::string what);

  /// Returns the value of a key that must be there.
  JsonView operator[](const char* key) const;
  /// Returns the value of a key, or nothing where it is missing or null.
  std::optional<JsonView> Find(const char* key) const;
  /// Returns keys and values of an object, in order.
  std::vector<std::pair<std::string, JsonView>> Fields() const;
  /// Returns the elements of an array.
  std::vector<JsonView> Items() const;
  /// Returns an integer within [low, high].
  int64_t Int(int64_t low, int64_t high) const;
  /// The same, or nothing where the value is anything else.
  std::optional<int64_t> TryInt(int64_t low, int64_t high) const;
  /// A number, whole or not.
  double Double() const;
  /// Returns a truth value.
  bool Bool() const;
  /// Returns a string.
  std::string String() const;
  /// Whether the value is a string; does not throw.
  bool IsString() const;
  /// Returns an array of integers within [low, high].
  std::vector<int64_t> Ints(int64_t low, int64_t high) const;
  /// Returns an array of strings.
  std::vector<std::string> Strings() const;

  /// Returns the value as JSON text.
  std::string Text() const;

  /// Throws byoc.ArtifactError that names the document, this path and `problem`.
  [[noreturn]] void Fail(const std::string& problem) const;

 private:
  JsonView(tvm::ffi::Any value, std::string path)
      : value_(std::move(value)), path_(std::move(path)) {}

  tvm::ffi::Any value_;
  std::string path_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_JSON_VIEW_H_

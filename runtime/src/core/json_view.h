/*! \brief Reading JSON that may be hostile: every step checked, errors name the path. */
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

/*! \brief A JSON value and where it stands ("tasks[3].args"). Throws byoc.ArtifactError. */
class JsonView {
 public:
  /*!
   * \brief Parse a document; `what` names it in messages ("plan").
   *
   * An object that has a key twice is refused: two readers could understand it in two ways.
   */
  static JsonView Parse(const std::string& text, std::string what);

  JsonView operator[](const char* key) const;
  /*! \brief The value of a key, or nothing where it is missing or null. */
  std::optional<JsonView> Find(const char* key) const;
  /*! \brief Keys and values of an object, in order. */
  std::vector<std::pair<std::string, JsonView>> Fields() const;
  /*! \brief Elements of an array. */
  std::vector<JsonView> Items() const;
  /*! \brief An integer within [low, high]. */
  int64_t Int(int64_t low, int64_t high) const;
  /*! \brief The same, or nothing where the value is anything else. */
  std::optional<int64_t> TryInt(int64_t low, int64_t high) const;
  /*! \brief A number, whole or not. */
  double Double() const;
  bool Bool() const;
  std::string String() const;
  bool IsString() const;
  std::vector<int64_t> Ints(int64_t low, int64_t high) const;
  std::vector<std::string> Strings() const;

  /*! \brief The value as JSON text. */
  std::string Text() const;

  /*! \brief Throw byoc.ArtifactError: the document, this path, `problem`. */
  [[noreturn]] void Fail(const std::string& problem) const;

 private:
  JsonView(tvm::ffi::Any value, std::string path)
      : value_(std::move(value)), path_(std::move(path)) {}

  tvm::ffi::Any value_;
  std::string path_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_JSON_VIEW_H_

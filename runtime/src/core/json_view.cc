#include "core/json_view.h"

#include <algorithm>
#include <optional>

#include "core/errors.h"
#include "core/text.h"

namespace byoc {

namespace {

/// What can be told of a document before it is parsed.
struct Outline {
  size_t depth = 0;   // of brackets; the parser recurses once per level
  size_t fields = 0;  // keys of all objects: the colons outside strings
};

Outline OutlineOf(const std::string& text) {
  Outline outline;
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == ':') {
      ++outline.fields;
    } else if (c == '[' || c == '{') {
      outline.depth = std::max(outline.depth, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return outline;
}

/// Keys of all objects within a value.
size_t CountFields(const tvm::ffi::Any& value) {
  size_t count = 0;
  if (const auto object = value.as<tvm::ffi::json::Object>()) {
    count += object->size();
    for (const auto& [key, inner] : *object) count += CountFields(inner);
  } else if (const auto array = value.as<tvm::ffi::json::Array>()) {
    for (const tvm::ffi::Any& inner : *array) count += CountFields(inner);
  }
  return count;
}

}  // namespace

JsonView JsonView::Parse(const std::string& text, std::string what) {
  constexpr size_t kMaxDepth = 64;
  const Outline outline = OutlineOf(text);
  if (outline.depth > kMaxDepth) ThrowArtifactError(what + ": JSON nested too deeply");
  if (!IsUtf8(text)) ThrowArtifactError(what + ": not valid JSON: not UTF-8");
  tvm::ffi::String error;
  tvm::ffi::Any value = tvm::ffi::json::Parse(tvm::ffi::String(text), &error);
  if (error.size() != 0) ThrowArtifactError(what + ": not valid JSON: " + std::string(error));
  if (CountFields(value) != outline.fields) {
    ThrowArtifactError(what + ": not valid JSON: an object has a key twice");
  }
  return JsonView(std::move(value), std::move(what));
}

void JsonView::Fail(const std::string& problem) const {
  ThrowArtifactError(Printable(path_) + ": " + problem);
}

JsonView JsonView::operator[](const char* key) const {
  auto object = value_.as<tvm::ffi::json::Object>();
  if (!object) Fail("expected an object");
  auto found = object->find(tvm::ffi::String(key));
  if (found == object->end()) Fail(std::string("key \"") + key + "\" is missing");
  return JsonView((*found).second, path_ + "." + key);
}

std::optional<JsonView> JsonView::Find(const char* key) const {
  auto object = value_.as<tvm::ffi::json::Object>();
  if (!object) Fail("expected an object");
  auto found = object->find(tvm::ffi::String(key));
  if (found == object->end() || (*found).second == nullptr) return std::nullopt;
  return JsonView((*found).second, path_ + "." + key);
}

std::vector<std::pair<std::string, JsonView>> JsonView::Fields() const {
  auto object = value_.as<tvm::ffi::json::Object>();
  if (!object) Fail("expected an object");
  std::vector<std::pair<std::string, JsonView>> fields;
  for (const auto& [key, value] : *object) {
    const std::string name = key.cast<tvm::ffi::String>();
    fields.emplace_back(name, JsonView(value, path_ + "." + name));
  }
  return fields;
}

std::vector<JsonView> JsonView::Items() const {
  auto array = value_.as<tvm::ffi::json::Array>();
  if (!array) Fail("expected an array");
  std::vector<JsonView> items;
  items.reserve(array->size());
  for (size_t i = 0; i < array->size(); ++i) {
    items.push_back(JsonView((*array)[i], path_ + "[" + std::to_string(i) + "]"));
  }
  return items;
}

int64_t JsonView::Int(int64_t low, int64_t high) const {
  // An integer only: Any converts booleans and whole floats too when asked with `as`.
  if (value_.type_index() != tvm::ffi::TypeIndex::kTVMFFIInt) Fail("expected an integer");
  const int64_t number = value_.cast<int64_t>();
  if (number < low || number > high) {
    Fail(std::to_string(number) + " is not between " + std::to_string(low) + " and " +
         std::to_string(high));
  }
  return number;
}

std::optional<int64_t> JsonView::TryInt(int64_t low, int64_t high) const {
  if (value_.type_index() != tvm::ffi::TypeIndex::kTVMFFIInt) return std::nullopt;
  const int64_t number = value_.cast<int64_t>();
  return number < low || number > high ? std::nullopt : std::optional<int64_t>(number);
}

double JsonView::Double() const {
  const int32_t type = value_.type_index();
  if (type != tvm::ffi::TypeIndex::kTVMFFIInt && type != tvm::ffi::TypeIndex::kTVMFFIFloat) {
    Fail("expected a number");
  }
  return value_.cast<double>();
}

bool JsonView::Bool() const {
  if (value_.type_index() != tvm::ffi::TypeIndex::kTVMFFIBool) Fail("expected true or false");
  return value_.cast<bool>();
}

bool JsonView::IsString() const { return value_.as<tvm::ffi::String>().has_value(); }

std::string JsonView::Text() const {
  return std::string(tvm::ffi::json::Stringify(value_, std::nullopt));
}

std::string JsonView::String() const {
  auto text = value_.as<tvm::ffi::String>();
  if (!text) Fail("expected a string");
  return std::string(*text);
}

std::vector<int64_t> JsonView::Ints(int64_t low, int64_t high) const {
  std::vector<int64_t> numbers;
  for (const JsonView& item : Items()) numbers.push_back(item.Int(low, high));
  return numbers;
}

std::vector<std::string> JsonView::Strings() const {
  std::vector<std::string> strings;
  for (const JsonView& item : Items()) strings.push_back(item.String());
  return strings;
}

}  // namespace byoc

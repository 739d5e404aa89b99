#include "core/text.h"

#include <cstddef>
#include <cstdint>

namespace byoc {
namespace {

/*!
 * \brief Bytes of the well-formed character at `at`, 0 when there is none (Unicode, table 3-7:
 * no overlong forms, no surrogates, nothing beyond U+10FFFF).
 */
size_t CharacterAt(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  uint32_t code = first & (0xffu >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return first < 0xc0 || code < kSmallest[size] || code > 0x10ffff || surrogate ? 0 : size;
}

}  // namespace

bool IsUtf8(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = CharacterAt(text, at);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

std::string Printable(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = CharacterAt(text, at);
    const auto c = static_cast<unsigned char>(text[at]);
    const auto next = static_cast<unsigned char>(at + 1 < text.size() ? text[at + 1] : 0);
    const bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0);  // C0, DEL, C1
    if (size == 0 || control) {
      out += "\\x";
      out += "0123456789abcdef"[c >> 4];
      out += "0123456789abcdef"[c & 15];
      ++at;
    } else {
      out += text.substr(at, size);
      at += size;
    }
  }
  return out;
}

std::string InPlainWords(const std::string& message) {
  std::string text = message;
  const auto drop = [&text](size_t from, size_t to) { text.erase(from, to - from); };
  const std::string check = "Check failed: ", is_false = " is false: ", than = " vs. ";
  while (true) {
    const size_t from = text.find(check);
    if (from == std::string::npos) break;
    const size_t end = text.find(is_false, from);
    const size_t values = text.rfind('(', text.find(than, from));  // "a == b (1 vs. 2) : …"
    if (end != std::string::npos) {
      drop(from, end + is_false.size());
    } else if (values != std::string::npos && values > from) {
      drop(from, values);
    } else {
      drop(from, from + check.size());
    }
  }
  for (const std::string number : {"T.int32(", "T.int64("}) {
    for (size_t at = text.find(number); at != std::string::npos; at = text.find(number, at)) {
      const size_t end = text.find(')', at);
      if (end != std::string::npos) text.erase(end, 1);
      drop(at, at + number.size());
    }
  }
  for (size_t at = text.find("R.Tensor("); at != std::string::npos; at = text.find("R.Tensor(")) {
    drop(at, at + 2);
  }
  return text;
}

}  // namespace byoc

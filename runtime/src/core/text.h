/// \file
/// Words of a file, made fit for a message.
#ifndef BYOC_RUNTIME_TEXT_H_
#define BYOC_RUNTIME_TEXT_H_

#include <string>

namespace byoc {

/// Whether a text is well-formed UTF-8.
bool IsUtf8(const std::string& text);

/// Returns the text with everything but printable ASCII and well-formed UTF-8 as `\xNN`.
///
/// A name that comes out of a file may hold control sequences of terminals, or bytes that no caller
/// can decode.
std::string Printable(const std::string& text);

/// Returns `Printable` between single quotes.
inline std::string Quoted(const std::string& text) { return "'" + Printable(text) + "'"; }

/// Returns a message of TVM's in plain words: without the code that found the fault, and sizes as
/// numbers ("Check failed: (ptr->ndim == ndim) is false: expected 4" → "expected 4", "T.int64(3)" →
/// "3").
std::string InPlainWords(const std::string& message);

}  // namespace byoc

#endif  // BYOC_RUNTIME_TEXT_H_

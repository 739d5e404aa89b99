/// \file error.h
/// \brief The one exception of this library: a message for the user.
#ifndef BYOC_DNNL_ERROR_H_
#define BYOC_DNNL_ERROR_H_

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace byoc::onednn {

/// The program cannot be read, built or run; `what()` says why in words for the user.
class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throw a ProgramError whose message is the parts, written one after another with `<<`.
template <typename... Parts>
[[noreturn]] void Fail(Parts&&... parts) {
  std::ostringstream message;
  (message << ... << std::forward<Parts>(parts));
  throw ProgramError(message.str());
}

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_ERROR_H_

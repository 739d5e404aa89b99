/// \file
/// Kinds of error that Python turns into the classes of byoc.errors.
#ifndef BYOC_RUNTIME_ERRORS_H_
#define BYOC_RUNTIME_ERRORS_H_

#include <tvm/ffi/error.h>

#include <string>

namespace byoc {

/// Throws byoc.ArtifactError: a plan or artifact is damaged or inconsistent.
[[noreturn]] inline void ThrowArtifactError(const std::string& message) {
  throw tvm::ffi::Error("byoc.ArtifactError", message, "");
}

/// What a caller asked for is not legal.
[[noreturn]] inline void ThrowOptionError(const std::string& message) {
  throw tvm::ffi::Error("byoc.OptionError", message, "");
}

/// A task failed at run time.
[[noreturn]] inline void ThrowExecutionError(const std::string& message) {
  throw tvm::ffi::Error("byoc.ExecutionError", message, "");
}

/// Throws byoc.VendorError: a vendor could not be used.
[[noreturn]] inline void ThrowVendorError(const std::string& message) {
  throw tvm::ffi::Error("byoc.VendorError", message, "");
}

/// Kinds of error of a vendor in a process of its own: it died; it was too slow and was killed; it
/// is starting again.
inline constexpr const char* kCrash = "Crash";
inline constexpr const char* kDeadline = "Deadline";
inline constexpr const char* kRestarting = "Restarting";

}  // namespace byoc

#endif  // BYOC_RUNTIME_ERRORS_H_

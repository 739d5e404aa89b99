/*! \brief Kinds of error that Python turns into the classes of byoc.errors. */
#ifndef BYOC_RUNTIME_ERRORS_H_
#define BYOC_RUNTIME_ERRORS_H_

#include <tvm/ffi/error.h>

#include <string>

namespace byoc {

/*! \brief A plan or artifact is damaged or inconsistent. */
[[noreturn]] inline void ThrowArtifactError(const std::string& message) {
  throw tvm::ffi::Error("byoc.ArtifactError", message, "");
}

/*! \brief A task failed at run time. */
[[noreturn]] inline void ThrowExecutionError(const std::string& message) {
  throw tvm::ffi::Error("byoc.ExecutionError", message, "");
}

}  // namespace byoc

#endif  // BYOC_RUNTIME_ERRORS_H_

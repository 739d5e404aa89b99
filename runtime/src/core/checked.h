/// \file
/// Functions of C libraries, which may return a status and leave no error behind.
#ifndef BYOC_RUNTIME_CHECKED_H_
#define BYOC_RUNTIME_CHECKED_H_

#include <tvm/ffi/c_api.h>
#include <tvm/ffi/cast.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>

#include <utility>

namespace byoc {

/// Throws the error that a function of a C library has raised, where its status is not 0.
inline void ThrowRaised(int status) {
  namespace ffi = tvm::ffi;
  if (status == 0) return;
  TVMFFIObjectHandle raised = nullptr;
  TVMFFIErrorMoveFromRaised(&raised);
  if (raised == nullptr) {
    TVM_FFI_THROW(RuntimeError) << "the library returned status " << status << ", no error";
  }
  TVMFFIErrorSetRaised(raised);
  TVMFFIObjectDecRef(raised);
  throw ffi::details::MoveFromSafeCallRaised();
}

/// Returns a function that throws whatever goes wrong in `function`; that itself where it does so.
///
/// tvm-ffi throws the error that belongs to a status, and crashes where there is none.
inline tvm::ffi::Function Checked(tvm::ffi::Function function) {
  namespace ffi = tvm::ffi;
  const auto* object = static_cast<const ffi::FunctionObj*>(function.get());
  if (object->cpp_call != nullptr) return function;
  return ffi::Function::FromPacked(
      [function = std::move(function)](ffi::PackedArgs args, ffi::Any* result) {
        auto* self =
            const_cast<ffi::FunctionObj*>(static_cast<const ffi::FunctionObj*>(function.get()));
        ThrowRaised(self->safe_call(self, reinterpret_cast<const TVMFFIAny*>(args.data()),
                                    args.size(), reinterpret_cast<TVMFFIAny*>(result)));
      });
}

}  // namespace byoc

#endif  // BYOC_RUNTIME_CHECKED_H_

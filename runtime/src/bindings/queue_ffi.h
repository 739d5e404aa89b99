/*! \brief Calls that a vendor ends later, as vendors see them: in C++ and in Python. */
#ifndef BYOC_RUNTIME_QUEUE_FFI_H_
#define BYOC_RUNTIME_QUEUE_FFI_H_

#include <tvm/ffi/function.h>

#include <memory>

#include "core/pending_call.h"

namespace byoc {

/*!
 * \brief The vendor's end of a call: control(what, ...), see `details::CallControl` of
 * byoc/vendor.h. Where nobody has it any more and the call has not ended, it never will: it fails.
 */
tvm::ffi::Function ControlOf(std::shared_ptr<PendingCall> call);

}  // namespace byoc

#endif  // BYOC_RUNTIME_QUEUE_FFI_H_

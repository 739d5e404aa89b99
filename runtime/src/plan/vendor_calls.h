/// \file
/// What a vendor sees of a call that it ends later, in C++ and in Python alike.
#ifndef BYOC_RUNTIME_VENDOR_CALLS_H_
#define BYOC_RUNTIME_VENDOR_CALLS_H_

#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "core/pending_call.h"

namespace byoc {

/// Returns the vendor's end of a call: control(what, ...), see `details::CallControl` of
/// byoc/vendor.h. Where nobody has it any more and the call has not ended, it never will: it fails.
tvm::ffi::Function ControlOf(std::shared_ptr<PendingCall> call);

/// Makes one call: `submit` begins it and gives the control to the vendor. Waits for the end, also
/// when `submit` throws after it has begun something.
void CallQueued(SegmentQueue* queue, const std::function<void(tvm::ffi::Function)>& submit);

/// Returns the queue of a native segment, begin() -> [control, wait], and tells its depth to who
/// binds it (`TellDepth`). Registered as "byoc.runtime.segment_queue" for vendors' libraries.
tvm::ffi::Function MakeSegmentQueue(const tvm::ffi::String& vendor, int64_t depth);

}  // namespace byoc

#endif  // BYOC_RUNTIME_VENDOR_CALLS_H_

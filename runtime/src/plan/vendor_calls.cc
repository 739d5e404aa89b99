#include "plan/vendor_calls.h"

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/string.h>

#include <exception>
#include <string>
#include <utility>

#include "byoc/vendor.h"
#include "core/processor.h"
#include "plan/binding.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

/// What the copies of a control share; the last one that goes drops the call.
class VendorEnd {
 public:
  explicit VendorEnd(std::shared_ptr<PendingCall> call) : call_(std::move(call)) {}
  ~VendorEnd() { call_->Drop(); }
  VendorEnd(const VendorEnd&) = delete;
  VendorEnd& operator=(const VendorEnd&) = delete;

  void Do(ffi::PackedArgs args, ffi::Any* result) const {
    switch (static_cast<details::CallControl>(args[0].cast<int64_t>())) {
      case details::CallControl::kDone:
        *result = call_->End(nullptr);
        break;
      case details::CallControl::kFail: {
        const std::string error(args[1].cast<ffi::String>());
        *result = call_->End(&error);
        break;
      }
      case details::CallControl::kCancelled:
        *result = call_->Cancelled();
        break;
      case details::CallControl::kOnCancel:
        call_->OnCancel([tell = args[1].cast<ffi::Function>()] { tell(); });
        break;
      case details::CallControl::kDue:
        *result = call_->due();
        break;
    }
    // Python's threads are torn down at the end of the process, with what is below their frames.
    Processor::BlockIfShuttingDown();
  }

 private:
  const std::shared_ptr<PendingCall> call_;
};

}  // namespace

ffi::Function MakeSegmentQueue(const ffi::String& vendor, int64_t depth) {
  TellDepth(depth);
  auto queue = std::make_shared<SegmentQueue>(std::string(vendor));
  return ffi::Function::FromTyped([queue] {
    const std::shared_ptr<PendingCall> call = queue->Begin();
    return ffi::Array<ffi::Function>{ControlOf(call),
                                     ffi::Function::FromTyped([call] { call->Wait(); })};
  });
}

void CallQueued(SegmentQueue* queue, const std::function<void(ffi::Function)>& submit) {
  const std::shared_ptr<PendingCall> call = queue->Begin();
  std::exception_ptr failed;
  try {
    submit(ControlOf(call));
  } catch (...) {
    failed = std::current_exception();
  }
  try {
    call->Wait();
  } catch (...) {
    if (!failed) throw;
  }
  if (failed) std::rethrow_exception(failed);
}

ffi::Function ControlOf(std::shared_ptr<PendingCall> call) {
  auto end = std::make_shared<VendorEnd>(std::move(call));
  return ffi::Function::FromPacked(
      [end = std::move(end)](ffi::PackedArgs args, ffi::Any* result) { end->Do(args, result); });
}

}  // namespace byoc

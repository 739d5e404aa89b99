/*!
 * \brief A function that can be exchanged while it is being called.
 *
 *   call ──▶ slot ──▶ host twin          until the vendor's engine is there,
 *              └────▶ engine             from then on
 *
 * A call runs the function it met to its end, whatever is set meanwhile; who calls after `Set` has
 * returned meets the new one. The old one goes when its last call has ended.
 */
#ifndef BYOC_RUNTIME_SLOT_H_
#define BYOC_RUNTIME_SLOT_H_

#include <tvm/ffi/function.h>

#include <memory>
#include <utility>

namespace byoc {

class Slot {
 public:
  explicit Slot(tvm::ffi::Function first) { Set(std::move(first)); }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  /*! \brief Any thread, any number at once. */
  void Call(tvm::ffi::PackedArgs args, tvm::ffi::Any* result) const {
    std::atomic_load(&function_)->CallPacked(args, result);
  }

  /*! \brief Any thread. */
  void Set(tvm::ffi::Function next) {
    std::atomic_store(&function_, std::make_shared<const tvm::ffi::Function>(std::move(next)));
  }

 private:
  std::shared_ptr<const tvm::ffi::Function> function_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_SLOT_H_

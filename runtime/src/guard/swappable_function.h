/// \file
/// A function that can be exchanged while it is being called.
///
///   call ──▶ SwappableFunction ──▶ fallback on the host    until the vendor's engine is there,
///                     └──────────▶ engine                  from then on
#ifndef BYOC_RUNTIME_SWAPPABLE_FUNCTION_H_
#define BYOC_RUNTIME_SWAPPABLE_FUNCTION_H_

#include <tvm/ffi/function.h>

#include <memory>
#include <utility>

namespace byoc {

/// Calls the function that was set last. Any number of threads may call it at once.
///
/// A call runs the function it met to its end, whatever is set meanwhile; who calls after `Set` has
/// returned meets the new one. The old one goes when its last call has ended.
class SwappableFunction {
 public:
  /// \param first what is called until `Set`.
  explicit SwappableFunction(tvm::ffi::Function first) { Set(std::move(first)); }
  SwappableFunction(const SwappableFunction&) = delete;
  SwappableFunction& operator=(const SwappableFunction&) = delete;

  /// Calls the function of now. Any thread, any number at once; throws what the function throws.
  void Call(tvm::ffi::PackedArgs args, tvm::ffi::Any* result) const {
    std::atomic_load(&function_)->CallPacked(args, result);
  }

  /// Exchanges the function. Any thread.
  void Set(tvm::ffi::Function next) {
    std::atomic_store(&function_, std::make_shared<const tvm::ffi::Function>(std::move(next)));
  }

 private:
  std::shared_ptr<const tvm::ffi::Function> function_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_SWAPPABLE_FUNCTION_H_

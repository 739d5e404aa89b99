/// \file
/// Functions that are made when they are first called.
#ifndef BYOC_RUNTIME_LAZY_H_
#define BYOC_RUNTIME_LAZY_H_

#include <tvm/ffi/function.h>

#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace byoc {

/// Returns a function that is made by `make` when it is first called: most fallbacks never are.
///
/// Any thread may call it. What `make` throws, the call throws; the next call tries again.
inline tvm::ffi::Function Lazy(std::function<tvm::ffi::Function()> make) {
  struct State {
    std::function<tvm::ffi::Function()> make;
    std::once_flag once;
    tvm::ffi::Function function;
  };
  auto state = std::make_shared<State>();
  state->make = std::move(make);
  return tvm::ffi::Function::FromPacked([state](tvm::ffi::PackedArgs args, tvm::ffi::Any* result) {
    std::call_once(state->once, [&] { state->function = state->make(); });
    state->function.CallPacked(args, result);
  });
}

}  // namespace byoc

#endif  // BYOC_RUNTIME_LAZY_H_

#include "guard/swappable_function.h"

#include <tvm/ffi/container/tensor.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*! \brief *x = value, and the value after that: a torn swap would write one without the other. */
ffi::Function Fill(int64_t value, std::shared_ptr<std::atomic<int>> alive = nullptr) {
  if (alive != nullptr) ++*alive;
  std::shared_ptr<void> token(nullptr, [alive](void*) {
    if (alive != nullptr) --*alive;
  });
  return ffi::Function::FromPacked([value, token](ffi::PackedArgs args, ffi::Any*) {
    int64_t* x = static_cast<int64_t*>(args[0].cast<void*>());
    x[0] = value;
    x[1] = value + 1;
  });
}

int64_t Call(const SwappableFunction& function) {
  int64_t x[2] = {-1, -1};
  ffi::AnyView args[] = {static_cast<void*>(x)};
  ffi::Any result;
  function.Call(ffi::PackedArgs(args, 1), &result);
  CHECK_EQ(x[1], x[0] + 1);
  return x[0];
}

TEST(ASwappableFunctionCallsWhatWasSetLast) {
  SwappableFunction function(Fill(1));
  CHECK_EQ(Call(function), 1);
  function.Set(Fill(7));
  CHECK_EQ(Call(function), 7);
}

TEST(WhatASwappableFunctionLetGoIsFreed) {
  auto alive = std::make_shared<std::atomic<int>>(0);
  {
    SwappableFunction function(Fill(1, alive));
    function.Set(Fill(2, alive));
    CHECK_EQ(alive->load(), 1);
  }
  CHECK_EQ(alive->load(), 0);
}

TEST(ErrorsComeThroughASwappableFunction) {
  SwappableFunction function(ffi::Function::FromPacked(
      [](ffi::PackedArgs, ffi::Any*) { TVM_FFI_THROW(RuntimeError) << "on fire"; }));
  CHECK_THROWS(Call(function), "on fire");
}

TEST(ThreadsCallASwappableFunctionWhileItIsSet) {
  constexpr int kThreads = 4, kSwaps = 2000;
  SwappableFunction function(Fill(0));
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, calls{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      int64_t last = 0;
      while (!stop.load()) {
        const int64_t value = Call(function);
        if (value < last) ++wrong;  // an older function after a newer one
        last = value;
        ++calls;
      }
    });
  }
  for (int i = 1; i <= kSwaps; ++i) {
    function.Set(Fill(i));
    if (Call(function) != i) ++wrong;  // set returned: the new one answers
  }
  while (calls.load() < kThreads) std::this_thread::yield();
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace byoc

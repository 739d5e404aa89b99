#include "plan/segment_check.h"

#include <tvm/ffi/error.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "check.h"
#include "core/buffer.h"
#include "core/tensors.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

constexpr int64_t kSize = 100;

/// BYOC_CHECK for the life of this value.
class Environment {
 public:
  explicit Environment(const char* value) { setenv("BYOC_CHECK", value, 1); }
  ~Environment() { unsetenv("BYOC_CHECK"); }
};

using Body = std::function<void(DLTensor* x, DLTensor* y)>;

/// y = f(x), one input and one output, as a vendor's execute; `calls` counts.
ffi::Function Segment(Body body, int* calls = nullptr) {
  return ffi::Function::FromPacked([body, calls](ffi::PackedArgs args, ffi::Any*) {
    if (calls != nullptr) ++*calls;
    body(args[0].cast<DLTensor*>(), args[1].cast<DLTensor*>());
  });
}

template <typename T>
T* At(DLTensor* t) {
  return static_cast<T*>(t->data);
}

void Negate(DLTensor* x, DLTensor* y) {
  for (int64_t i = 0; i < x->shape[0]; ++i) At<float>(y)[i] = -At<float>(x)[i];
}

struct Pair {
  explicit Pair(DLDataType dtype = {kDLFloat, 32, 1}, int64_t size = kSize)
      : x(NewTensor(ffi::Shape({size}), dtype)), y(NewTensor(ffi::Shape({size}), dtype)) {
    const size_t bytes = ffi::GetDataSize(*x.GetDLTensorPtr());
    for (size_t i = 0; i < bytes; ++i) static_cast<uint8_t*>(x.data_ptr())[i] = i % 7 + 1;
  }
  ffi::Tensor x, y;
};

TEST(AGoodSegmentIsCalledOnce) {
  int calls = 0;
  const ffi::Function run = WatchSegment(Segment(Negate, &calls), 1);
  Pair pair;
  run(pair.x, pair.y);
  run(pair.x, pair.y);
  CHECK_EQ(calls, 2);
  CHECK_EQ(static_cast<float*>(pair.y.data_ptr())[3], -static_cast<float*>(pair.x.data_ptr())[3]);
}

TEST(TheFirstCallTellsWhatIsNotWritten) {
  const std::vector<std::pair<int64_t, const char*>> written = {
      {0,
       "left 100 of the 100 elements of outputs[0] (float32[100]) as they were, the first at flat "
       "index 0"},
      {40,
       "left 60 of the 100 elements of outputs[0] (float32[100]) as they were, the first at flat "
       "index 40"},
      {99,
       "left 1 of the 100 elements of outputs[0] (float32[100]) as they were, the first at flat "
       "index 99"},
  };
  for (const char* check : {"0", "1"}) {
    const Environment environment(check);
    for (const auto& [count, message] : written) {
      const auto run = WatchSegment(Segment([count = count](DLTensor* x, DLTensor* y) {
                                      std::memcpy(y->data, x->data, static_cast<size_t>(4 * count));
                                    }),
                                    1);
      Pair pair;
      CHECK_THROWS(run(pair.x, pair.y), message);
    }
  }
}

TEST(AMistakeStaysOneUntilItIsMended) {
  bool mended = false;
  const auto run = WatchSegment(Segment([&](DLTensor* x, DLTensor* y) {
                                  if (mended) Negate(x, y);
                                }),
                                1);
  Pair pair;
  CHECK_THROWS(run(pair.x, pair.y), "VendorError: vendor author: execute left");
  CHECK_THROWS(run(pair.x, pair.y), "left 100");
  mended = true;
  run(pair.x, pair.y);
}

TEST(EveryDtypeAndSizeIsWatched) {
  for (const DLDataType dtype : {DLDataType{kDLFloat, 16, 1}, DLDataType{kDLInt, 8, 1},
                                 DLDataType{kDLBool, 8, 1}, DLDataType{kDLFloat, 64, 1}}) {
    for (const int64_t size : {1, 2, 7, 8, 9, 100}) {
      const Environment environment("1");
      Pair pair(dtype, size);
      const auto nothing = WatchSegment(Segment([](DLTensor*, DLTensor*) {}), 1);
      CHECK_THROWS(nothing(pair.x, pair.y), "elements of outputs[0]");
      const auto copy = WatchSegment(Segment([](DLTensor* x, DLTensor* y) {
                                       std::memcpy(y->data, x->data, ffi::GetDataSize(*x));
                                     }),
                                     1);
      copy(pair.x, pair.y);
      CHECK_EQ(std::memcmp(pair.x.data_ptr(), pair.y.data_ptr(),
                           ffi::GetDataSize(*pair.x.GetDLTensorPtr())),
               0);
    }
  }
  Pair empty({kDLFloat, 32, 1}, 0);
  for (const char* check : {"0", "1"}) {
    const Environment environment(check);
    WatchSegment(Segment([](DLTensor*, DLTensor*) {}), 1)(empty.x, empty.y);
  }
}

TEST(BytesThatMeetTheirPoisonAreNoMistake) {
  // All byte values in every place: some of them equal the poison of their place.
  for (const char* check : {"0", "1"}) {
    const Environment environment(check);
    for (int value = 0; value < 256; ++value) {
      const auto run = WatchSegment(Segment([value](DLTensor*, DLTensor* y) {
                                      std::memset(y->data, value, ffi::GetDataSize(*y));
                                    }),
                                    1);
      Pair pair({kDLUInt, 8, 1}, 37);
      run(pair.x, pair.y);
      CHECK_EQ(int{static_cast<uint8_t*>(pair.y.data_ptr())[36]}, value);
    }
  }
}

TEST(CheckedCallsFindWhatElseIsWritten) {
  const Environment environment("1");
  const std::vector<std::pair<const char*, Body>> mistakes = {
      {"changed inputs[0] (float32[100]), which others read, too",
       [](DLTensor* x, DLTensor* y) {
         Negate(x, y);
         At<float>(x)[50] += 1;
       }},
      {"wrote beyond the end of outputs[0] (float32[100]), 0 bytes behind its last",
       [](DLTensor* x, DLTensor* y) {
         Negate(x, y);
         At<float>(y)[kSize] = 0;
       }},
      {"wrote beyond the end of inputs[0] (float32[100]), 8 bytes behind its last",
       [](DLTensor* x, DLTensor* y) {
         Negate(x, y);
         At<float>(x)[kSize + 2] = 0;
       }},
      {"wrote 4 bytes before the first of outputs[0] (float32[100])",
       [](DLTensor* x, DLTensor* y) {
         Negate(x, y);
         At<float>(y)[-1] = 0;
       }},
      {"computes outputs[0] (float32[100]) from what it held before the call",
       [](DLTensor* x, DLTensor* y) {
         for (int64_t i = 0; i < kSize; ++i) At<uint32_t>(y)[i] += At<uint32_t>(x)[i];
       }},
  };
  for (const auto& [message, body] : mistakes) {
    Pair pair;
    const auto run = WatchSegment(Segment(body), 1);
    CHECK_THROWS(run(pair.x, pair.y), message);
  }
}

TEST(CheckedCallsAreAlignedToTheElementOnly) {
  const Environment environment("1");
  const auto run = WatchSegment(Segment([](DLTensor* x, DLTensor* y) {
                                  for (DLTensor* t : {x, y}) {
                                    const auto address = reinterpret_cast<uintptr_t>(t->data);
                                    CHECK_EQ(address % 4, 0u);
                                    CHECK(address % 8 != 0);
                                  }
                                  Negate(x, y);
                                }),
                                1);
  Pair pair;
  run(pair.x, pair.y);
}

TEST(ChanceIsNotBlamed) {
  const Environment environment("1");
  uint32_t state = 1;
  const auto run = WatchSegment(Segment([&state](DLTensor*, DLTensor* y) {
                                  for (int64_t i = 0; i < kSize; ++i) {
                                    state = state * 1664525 + 1013904223;
                                    At<float>(y)[i] = static_cast<float>(state >> 8);
                                  }
                                }),
                                1);
  Pair pair;
  run(pair.x, pair.y);
}

TEST(WhatIsWrittenOnceOnlyIsFound) {
  const Environment environment("1");
  int calls = 0;
  const auto run = WatchSegment(Segment([&calls](DLTensor* x, DLTensor* y) {
                                  if (calls++ == 0) Negate(x, y);
                                }),
                                1);
  Pair pair;
  CHECK_THROWS(run(pair.x, pair.y), "left 100 of the 100 elements of outputs[0]");
}

TEST(ErrorsAndWrongCallsPassThrough) {
  for (const char* check : {"0", "1"}) {
    const Environment environment(check);
    Pair pair;
    const auto failing = WatchSegment(
        Segment([](DLTensor*, DLTensor*) { TVM_FFI_THROW(ValueError) << "out of paper"; }), 1);
    CHECK_THROWS(failing(pair.x, pair.y), "ValueError: out of paper");
    const auto counting =
        WatchSegment(ffi::Function::FromPacked([](ffi::PackedArgs args, ffi::Any*) {
                       TVM_FFI_THROW(ValueError) << "got " << args.size();
                     }),
                     3);
    CHECK_THROWS(counting(pair.x), "got 1");
  }
}

}  // namespace
}  // namespace byoc

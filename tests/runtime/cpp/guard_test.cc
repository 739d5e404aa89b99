#include "guard/guard.h"

#include <tvm/ffi/container/tensor.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/errors.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*! \brief y = x + `value` on one float, after `before` has had its say. */
template <typename F>
ffi::Function Add(float value, F before) {
  return ffi::Function::FromPacked([=](ffi::PackedArgs args, ffi::Any*) {
    before();
    *static_cast<float*>(args[1].cast<DLTensor*>()->data) =
        *static_cast<float*>(args[0].cast<DLTensor*>()->data) + value;
  });
}

float Call(Guard* guard, float x) {
  float y = 0;
  int64_t one = 1;
  DLTensor in{&x, {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, &one, nullptr, 0}, out = in;
  out.data = &y;
  ffi::AnyView args[] = {&in, &out};
  guard->Call(ffi::PackedArgs(args, 2));
  return y;
}

/*! \brief What a guard told, as "kind number replaced". */
struct Told {
  std::vector<std::string> lines;
  Guard::Report report() {
    return [this](const std::string& kind, const std::string&, int64_t count, bool replaced) {
      lines.push_back(kind + " " + std::to_string(count) + (replaced ? " replaced" : ""));
    };
  }
};

TEST(AVendorInAProcessOfItsOwn) {
  // It crashes, starts again (the twin answers, nothing is counted), is too slow, is well.
  int calls = 0;
  const char* const kinds[] = {kCrash, kRestarting, kRestarting, kDeadline};
  Told told;
  Guard guard(
      "s",
      Add(1,
          [&] {
            if (calls < 4) throw ffi::Error(kinds[calls++], "gone", "");
          }),
      1, [] { return Add(10, [] {}); }, {3, 0, false}, told.report());
  for (int i = 0; i < 4; ++i) CHECK_EQ(Call(&guard, 1), 11.0f);
  CHECK_EQ(Call(&guard, 1), 2.0f);
  CHECK_EQ(told.lines.size(), size_t{2});
  CHECK_EQ(told.lines[0], std::string("crash 1"));
  CHECK_EQ(told.lines[1], std::string("deadline 2"));
}

TEST(TheTwinAnswersForAVendorThatThrows) {
  std::atomic<int> calls{0};
  Told told;
  const auto twin = [] { return Add(10, [] {}); };
  Guard guard("s",
              Add(1,
                  [&] {
                    if (++calls >= 2) throw std::runtime_error("on fire");
                  }),
              1, twin, {2, 0, false}, told.report());
  CHECK_EQ(Call(&guard, 1), 2.0f);
  for (int i = 0; i < 4; ++i) CHECK_EQ(Call(&guard, 1), 11.0f);
  CHECK_EQ(calls.load(), 3);
  CHECK(told.lines == (std::vector<std::string>{"error 1", "error 2 replaced"}));
}

TEST(BothMayFail) {
  const auto fail = [] { throw std::runtime_error("on fire"); };
  const auto twin = [] { return Add(0, [] { TVM_FFI_THROW(ValueError) << "me too"; }); };
  Guard guard("s", Add(1, fail), 1, twin, {9, 0, false}, nullptr);
  CHECK_THROWS(Call(&guard, 1), "on fire; its host twin failed, too: ValueError: me too");
}

TEST(LateAnswersAreLeftBehind) {
  // Static: the helper left behind reads them after this test has ended.
  static std::atomic<bool> go{false};
  static std::atomic<int> calls{0};
  Told told;
  {
    Guard guard(
        "s",
        Add(1,
            [&] {
              if (++calls == 1) {
                while (!go) std::this_thread::yield();
              }
            }),
        1, [] { return Add(10, [] {}); }, {9, 0.05, false}, told.report());
    CHECK_EQ(Call(&guard, 1), 11.0f);
    go = true;
    for (int i = 0; i < 20; ++i) {
      const float y = Call(&guard, 2);
      CHECK(y == 3.0f || y == 12.0f);  // on a busy machine any call may be late
    }
  }
  CHECK(told.lines.front() == "deadline 1");
}

TEST(GuardsAreReentrant) {
  std::atomic<int> calls{0};
  Guard guard(
      "s",
      Add(1,
          [&] {
            if (++calls % 3 == 0) throw std::runtime_error("now and then");
          }),
      1, [] { return Add(1, [] {}); }, {1000000, 0, true}, nullptr);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        if (Call(&guard, static_cast<float>(i)) != static_cast<float>(i + 1)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace byoc

#include "model.h"

#include <byoc/threads.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "programs.h"

namespace byoc::onednn {
namespace {

const char kConv[] = R"("attrs": {"strides": [1, 1], "dilations": [1, 1], "pads_begin": [1, 1],
                        "pads_end": [1, 1], "groups": 1})";

std::string Conv(const std::string& inputs, int output, const std::string& post = "") {
  return R"({"kind": "convolution", "inputs": )" + inputs + ", \"outputs\": [" +
         std::to_string(output) + "], " + kConv + ", \"post\": [" + post + "]}";
}

/*! \brief A plain 3x3 convolution with padding 1, then max(y, 0) when `relu`. */
void ReferenceConv(const Array& x, const Array& w, Array* y, bool relu) {
  int64_t c = x.shape[1], h = x.shape[2], wd = x.shape[3], o = w.shape[0];
  for (int64_t n = 0; n < x.shape[0]; ++n) {
    for (int64_t k = 0; k < o; ++k) {
      for (int64_t i = 0; i < h; ++i) {
        for (int64_t j = 0; j < wd; ++j) {
          float sum = 0;
          for (int64_t q = 0; q < c * 9; ++q) {
            int64_t s = i + q % 9 / 3 - 1, t = j + q % 3 - 1;
            if (s < 0 || t < 0 || s >= h || t >= wd) continue;
            sum += x.data[((n * c + q / 9) * h + s) * wd + t] * w.data[k * c * 9 + q];
          }
          y->data[((n * o + k) * h + i) * wd + j] = relu ? std::max(sum, 0.f) : sum;
        }
      }
    }
  }
}

float Distance(const Floats& a, const Floats& b) {
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
  return worst;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

const char kResidual[] = R"({"post": "binary", "alg": "add", "value": 2},
                            {"post": "eltwise", "alg": "relu"})";

/*! \brief y = relu(conv(relu(conv(x))) + relu(conv(x))): the middle value feeds conv and sum. */
std::string ResidualBlock(const std::string& batch) {
  std::string map = "[" + batch + ", 32, 6, 6]";
  return Text({map, "[32, 32, 3, 3]", map, map}, "[0]", "[3]", R"({"1": 0})",
              Conv("[0, 1]", 2, R"({"post": "eltwise", "alg": "relu"})") + "," +
                  Conv("[2, 1]", 3, kResidual));
}

Floats ResidualReference(const Array& x, const Array& w) {
  Array middle(x.shape), y(x.shape);
  ReferenceConv(x, w, &middle, true);
  ReferenceConv(middle, w, &y, false);
  for (size_t i = 0; i < y.data.size(); ++i) {
    y.data[i] = std::max(y.data[i] + middle.data[i], 0.f);
  }
  return y.data;
}

TEST(ModelRunsAResidualBlock) {
  Array w({32, 32, 3, 3}, 5);
  for (float& v : w.data) v *= 0.1f;
  std::unique_ptr<Model> model = Load(ResidualBlock("2"), {w.AsConstant()});
  Array x({2, 32, 6, 6}, 3), y(x.shape);
  model->Run({x.Ref()}, {y.Ref()});
  CHECK(Distance(y.data, ResidualReference(x, w)) < 1e-4f);
  CHECK(!model->ConstantsInUse()[0]);  // packed
}

TEST(ModelServesManyThreads) {
  Array w({32, 32, 3, 3}, 5);
  for (float& v : w.data) v *= 0.1f;
  std::unique_ptr<Model> model = Load(ResidualBlock(R"("n")"), {w.AsConstant()});
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      threads::SetMax(t + 1);  // a setting of the caller's, neither used nor changed
      for (int i = 0; i < 6; ++i) {
        Array x({1 + (t + i) % 3, 32, 6, 6}, static_cast<uint32_t>(10 * t + i)), y(x.shape);
        model->Run({x.Ref()}, {y.Ref()});
        if (Distance(y.data, ResidualReference(x, w)) > 1e-4f) ++wrong;
      }
      if (threads::Max() != t + 1) ++wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

TEST(ModelKeepsABoundedNumberOfInstances) {
  std::string blob = ResidualBlock(R"("n")");
  blob.insert(1, "\"instances\": 2, ");
  Array w({32, 32, 3, 3}, 5);
  for (float& v : w.data) v *= 0.1f;
  std::unique_ptr<Model> model = Load(blob, {w.AsConstant()});
  for (int64_t n : {1, 2, 3, 1, 2, 3, 3, 1}) {
    Array x({n, 32, 6, 6}, 7), y(x.shape);
    model->Run({x.Ref()}, {y.Ref()});
    CHECK(Distance(y.data, ResidualReference(x, w)) < 1e-4f);
  }
  CHECK(model->ConstantsInUse()[0]);  // a later shape may want it packed otherwise
}

TEST(ModelJoinsConvolutions) {
  std::string map = "[1, 32, 6, 6]";
  std::string blob =
      Text({map, "[32, 32, 3, 3]", map, map, "[1, 64, 6, 6]", "[1, 64, 6, 6]"}, "[0]", "[5]",
           R"({"1": 0})",
           Conv("[0, 1]", 2) + "," + Conv("[2, 1]", 3) +
               R"(, {"kind": "concat", "inputs": [2, 3], "outputs": [4], "attrs": {"axis": 1}},
             {"kind": "eltwise", "inputs": [4], "outputs": [5], "attrs": {"alg": "relu"}})");
  Array w({32, 32, 3, 3}, 5), x({1, 32, 6, 6}, 3), y({1, 64, 6, 6});
  for (float& v : w.data) v *= 0.1f;
  std::unique_ptr<Model> model = Load(blob, {w.AsConstant()});
  model->Run({x.Ref()}, {y.Ref()});
  Array first(x.shape), second(x.shape);
  ReferenceConv(x, w, &first, false);
  ReferenceConv(first, w, &second, false);
  Floats expected = first.data;
  expected.insert(expected.end(), second.data.begin(), second.data.end());
  for (float& v : expected) v = std::max(v, 0.f);
  CHECK(Distance(y.data, expected) < 1e-4f);
}

TEST(ModelWritesConcatsInPlace) {
  auto relu = [](const char* from, const char* to) {
    return std::string(R"({"kind": "eltwise", "attrs": {"alg": "relu"}, "inputs": [)") + from +
           R"(], "outputs": [)" + to + "]}";
  };
  // One concat inside another: both parts are written where the outer result has them.
  std::string blob = Text({"[2, 3]", "[2, 3]", "[2, 3]", "[4, 3]", "[6, 3]"}, "[0]", "[4]", "{}",
                          relu("0", "1") + "," + relu("1", "2") + R"(,
      {"kind": "concat", "inputs": [1, 2], "outputs": [3], "attrs": {"axis": 0}},
      {"kind": "concat", "inputs": [0, 3], "outputs": [4], "attrs": {"axis": 0}})");
  std::unique_ptr<Model> model = Load(blob);
  Array x({2, 3}, 3), y({6, 3});
  model->Run({x.Ref()}, {y.Ref()});
  for (size_t i = 0; i < 6; ++i) {
    CHECK_EQ(y.data[i], x.data[i]);
    CHECK_EQ(y.data[6 + i], std::max(x.data[i], 0.f));
    CHECK_EQ(y.data[12 + i], std::max(x.data[i], 0.f));
  }
  CHECK_EQ(Count(model->Describe({}), "concat"), 1);  // the copy of the input alone
}

TEST(ModelMovesNoDataForViews) {
  std::string blob =
      Text({"[2, 3, 4]", "[4, 2, 3]", "[4, 6]", "[4, 2]"}, "[0]", "[3]", "{}",
           R"({"kind": "transpose", "inputs": [0], "outputs": [1], "attrs": {"axes": [2, 0, 1]}},
         {"kind": "reshape", "inputs": [1], "outputs": [2], "attrs": {}},
         {"kind": "slice", "inputs": [2], "outputs": [3],
          "attrs": {"begin": [0, 1], "end": [4, 6], "strides": [1, 4]}})");
  std::unique_ptr<Model> model = Load(blob);
  Array x({2, 3, 4}, 1), y({4, 2});
  model->Run({x.Ref()}, {y.Ref()});
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 2; ++j) CHECK_EQ(y.data[i * 2 + j], x.data[(1 + 4 * j) * 4 + i]);
  }
  CHECK_EQ(Count(model->Describe({}), "\"op\""), 1);  // only the copy to the caller
}

TEST(ModelSaysWhatDoesNotFit) {
  std::unique_ptr<Model> model =
      Load(Text({"[2, 3]", "[2, 3]"}, "[0]", "[1]", "{}",
                R"({"kind": "softmax", "inputs": [0], "outputs": [1], "attrs": {"axis": 1}})"));
  Array x({2, 4}), y({2, 3});
  Refuses("input 0 is float32[2, 4], expected float32[2, 3]",
          [&] { model->Run({x.Ref()}, {y.Ref()}); });
  Refuses("expected 1 inputs, got 0", [&] { model->Run({}, {y.Ref()}); });
  Refuses("softmax 'head' [2, 3] -> [2, 3]: axis 2 is out of range", [] {
    Load(Text({"[2, 3]", "[2, 3]"}, "[0]", "[1]", "{}",
              R"({"kind": "softmax", "inputs": [0], "outputs": [1], "attrs": {"axis": 2},
                     "source": "head"})"));
  });
  Array w({4, 5, 3, 3}, 1);
  Refuses("[1, 4, 6, 6], [4, 5, 3, 3] -> [1, 4, 6, 6]: oneDNN has no implementation", [&] {
    Load(Text({"[1, 4, 6, 6]", "[4, 5, 3, 3]", "[1, 4, 6, 6]"}, "[0]", "[2]", R"({"1": 0})",
              Conv("[0, 1]", 2)),
         {w.AsConstant()});
  });
  Refuses("constant 0 is float32[4, 5, 3, 3]", [&] {
    Load(Text({"[3]", "[3]"}, "[]", "[1]", R"({"0": 0})",
              R"({"kind": "reshape", "inputs": [0], "outputs": [1], "attrs": {}})"),
         {w.AsConstant()});
  });
  Refuses("legal: nearest, linear", [] {
    Load(Text({"[1, 1, 2, 2]", "[1, 1, 4, 4]"}, "[0]", "[1]", "{}",
              R"({"kind": "resize", "inputs": [0], "outputs": [1],
                     "attrs": {"alg": "cubic", "coordinate": "half_pixel", "rounding": "floor"}})"));
  });
}

TEST(ModelRecoversFromAFailedCall) {
  std::string blob =
      R"({"version": 1, "values": [{"shape": [3, 2], "dtype": "float32"},
          {"shape": [2], "dtype": "int64"}, {"shape": [2, 2], "dtype": "float32"}],
          "inputs": [0, 1], "outputs": [2], "constants": {},
          "ops": [{"kind": "gather", "inputs": [0, 1], "outputs": [2], "attrs": {"axis": 0}}]})";
  std::unique_ptr<Model> model = Load(blob);
  Array x({3, 2}, 1), y({2, 2});
  std::vector<int64_t> indices = {0, 3};
  Dims shape = {2};
  TensorRef index{indices.data(), shape.data(), 1, DType::kInt64};
  Refuses("index 3 is out of range for an axis of 3",
          [&] { model->Run({x.Ref(), index}, {y.Ref()}); });
  indices[1] = -1;
  model->Run({x.Ref(), index}, {y.Ref()});
  CHECK_EQ(y.data[2], x.data[4]);
}

TEST(ModelHasNothingToDoForEmptyTensors) {
  std::unique_ptr<Model> model =
      Load(Text({R"(["n", 3])", R"(["n", 3])"}, "[0]", "[1]", "{}",
                R"({"kind": "softmax", "inputs": [0], "outputs": [1], "attrs": {"axis": 1}})"));
  Array none({0, 3}), nothing({0, 3}), x({1, 3}, 1), y({1, 3});
  model->Run({none.Ref()}, {nothing.Ref()});
  model->Run({x.Ref()}, {y.Ref()});
  CHECK(std::fabs(y.data[0] + y.data[1] + y.data[2] - 1.f) < 1e-6f);
}

}  // namespace
}  // namespace byoc::onednn

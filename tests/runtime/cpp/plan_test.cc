#include "plan/plan.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "plan/flow.h"

namespace byoc {
namespace {

const char* const kGood = R"({"version": 1, "arena_bytes": 128,
 "inputs": [{"name": "x", "tensor": 0}], "outputs": [{"name": "y", "tensor": 1}],
 "tensors": [{"shape": [2, 3], "dtype": "float32", "place": "input", "index": 0, "offset": 0},
             {"shape": [2, 3], "dtype": "float32", "place": "output", "index": 0, "offset": 0},
             {"shape": [6], "dtype": "float32", "place": "arena", "index": 0, "offset": 64},
             {"shape": [6], "dtype": "float32", "place": "constant", "index": 0, "offset": 0}],
 "tasks": [{"kind": "host", "function": "f", "args": [0, 3, 2], "outputs": 1, "deps": [],
            "processor": "cpu", "source": ["layer1/add"]},
           {"kind": "copy", "function": "", "args": [2, 1], "outputs": 1, "deps": [0],
            "processor": "cpu", "source": []}]})";

/*! \brief kGood with one piece of text replaced. */
std::string With(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

void Expect(const std::string& text, const char* message) {
  CHECK_THROWS(ParsePlan(text, {24}), message);
}

TEST(PlanIsRead) {
  const Plan plan = ParsePlan(kGood, {24});
  CHECK_EQ(plan.tensors.size(), 4u);
  CHECK_EQ(plan.tensors[2].nbytes, 24);
  CHECK_EQ(plan.tensors[2].offset, 64);
  CHECK_EQ(plan.tasks[1].deps[0], 0u);
  CHECK_EQ(Describe(plan, 0), "host kernel 'f' (task 0, from 'layer1/add')");
  CHECK_EQ(Describe(plan, 1), "copy (task 1)");
}

TEST(PlanRefusesWhatItCannotRead) {
  Expect("", "not valid JSON");
  Expect("[]", "plan: expected an object");
  Expect(std::string(1000000, '['), "nested too deeply");
  Expect(With("\"version\": 1", "\"version\": 7"), "version 7, this byoc reads version 1");
  Expect(With("\"tasks\"", "\"task\""), "key \"tasks\" is missing");
  Expect(With("[2, 3]", "[2, 3.5]"), "plan.tensors[0].shape[1]: expected an integer");
  Expect(With("[2, 3]", "[2, true]"), "expected an integer");
  Expect(With("\"float32\"", "\"flint32\""), "unknown dtype 'flint32'");
  Expect(With("\"float32\"", "\"float32x4\""), "no whole bytes per element");
  Expect(With("\"arena\"", "\"heap\""), "unknown 'heap'; legal: input, output, constant, arena");
  Expect(With("\"host\"", "\"gpu\""), "legal: host, segment, copy");
}

TEST(PlanKeepsWindowsInside) {
  Expect(With("[2, 3]", "[2, -3]"), "is not between 0");
  Expect(With("[2, 3]", "[99999999999, 99999999999]"), "more than 2^48 bytes");
  Expect(With("\"offset\": 64", "\"offset\": 128"), "tensor 2: bytes 128 to 152 of 128");
  Expect(With("\"offset\": 64", "\"offset\": 66"), "not a multiple of the element size");
  Expect(With("\"offset\": 64", "\"offset\": 100"), "multiples of 64 bytes, found 100");
  Expect(With("\"arena_bytes\": 128", "\"arena_bytes\": 64"), "bytes 64 to 88 of 64");
  CHECK_THROWS(ParsePlan(kGood, {20}), "tensor 3: bytes 0 to 24 of 20");
  CHECK_THROWS(ParsePlan(kGood, {}), "tensor 3: index 0 of 0");
  Expect(With("\"place\": \"arena\", \"index\": 0", "\"place\": \"arena\", \"index\": 1"),
         "tensor 2: index 1 of 1");
}

TEST(PlanChecksPortsAndTasks) {
  Expect(With("\"tensor\": 0", "\"tensor\": 1"), "is not the whole of port 0");
  Expect(With("\"tensor\": 0", "\"tensor\": 9"), "9 is not between 0 and 3");
  Expect(With("[0, 3, 2]", "[0, 3, 4]"), "4 is not between 0 and 3");
  Expect(With("[0, 3, 2]", "[0, 2, 3]"), "writes to an input or constant");
  Expect(With("[0, 3, 2]", "[2, 3, 2]"), "argument 2: overlaps argument 0");
  Expect(With("\"outputs\": 1, \"deps\": [0]", "\"outputs\": 3, \"deps\": [0]"), "between 1 and 2");
  Expect(With("\"deps\": [0]", "\"deps\": [1]"), "1 is not between 0 and 0");
  Expect(With("[2, 1]", "[2, 1, 1]"), "a copy takes one tensor and writes one of the same size");
  Expect(With("\"function\": \"f\"", "\"function\": \"\""), "must name a function");
  Expect(With("\"cpu\"", "\"\""), "must name a processor");
  Expect(With("[2, 1]", "[0, 2]"), "no task writes output 'y'");
}

/*! \brief Tasks over four floats each: "out<in,in deps|lane", places a, b, c in the arena. */
std::string Steps(const std::string& tasks, int64_t b = 64) {
  const auto tensor = [](const char* space, int64_t offset) {
    return "{\"shape\": [4], \"dtype\": \"float32\", \"place\": \"" + std::string(space) +
           "\", \"index\": 0, \"offset\": " + std::to_string(offset) + "}";
  };
  return "{\"version\": 1, \"arena_bytes\": 192, \"inputs\": [{\"name\": \"x\", \"tensor\": 0}], "
         "\"outputs\": [{\"name\": \"y\", \"tensor\": 1}], \"tensors\": [" +
         tensor("input", 0) + "," + tensor("output", 0) + "," + tensor("arena", 0) + "," +
         tensor("arena", b) + "," + tensor("arena", 128) + "], \"tasks\": [" + tasks + "]}";
}

std::string Step(const std::string& args, const std::string& deps, const char* lane = "cpu") {
  return "{\"kind\": \"segment\", \"function\": \"f\", \"args\": [" + args +
         "], \"outputs\": 1, \"deps\": [" + deps + "], \"processor\": \"" + lane +
         "\", \"source\": []}";
}

TEST(PlanReadsWhatWasWritten) {
  const std::string good =
      Step("0, 2", "") + "," + Step("2, 3", "0") + "," + Step("2, 3, 1", "0, 1");
  ParsePlan(Steps(good), {});
  // A missing offset: tensor 3 lies where tensor 2 still lives.
  Expect(Steps(good, 0), "overlaps argument 0");
  const std::string apart = Step("0, 2", "") + "," + Step("0, 3", "") + ",";
  ParsePlan(Steps(apart + Step("2, 3, 1", "0, 1")), {});
  Expect(
      Steps(apart + Step("2, 3, 1", "0, 1"), 0),
      "segment 'f' (task 2) depends on segment 'f' (task 0), but what that wrote to bytes 0 to 16 "
      "of the arena has been overwritten");
  Expect(Steps(apart + Step("2, 1", "0"), 0), "on which it does not depend");
  Expect(Steps(Step("2, 1", "")), "reads bytes 0 to 16 of the arena, not all of which has been");
  Expect(Steps(apart + Step("2, 3, 1", "0")), "on which it does not depend");
  Expect(Steps(Step("0, 2", "")), "no task writes output 'y'");
}

TEST(PlanKeepsLanesApart) {
  const std::string first = Step("0, 2", "") + ",";
  ParsePlan(Steps(first + Step("2, 1", "0", "npu")), {});
  Expect(Steps(first + Step("2, 1", "", "npu")), "on which it does not depend");
  // Who writes again must come after all who read.
  Expect(
      Steps(first + Step("2, 1", "0", "npu") + "," + Step("0, 2", "")),
      "writes to bytes 0 to 16 of the arena, which segment 'f' (task 1) may use at the same time");
  ParsePlan(Steps(first + Step("2, 1", "0", "npu") + "," + Step("0, 2", "1")), {});
  std::string many;
  for (int i = 0; i < 65; ++i) many += Step("0, 1", "", ("p" + std::to_string(i)).c_str()) + ",";
  many.pop_back();
  Expect(Steps(many), "more than 64 processors");
}

/*! \brief What is written at random and read back is refused exactly where the bytes are others. */
TEST(PlanIsRefusedWhereItWouldAnswerDifferently) {
  std::mt19937 random(7);
  int refused = 0, taken = 0;
  for (int round = 0; round < 2000; ++round) {
    constexpr size_t kCells = 6;
    std::vector<int> cells(kCells, -1);
    std::string tasks;
    bool right = true;
    const int count = 3 + static_cast<int>(random() % 4);
    std::vector<std::pair<size_t, int>> written;  // cell, task
    std::string tensors;
    for (size_t cell = 0; cell < kCells; ++cell) {
      tensors +=
          ", {\"shape\": [4], \"dtype\": \"float32\", \"place\": \"arena\", \"index\": 0, "
          "\"offset\": " +
          std::to_string(64 * cell) + "}";
    }
    for (int task = 0; task < count; ++task) {
      std::string read = "0", dep;
      if (!written.empty()) {
        const auto [cell, writer] = written[random() % written.size()];
        read = std::to_string(2 + cell);
        dep = std::to_string(writer);
        right = right && cells[cell] == writer;
      }
      const bool last = task == count - 1;
      const size_t target = random() % kCells;
      if (read == std::to_string(2 + target) && !last) {
        right = false;
      }
      tasks +=
          (task == 0 ? "" : ",") + Step(read + ", " + std::to_string(last ? 1 : 2 + target), dep);
      if (!last) cells[target] = task, written.emplace_back(target, task);
    }
    const std::string plan =
        "{\"version\": 1, \"arena_bytes\": 384, \"inputs\": [{\"name\": \"x\", \"tensor\": 0}], "
        "\"outputs\": [{\"name\": \"y\", \"tensor\": 1}], \"tensors\": ["
        "{\"shape\": [4], \"dtype\": \"float32\", \"place\": \"input\", \"index\": 0, \"offset\": "
        "0},"
        "{\"shape\": [4], \"dtype\": \"float32\", \"place\": \"output\", \"index\": 0, \"offset\": "
        "0}" +
        tensors + "], \"tasks\": [" + tasks + "]}";
    bool accepted = true;
    try {
      ParsePlan(plan, {});
    } catch (const tvm::ffi::Error&) {
      accepted = false;
    }
    if (accepted != right) check::Fail(__FILE__, __LINE__, plan);
    (accepted ? taken : refused) += 1;
  }
  CHECK(refused > 200 && taken > 200);
}

TEST(FallbacksFitTheirSegments) {
  const Plan plan = ParsePlan(Steps(Step("0, 1", "")), {});
  std::string twin = Steps(Step("0, 1", ""));
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = twin;
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
      text.replace(at, from.size(), to);
    }
    return text;
  };
  CHECK_THROWS(ParseFallback("f", twin, {}), "it calls segment 'f', not only the host");
  twin = replaced("\"segment\"", "\"host\"");
  CheckFallback(plan, "f", ParseFallback("f", twin, {}));
  const Plan larger = ParseFallback("f", replaced("[4]", "[5]"), {});
  CHECK_THROWS(CheckFallback(plan, "f", larger),
               "segment 'f': argument 0 is float32[4] in the plan, float32[5] in its host twin");
  CHECK_THROWS(ParseFallback("f", "{", {}), "the host twin of segment 'f': plan: not valid JSON");
}

TEST(PlanSurvivesRandomDamage) {
  std::mt19937 random(1);
  const std::string good = kGood;
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) text.resize(random() % text.size());
    try {
      ParsePlan(text, {24});  // still legal, or an error of ours; never a crash
    } catch (const tvm::ffi::Error& error) {
      CHECK_EQ(std::string(error.kind()), "byoc.ArtifactError");
    }
  }
}

}  // namespace
}  // namespace byoc

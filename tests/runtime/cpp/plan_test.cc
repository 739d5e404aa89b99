#include "plan/plan.h"

#include <random>

#include "check.h"

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

#include <algorithm>

#include "ops/table.h"
#include "programs.h"

namespace byoc::onednn {
namespace {

const char kRelu[] =
    R"({"kind": "eltwise", "inputs": [0], "outputs": [1], "attrs": {"alg": "relu"}, "source": "r"})";

std::string Relu() { return Text({"[2, 3]", "[2, 3]"}, "[0]", "[1]", "{}", kRelu); }

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

void RefusesProgram(const std::string& part, const std::string& blob, int constants = 0) {
  Refuses(part, [&] { ReadProgram(blob, constants); });
}

TEST(ReaderReadsAProgram) {
  Program program = ReadProgram(Relu(), 0);
  CHECK_EQ(program.ops.size(), 1u);
  CHECK(program.ops[0].kind == FindOpKind("eltwise"));
  CHECK_EQ(program.ops[0].source, "r");
  CHECK_EQ(program.ops[0].attrs.String("alg"), "relu");
  CHECK(program.IsStatic());
}

TEST(ReaderBindsVariables) {
  std::string blob =
      Text({R"(["n", "n * 2", "m"])", R"(["n", "n * 2", "m"])"}, "[0]", "[1]", "{}", kRelu);
  Program program = ReadProgram(blob, 0);
  CHECK_EQ(program.variables.Count(), 2);
  CHECK_EQ(program.variable_sources[1].axis, 2);
  RefusesProgram("variable 'k' is bound by no input",
                 Text({"[2]", R"(["k"])"}, "[0]", "[1]", "{}", kRelu));
}

TEST(ReaderNamesWhatIsWrong) {
  const std::string good = Relu();
  RefusesProgram("no JSON", "");
  RefusesProgram("no JSON", good.substr(0, good.size() / 2));
  RefusesProgram("nested too deeply", std::string(1000000, '['));
  RefusesProgram("must be an object", "[]");
  RefusesProgram("version 2, this library reads version 1",
                 Replaced(good, "\"version\": 1", "\"version\": 2"));
  RefusesProgram("unknown kind; legal: convolution", Replaced(good, "eltwise", "fft"));
  RefusesProgram("names value 9", Replaced(good, "\"inputs\": [0], \"outputs\": [1], \"attrs",
                                           "\"inputs\": [9], \"outputs\": [1], \"attrs"));
  RefusesProgram("dtype 'float16'", Replaced(good, "float32", "float16"));
  RefusesProgram("has 2 inputs, expected 1",
                 Replaced(good, "\"kind\": \"eltwise\", \"inputs\": [0]",
                          "\"kind\": \"eltwise\", \"inputs\": [0, 0]"));
  RefusesProgram("which has a writer already",
                 Replaced(good, "\"outputs\": [1], \"attrs", "\"outputs\": [0], \"attrs"));
  RefusesProgram("before it is written",
                 Replaced(good, "\"inputs\": [0], \"outputs\": [1], \"attrs",
                          "\"inputs\": [1], \"outputs\": [1], \"attrs"));
  RefusesProgram("never written", Text({"[1]", "[1]"}, "[0]", "[1]", "{}", ""));
  RefusesProgram("the artifact has 1 constants",
                 Text({"[1]", "[1]"}, "[]", "[1]", R"({"0": 5})", kRelu), 1);
  RefusesProgram("is no value id", Text({"[1]", "[1]"}, "[0]", "[1]", R"({"x": 0})", kRelu), 1);
  RefusesProgram("fpmath is 'fast'; legal: strict, bf16",
                 Replaced(good, "\"version\": 1", "\"version\": 1, \"fpmath\": \"fast\""));
  RefusesProgram("at most 12", Replaced(good, "[2, 3]", "[1,1,1,1,1,1,1,1,1,1,1,1,1]"));
}

// Whatever a byte becomes, the reader answers with a program or a ProgramError; a program that
// reads may still be refused or run, never more than that. The sanitizers watch.
TEST(ReaderSurvivesDamage) {
  const std::string conv = Text(
      {"[1, 4, 5, 5]", "[4, 4, 3, 3]", "[1, 4, 5, 5]", "[1, 4, 5, 5]"}, "[0]", "[3]", R"({"1": 0})",
      R"({"kind": "convolution", "inputs": [0, 1], "outputs": [2], "attrs": {"strides": [1, 1],
          "dilations": [1, 1], "pads_begin": [1, 1], "pads_end": [1, 1], "groups": 1},
          "post": [{"post": "eltwise", "alg": "relu", "alpha": 0, "beta": 0}]},
         {"kind": "softmax", "inputs": [2], "outputs": [3], "attrs": {"axis": 1, "log": false}})");
  Array weight({4, 4, 3, 3}, 1), x({1, 4, 5, 5}, 2), y({1, 4, 5, 5});
  const std::string alphabet = "0123456789,[]{}\":-abcnrst ";
  uint32_t seed = 12345;
  auto random = [&](size_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
  };
  int ran = 0, refused = 0;
  for (int round = 0; round < 600; ++round) {
    std::string blob = conv;
    for (size_t i = 0; i <= random(3); ++i) {
      blob[random(blob.size())] = alphabet[random(alphabet.size())];
    }
    try {
      std::unique_ptr<Model> model = Load(blob, {weight.AsConstant()}, 1);
      model->Run({x.Ref()}, {y.Ref()});
      ++ran;
    } catch (const ProgramError&) {
      ++refused;
    }
  }
  CHECK(ran > 0);
  CHECK(refused > 100);
}

}  // namespace
}  // namespace byoc::onednn

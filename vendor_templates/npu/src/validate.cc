/*!
 * \file validate.cc
 * \brief Reject every stream that could read or write outside a memory, deadlock, or never end.
 *
 * Rules, in the order they are looked at for each instruction:
 *   1. known opcode, reserved bits zero, every field at least its lowest value (isa.json),
 *      float fields finite;
 *   2. every byte it can touch lies inside its memory (`Inside`: base + sum((count-1)*stride) + n);
 *   3. it is no more work than one instruction may be (`kMaxSteps`);
 *   4. taken in program order, each token it waits for has been given: program order is a legal
 *      schedule, so the units cannot deadlock;
 * and at the end: the last instruction is the only halt, and no token is left over.
 */
#include <cmath>
#include <initializer_list>
#include <sstream>

#include "machine.h"

namespace byoc::npu {
namespace {

constexpr int64_t kMaxSteps = int64_t{1} << 32;
constexpr size_t kMaxInstructions = size_t{1} << 24;

struct Axis {
  int64_t count, stride;
};

std::string Inside(const char* what, int64_t base, std::initializer_list<Axis> axes, int64_t bytes,
                   const char* memory, int64_t size) {
  // Counts are below 2^16 and strides below 2^32: no sum here comes near 2^63.
  int64_t end = base + bytes;
  for (const Axis& axis : axes) end += (axis.count - 1) * axis.stride;
  if (end <= size) return {};
  std::ostringstream out;
  out << what << " ends at " << end << ", past the " << memory << " (" << size << ")";
  return out.str();
}

std::string Work(int64_t steps) {
  if (steps <= kMaxSteps) return {};
  return "one instruction of " + std::to_string(steps) + " steps, the limit is 2^32";
}

std::string First(std::initializer_list<std::string> reasons) {
  for (const std::string& reason : reasons) {
    if (!reason.empty()) return reason;
  }
  return {};
}

struct Checker {
  const Config& config;
  const Regions& regions;

  std::string Act(const char* what, int64_t base, std::initializer_list<Axis> axes,
                  int64_t bytes) const {
    return Inside(what, base, axes, bytes, "activation scratchpad", config.act_bytes);
  }
  std::string Weight(const char* what, int64_t base, int64_t bytes) const {
    return Inside(what, base, {}, bytes, "weight scratchpad", config.weight_bytes);
  }
  std::string Acc(int64_t base, int64_t words) const {
    return Inside("acc", base, {}, words, "accumulators", config.acc_words);
  }

  template <typename T>
  std::string Copy(const T& i, bool to_weight, const char* region, int64_t region_size) const {
    const int64_t spm = to_weight ? config.weight_bytes : config.act_bytes;
    const char* name = to_weight ? "weight scratchpad" : "activation scratchpad";
    if (i.bytes > spm || i.bytes * i.rows > spm || i.bytes * i.rows * i.planes > spm) {
      return "copies more bytes than the scratchpad holds";
    }
    return First(
        {Inside("dram", i.dram, {{i.planes, i.dram_plane}, {i.rows, i.dram_row}}, i.bytes, region,
                region_size),
         Inside("spm", i.spm, {{i.planes, i.spm_plane}, {i.rows, i.spm_row}}, i.bytes, name, spm)});
  }

  std::string Check(const Load& i) const {
    return i.region == 0 ? Copy(i, i.space == 1, "constants", regions.constants)
                         : Copy(i, i.space == 1, "work memory", regions.work);
  }
  std::string Check(const Store& i) const { return Copy(i, false, "work memory", regions.work); }

  std::string Check(const Conv& i) const {
    const int64_t m = i.out_h * i.out_w;
    const int64_t packed = (i.n + 15) / 16 * 16 * ((i.k_count + 3) / 4 * 4);
    if (i.k_begin + i.k_count > i.kh * i.kw * i.channels) {
      return "k ends at " + std::to_string(i.k_begin + i.k_count) +
             ", past kh * kw * channels = " + std::to_string(i.kh * i.kw * i.channels);
    }
    return First({Act("x", i.x, {{i.in_h, i.x_row}, {i.in_w, i.x_pix}}, i.channels),
                  Weight("w", i.w, packed), Acc(i.acc, m * i.n),
                  m > kMaxSteps / packed ? Work(kMaxSteps + 1) : ""});
  }
  std::string Check(const Dwconv& i) const {
    const int64_t m = i.out_h * i.out_w;
    const int64_t taps = i.kh * i.kw;
    return First({Act("x", i.x, {{i.in_h, i.x_row}, {i.in_w, i.x_pix}}, i.n),
                  Weight("w", i.w, taps * i.n), Acc(i.acc, m * i.n),
                  m > kMaxSteps / (i.n * taps) ? Work(kMaxSteps + 1) : ""});
  }
  std::string Check(const Requant& i) const {
    if (i.params % 4 != 0) return "params " + std::to_string(i.params) + " is no multiple of 4";
    return First({Acc(i.acc, i.out_h * i.out_w * i.n), Weight("params", i.params, 8 * i.n),
                  Act("y", i.y, {{i.out_h, i.y_row}, {i.out_w, i.y_pix}}, i.n),
                  i.residual ? Act("r", i.r, {{i.out_h, i.r_row}, {i.out_w, i.r_pix}}, i.n) : "",
                  i.table ? Weight("lut", i.lut, 256) : ""});
  }
  template <typename T>
  std::string Binary(const T& i) const {
    return First({Act("a", i.a, {{i.out_h, i.a_row}, {i.out_w, i.a_pix}}, i.n),
                  Act("b", i.b, {{i.out_h, i.b_row}, {i.out_w, i.b_pix}}, i.n),
                  Act("y", i.y, {{i.out_h, i.y_row}, {i.out_w, i.y_pix}}, i.n),
                  Work(i.out_h * i.out_w * i.n)});
  }
  std::string Check(const Add& i) const { return Binary(i); }
  std::string Check(const Mul& i) const { return Binary(i); }
  std::string Check(const Lookup& i) const {
    return First({Act("x", i.x, {{i.out_h, i.x_row}, {i.out_w, i.x_pix}}, i.n),
                  Act("y", i.y, {{i.out_h, i.y_row}, {i.out_w, i.y_pix}}, i.n),
                  Weight("lut", i.lut, 256), Work(i.out_h * i.out_w * i.n)});
  }
  template <typename T>
  std::string Pool(const T& i) const {
    const int64_t m = i.out_h * i.out_w;
    if (m > kMaxSteps / i.n) return Work(kMaxSteps + 1);
    return First({Act("x", i.x, {{i.in_h, i.x_row}, {i.in_w, i.x_pix}}, i.n),
                  Act("y", i.y, {{i.out_h, i.y_row}, {i.out_w, i.y_pix}}, i.n),
                  Work(m * i.n * i.kh * i.kw)});
  }
  std::string Check(const Maxpool& i) const { return Pool(i); }
  std::string Check(const Avgpool& i) const { return Pool(i); }
};

std::string CheckFields(const Instruction& instruction) {
  const auto code = static_cast<int>(instruction.op());
  if (code >= kOpCount) return "unknown opcode " + std::to_string(code);
  const OpInfo& info = kOps[code];
  std::array<uint32_t, kInstructionWords> used{};
  used[0] = 0xFFFF;
  for (int f = 0; f < info.field_count; ++f) {
    const FieldInfo& field = info.fields[f];
    const auto mask = static_cast<uint32_t>((uint64_t{1} << field.width) - 1);
    used[field.word] |= mask << field.bit;
    const int64_t value =
        Bits(instruction.words.data(), field.word, field.bit, field.width, field.is_signed);
    if (field.is_float && !std::isfinite(Real(instruction.words.data(), field.word))) {
      return std::string(field.name) + " is not a finite number";
    }
    if (value < field.low) {
      return std::string(field.name) + " is " + std::to_string(value) + ", at least " +
             std::to_string(field.low) + " is legal";
    }
  }
  for (int word = 0; word < kInstructionWords; ++word) {
    if (instruction.words[word] & ~used[word]) return "reserved bits are set";
  }
  return {};
}

std::string CheckAccess(const Checker& checker, const Instruction& instruction) {
  const uint32_t* words = instruction.words.data();
  switch (instruction.op()) {
    case Opcode::kHalt:
    case Opcode::kFence:
      return {};
    case Opcode::kLoad:
      return checker.Check(Load::Decode(words));
    case Opcode::kStore:
      return checker.Check(Store::Decode(words));
    case Opcode::kConv:
      return checker.Check(Conv::Decode(words));
    case Opcode::kDwconv:
      return checker.Check(Dwconv::Decode(words));
    case Opcode::kRequant:
      return checker.Check(Requant::Decode(words));
    case Opcode::kAdd:
      return checker.Check(Add::Decode(words));
    case Opcode::kMul:
      return checker.Check(Mul::Decode(words));
    case Opcode::kLookup:
      return checker.Check(Lookup::Decode(words));
    case Opcode::kMaxpool:
      return checker.Check(Maxpool::Decode(words));
    case Opcode::kAvgpool:
      return checker.Check(Avgpool::Decode(words));
  }
  return "unknown opcode";
}

/*! \brief tokens[from][to]: given and not yet taken. */
struct Tokens {
  std::array<std::array<int64_t, kUnits>, kUnits> count{};

  std::string Step(const Instruction& instruction) {
    const Unit unit = kOps[static_cast<int>(instruction.op())].unit;
    if (unit == Unit::kNone) {
      return instruction.wait() || instruction.signal() ? "halt and fence take no tokens" : "";
    }
    const auto self = static_cast<size_t>(unit);
    if ((instruction.wait() | instruction.signal()) >> self & 1) return "a token to itself";
    for (size_t other = 0; other < kUnits; ++other) {
      if (!(instruction.wait() >> other & 1)) continue;
      if (count[other][self] == 0) {
        return "waits for a token of unit " + std::to_string(other) + " that none gave before";
      }
      --count[other][self];
    }
    for (size_t other = 0; other < kUnits; ++other) {
      if (instruction.signal() >> other & 1) ++count[self][other];
    }
    return {};
  }

  bool AllTaken() const {
    for (const auto& row : count) {
      for (int64_t value : row) {
        if (value != 0) return false;
      }
    }
    return true;
  }
};

}  // namespace

std::string Config::Check() const {
  const struct {
    const char* name;
    int64_t value, low, high;
  } ranges[] = {
      {"rows", rows, 1, 256},
      {"columns", columns, 1, 256},
      {"output_stationary", output_stationary, 0, 1},
      {"act_bytes", act_bytes, 1, 1 << 28},
      {"act_banks", act_banks, 1, 64},
      {"act_word", act_word, 1, 256},
      {"weight_bytes", weight_bytes, 1, 1 << 28},
      {"acc_words", acc_words, 1, 1 << 26},
      {"dma_width", dma_width, 1, 1024},
      {"dma_latency", dma_latency, 0, 100'000},
      {"dma_burst", dma_burst, 1, 65'536},
      {"dma_outstanding", dma_outstanding, 1, 1024},
      {"lanes", lanes, 1, 1024},
      {"vector_latency", vector_latency, 0, 1000},
      {"clock_hz", clock_hz, 1, 100'000'000'000},
      {"link_bytes_per_second", link_bytes_per_second, 1, 10'000'000'000'000},
      {"link_latency_ns", link_latency_ns, 0, 1'000'000'000},
  };
  for (const auto& r : ranges) {
    if (r.value < r.low || r.value > r.high) {
      return std::string(r.name) + " is " + std::to_string(r.value) +
             ", legal: " + std::to_string(r.low) + ".." + std::to_string(r.high);
    }
  }
  return {};
}

Violation Validate(const Config& config, const Code& code, const Regions& regions) {
  if (code.size() > kMaxInstructions) return {0, "more than 2^24 instructions"};
  const Checker checker{config, regions};
  Tokens tokens;
  for (size_t index = 0; index < code.size(); ++index) {
    const Instruction& instruction = code[index];
    std::string reason = CheckFields(instruction);
    if (reason.empty()) reason = CheckAccess(checker, instruction);
    if (reason.empty()) reason = tokens.Step(instruction);
    if (reason.empty() && instruction.op() == Opcode::kHalt && index + 1 != code.size()) {
      reason = "halt before the end";
    }
    if (!reason.empty()) {
      const auto op = static_cast<int>(instruction.op());
      const char* name = op < kOpCount ? kOps[op].name : "?";
      return {static_cast<int64_t>(index), std::string(name) + ": " + reason};
    }
  }
  const auto last = static_cast<int64_t>(code.size()) - 1;
  if (code.empty() || code.back().op() != Opcode::kHalt) {
    return {last < 0 ? 0 : last, "the last instruction is not halt"};
  }
  if (!tokens.AllTaken()) return {last, "halt: tokens are left that no instruction takes"};
  return {};
}

}  // namespace byoc::npu

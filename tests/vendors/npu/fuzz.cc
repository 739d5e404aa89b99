/*!
 * \file fuzz.cc
 * \brief Random and mutated instruction streams: each is rejected or executed and timed.
 *
 * Meant for a build with -DBYOC_SANITIZE=address,undefined: an access outside a memory ends the
 * process. Streams start from plausible fields (so that many are legal) and are then mutated in
 * bits, fields, order and length. Usage: npu_fuzz [streams] [seed].
 */
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "machine.h"

namespace {

using byoc::npu::Code;
using byoc::npu::Config;
using byoc::npu::FieldInfo;
using byoc::npu::Instruction;
using byoc::npu::kOpCount;
using byoc::npu::kOps;
using byoc::npu::Regions;

using Random = std::mt19937_64;

int64_t Below(Random* random, int64_t limit) {
  return static_cast<int64_t>((*random)() % static_cast<uint64_t>(limit));
}

void Set(Instruction* instruction, const FieldInfo& field, int64_t value) {
  const auto mask = static_cast<uint32_t>((uint64_t{1} << field.width) - 1);
  uint32_t& word = instruction->words[field.word];
  word = (word & ~(mask << field.bit)) | ((static_cast<uint32_t>(value) & mask) << field.bit);
}

Instruction Make(int op) {
  Instruction instruction;
  instruction.words.fill(0);
  instruction.words[0] = static_cast<uint32_t>(op);
  return instruction;
}

/*! \brief Mostly small numbers, sometimes extremes. */
int64_t Value(Random* random, const FieldInfo& field) {
  if (field.is_float) {
    const float values[] = {0.5F, -1.0F, 0.0F, 3e38F, 1e-40F, 2.5F, 1e-3F, INFINITY};
    uint32_t bits;
    std::memcpy(&bits, &values[Below(random, 8)], sizeof(bits));
    return bits;
  }
  const int64_t top = (int64_t{1} << (field.width - (field.is_signed ? 1 : 0))) - 1;
  switch (Below(random, 24)) {
    case 0:
      return top;
    case 1:
      return field.low;
    case 2:
      return Below(random, top) + 1;
    default:
      break;
  }
  if (field.is_signed) return Below(random, 256) - 128;
  const int64_t limit = field.width == 32 ? 96 : 6;
  return std::min(top, field.low + Below(random, limit));
}

Instruction Plausible(Random* random) {
  const int op = 1 + static_cast<int>(Below(random, kOpCount - 1));
  Instruction instruction = Make(op);
  for (int f = 0; f < kOps[op].field_count; ++f) {
    Set(&instruction, kOps[op].fields[f], Value(random, kOps[op].fields[f]));
  }
  if (kOps[op].unit == byoc::npu::Unit::kVector && Below(random, 4) != 0) {
    for (int f = 0; f < kOps[op].field_count; ++f) {
      const FieldInfo& field = kOps[op].fields[f];
      if (std::string(field.name) == "params") Set(&instruction, field, 4 * Below(random, 64));
    }
  }
  return instruction;
}

/*! \brief Give a matching pair of tokens to two instructions, earlier to later. */
void Link(Random* random, Code* code) {
  const auto size = static_cast<int64_t>(code->size());
  int64_t a = Below(random, size);
  int64_t b = Below(random, size);
  if (a > b) std::swap(a, b);
  auto unit = [code](int64_t i) {
    return static_cast<int>(kOps[static_cast<int>((*code)[static_cast<size_t>(i)].op())].unit);
  };
  const int from = unit(a);
  const int to = unit(b);
  if (from == to || from == byoc::npu::kUnits || to == byoc::npu::kUnits) return;
  (*code)[static_cast<size_t>(a)].words[0] |= uint32_t{1} << (12 + to);
  (*code)[static_cast<size_t>(b)].words[0] |= uint32_t{1} << (8 + from);
}

void Mutate(Random* random, Code* code) {
  if (code->empty()) return;
  const auto at = static_cast<size_t>(Below(random, static_cast<int64_t>(code->size())));
  Instruction& instruction = (*code)[at];
  switch (Below(random, 6)) {
    case 0:
      instruction.words[static_cast<size_t>(Below(random, byoc::npu::kInstructionWords))] ^=
          uint32_t{1} << Below(random, 32);
      break;
    case 1:
      instruction.words[static_cast<size_t>(Below(random, byoc::npu::kInstructionWords))] =
          static_cast<uint32_t>((*random)());
      break;
    case 2:
      code->erase(code->begin() + static_cast<int64_t>(at));
      break;
    case 3:
      code->insert(code->begin() + static_cast<int64_t>(at), instruction);
      break;
    case 4:
      std::swap(instruction, code->front());
      break;
    default:
      instruction.words[0] ^= uint32_t{1} << (8 + Below(random, 8));
      break;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t streams = argc > 1 ? std::atoll(argv[1]) : 100'000;
  Random random(argc > 2 ? static_cast<uint64_t>(std::atoll(argv[2])) : 1);
  int64_t executed = 0;
  int64_t rejected = 0;
  int64_t ran[kOpCount] = {};
  for (int64_t s = 0; s < streams; ++s) {
    Config config;
    config.rows = 1 + Below(&random, 20);
    config.columns = 1 + Below(&random, 20);
    config.output_stationary = Below(&random, 2);
    config.act_bytes = 256 + Below(&random, 4096);
    config.weight_bytes = 256 + Below(&random, 4096);
    config.acc_words = 64 + Below(&random, 1024);
    config.act_banks = 1 + Below(&random, 8);
    config.act_word = 1 + Below(&random, 32);
    config.lanes = 1 + Below(&random, 20);
    const Regions regions{Below(&random, 4096), Below(&random, 4096)};
    Code code;
    const int64_t length = 1 + Below(&random, 4);
    while (static_cast<int64_t>(code.size()) < length) {
      // Keep what is legal by itself, most of the time: long streams would never pass otherwise.
      Code one{Plausible(&random), Make(0)};
      if (Validate(config, one, regions).ok() || Below(&random, 16) == 0) code.push_back(one[0]);
    }
    code.push_back(Make(0));
    for (int64_t links = Below(&random, 4); links-- > 0;) Link(&random, &code);
    if (Below(&random, 2) == 0) {
      for (int64_t count = 1 + Below(&random, 3); count-- > 0;) Mutate(&random, &code);
    }
    if (!Validate(config, code, regions).ok()) {
      ++rejected;
      continue;
    }
    ++executed;
    for (const Instruction& instruction : code) ++ran[static_cast<int>(instruction.op())];
    byoc::npu::Memories memories(config, regions.work);
    const std::vector<int8_t> constants(static_cast<size_t>(regions.constants), 3);
    for (auto* bytes : {&memories.act, &memories.weight, &memories.work}) {
      for (int8_t& byte : *bytes) byte = static_cast<int8_t>(random());
    }
    byoc::npu::Run(code, constants.data(), &memories);
    std::vector<byoc::npu::Slot> slots;
    const byoc::npu::Counters counters = Time(config, code, &slots);
    if (slots.size() != code.size() || counters.cycles < 0) std::abort();
  }
  std::printf("%" PRId64 " executed, %" PRId64 " rejected;", executed, rejected);
  for (int op = 0; op < kOpCount; ++op) std::printf(" %s %" PRId64, kOps[op].name, ran[op]);
  std::printf("\n");
  if (streams >= 1000) {  // a fuzzer whose streams all end one way proves nothing
    if (executed < streams / 8 || rejected < streams / 8) return 1;
    for (int64_t count : ran) {
      if (count == 0) return 1;
    }
  }
  return 0;
}

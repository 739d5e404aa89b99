/*!
 * \file timing.cc
 * \brief The cycle model: four in-order units that meet at tokens.
 *
 *   start = max(the unit is free, the tokens waited for are there)
 *   free  = start + busy          the unit can begin its next instruction
 *   done  = free + latency        the result is there: tokens are given
 *
 * Program order is a legal schedule (validate.cc), and each token queue has one giver and one
 * taker, both in order: so one pass in program order gives every time exactly; no event queue.
 */
#include <algorithm>
#include <deque>

#include "machine.h"

namespace byoc::npu {
namespace {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/*! \brief Pieces of `bytes` that are contiguous once rows (and planes) that touch are joined. */
struct Runs {
  int64_t count, bytes;
};
Runs Join(int64_t planes, int64_t rows, int64_t bytes, int64_t plane_stride, int64_t row_stride) {
  Runs runs{planes * rows, bytes};
  if (rows == 1 || row_stride == bytes) {
    runs = {planes, rows * bytes};
    if (planes == 1 || plane_stride == runs.bytes) runs = {1, planes * runs.bytes};
  }
  return runs;
}

template <typename T>
Cost CopyCost(const Config& config, const T& i) {
  const Runs dram = Join(i.planes, i.rows, i.bytes, i.dram_plane, i.dram_row);
  const Runs spm = Join(i.planes, i.rows, i.bytes, i.spm_plane, i.spm_row);
  const int64_t beats = std::max(dram.count * CeilDiv(dram.bytes, config.dma_width),
                                 spm.count * CeilDiv(spm.bytes, config.dma_width));
  const int64_t bursts = dram.count * CeilDiv(dram.bytes, config.dma_burst);
  const int64_t in_flight = CeilDiv(bursts * config.dma_latency, config.dma_outstanding);
  return {std::max(beats, in_flight), config.dma_latency, 0, 0};
}

/*!
 * \brief Cycles to read one pixel's operands for the k of one pass of the array: the most
 * different words that one bank has to give. Looked at for output pixel (0, 0).
 */
int64_t Conflict(const Config& config, const Conv& i, int64_t begin, int64_t end) {
  int64_t words[256];  // Config limits rows to 256
  int64_t count = 0;
  for (int64_t k = begin; k < end; ++k) {
    const int64_t tap = k / i.channels;
    const int64_t address =
        i.x + tap / i.kw * i.dh * i.x_row + tap % i.kw * i.dw * i.x_pix + k % i.channels;
    words[count++] = address / config.act_word;
  }
  std::sort(words, words + count);
  count = std::unique(words, words + count) - words;
  int64_t per_bank[64] = {};  // Config limits banks to 64
  int64_t most = 1;
  for (int64_t w = 0; w < count; ++w)
    most = std::max(most, ++per_bank[words[w] % config.act_banks]);
  return most;
}

Cost ConvCost(const Config& config, const Conv& i) {
  const int64_t m = i.out_h * i.out_w;
  const int64_t n_tiles = CeilDiv(i.n, config.columns);
  const int64_t macs = m * i.n * i.k_count;
  if (config.output_stationary) {
    const int64_t busy = CeilDiv(m, config.rows) * n_tiles * std::max(i.k_count, config.rows);
    return {busy, 2 * config.rows + config.columns - 2, macs, 0};
  }
  int64_t busy = config.rows, ideal = config.rows;
  const int64_t end = i.k_begin + i.k_count;
  // Every pass reads one word when the channels fill whole words: nothing to look at.
  const bool aligned = config.rows == config.act_word && i.k_begin % config.rows == 0 &&
                       i.channels % config.rows == 0 && i.x % config.act_word == 0 &&
                       i.x_row % config.act_word == 0 && i.x_pix % config.act_word == 0;
  if (aligned) {
    busy += CeilDiv(i.k_count, config.rows) * n_tiles * std::max(m, config.rows);
    return {busy, config.rows + config.columns - 2, macs, 0};
  }
  for (int64_t k = i.k_begin; k < end; k += config.rows) {
    const int64_t conflict = Conflict(config, i, k, std::min(end, k + config.rows));
    busy += n_tiles * std::max(m * conflict, config.rows);
    ideal += n_tiles * std::max(m, config.rows);
  }
  return {busy, config.rows + config.columns - 2, macs, busy - ideal};
}

Cost VectorCost(const Config& config, int64_t pixels, int64_t n, int64_t taps = 1) {
  return {pixels * taps * CeilDiv(n, config.lanes), config.vector_latency, 0, 0};
}

/*! \brief Highest address + 1 that instructions touch in each scratchpad. */
struct Peak {
  Counters* counters;
  void Act(int64_t end) { counters->peak_act = std::max(counters->peak_act, end); }
  void Weight(int64_t end) { counters->peak_weight = std::max(counters->peak_weight, end); }
  void Acc(int64_t end) { counters->peak_acc = std::max(counters->peak_acc, end); }

  void Look(const Instruction& instruction) {
    const uint32_t* words = instruction.words.data();
    if (instruction.op() == Opcode::kLoad) {
      const Load i = Load::Decode(words);
      const int64_t end = i.spm + (i.planes - 1) * i.spm_plane + (i.rows - 1) * i.spm_row + i.bytes;
      i.space == 1 ? Weight(end) : Act(end);
      counters->bytes_loaded += i.planes * i.rows * i.bytes;
    } else if (instruction.op() == Opcode::kStore) {
      const Store i = Store::Decode(words);
      Act(i.spm + (i.planes - 1) * i.spm_plane + (i.rows - 1) * i.spm_row + i.bytes);
      counters->bytes_stored += i.planes * i.rows * i.bytes;
    } else if (instruction.op() == Opcode::kConv) {
      const Conv i = Conv::Decode(words);
      Acc(i.acc + i.out_h * i.out_w * i.n);
    } else if (instruction.op() == Opcode::kDwconv) {
      const Dwconv i = Dwconv::Decode(words);
      Acc(i.acc + i.out_h * i.out_w * i.n);
    } else if (instruction.op() == Opcode::kRequant) {
      const Requant i = Requant::Decode(words);
      Act(i.y + (i.out_h - 1) * i.y_row + (i.out_w - 1) * i.y_pix + i.n);
    }
  }
};

}  // namespace

Cost CostOf(const Config& config, const Instruction& instruction) {
  const uint32_t* words = instruction.words.data();
  switch (instruction.op()) {
    case Opcode::kLoad:
      return CopyCost(config, Load::Decode(words));
    case Opcode::kStore:
      return CopyCost(config, Store::Decode(words));
    case Opcode::kConv:
      return ConvCost(config, Conv::Decode(words));
    case Opcode::kDwconv: {
      const Dwconv i = Dwconv::Decode(words);
      const int64_t m = i.out_h * i.out_w;
      const int64_t taps = i.kh * i.kw;
      return {config.rows + CeilDiv(i.n, config.columns) * taps * m,
              config.rows + config.columns - 2, m * i.n * taps, 0};
    }
    case Opcode::kRequant: {
      const Requant i = Requant::Decode(words);
      return VectorCost(config, i.out_h * i.out_w, i.n);
    }
    case Opcode::kAdd: {
      const Add i = Add::Decode(words);
      return VectorCost(config, i.out_h * i.out_w, i.n);
    }
    case Opcode::kMul: {
      const Mul i = Mul::Decode(words);
      return VectorCost(config, i.out_h * i.out_w, i.n);
    }
    case Opcode::kLookup: {
      const Lookup i = Lookup::Decode(words);
      return VectorCost(config, i.out_h * i.out_w, i.n);
    }
    case Opcode::kMaxpool: {
      const Maxpool i = Maxpool::Decode(words);
      return VectorCost(config, i.out_h * i.out_w, i.n, i.kh * i.kw);
    }
    case Opcode::kAvgpool: {
      const Avgpool i = Avgpool::Decode(words);
      return VectorCost(config, i.out_h * i.out_w, i.n, i.kh * i.kw);
    }
    case Opcode::kHalt:
    case Opcode::kFence:
      break;
  }
  return {};
}

Counters Time(const Config& config, const Code& code, std::vector<Slot>* slots) {
  Counters counters;
  Peak peak{&counters};
  std::array<int64_t, kUnits> free{};
  std::array<std::array<std::deque<int64_t>, kUnits>, kUnits> tokens;  // [from][to]: times given
  int64_t end = 0;
  if (slots != nullptr) slots->clear();
  for (const Instruction& instruction : code) {
    const Unit unit = kOps[static_cast<int>(instruction.op())].unit;
    Slot slot;
    if (unit == Unit::kNone) {  // fence, halt: all units meet
      slot = {end, end, end};
      free.fill(end);
    } else {
      const auto self = static_cast<size_t>(unit);
      slot.start = free[self];
      for (size_t other = 0; other < kUnits; ++other) {
        if (!(instruction.wait() >> other & 1)) continue;
        slot.start = std::max(slot.start, tokens[other][self].front());
        tokens[other][self].pop_front();
      }
      const Cost cost = CostOf(config, instruction);
      slot.free = slot.start + cost.busy;
      slot.done = slot.free + cost.latency;
      for (size_t other = 0; other < kUnits; ++other) {
        if (instruction.signal() >> other & 1) tokens[self][other].push_back(slot.done);
      }
      counters.busy[self] += cost.busy;
      counters.stall[self] += slot.start - free[self];
      counters.macs += cost.macs;
      counters.conflict_cycles += cost.conflicts;
      free[self] = slot.free;
      end = std::max(end, slot.done);
      peak.Look(instruction);
    }
    ++counters.instructions;
    if (slots != nullptr) slots->push_back(slot);
  }
  counters.cycles = end;
  return counters;
}

}  // namespace byoc::npu

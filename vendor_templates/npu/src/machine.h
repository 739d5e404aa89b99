/*!
 * \file machine.h
 * \brief The accelerator without its surroundings: configuration, programs, and what is done to
 * them. Nothing here knows tvm-ffi; docs/npu.md is the specification.
 *
 *   code ──Validate──▶ legal ──Run──▶ work memory changed      (bit-exact, as fast as possible)
 *                            └─Time─▶ Counters                 (cycles; does not look at data)
 *
 * Validate proves that every access of every instruction stays inside its memory, so that Run
 * needs no checks: run nothing that was not validated for the same Config and sizes.
 */
#ifndef BYOC_NPU_MACHINE_H_
#define BYOC_NPU_MACHINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "isa_table.h"

namespace byoc::npu {

/*! \brief One accelerator; names as in config.py's `flat`. */
struct Config {
  int64_t rows = 16, columns = 16, output_stationary = 0;
  int64_t act_bytes = 192 << 10, act_banks = 8, act_word = 16;
  int64_t weight_bytes = 64 << 10, acc_words = 16 << 10;
  int64_t dma_width = 16, dma_latency = 64, dma_burst = 64, dma_outstanding = 16;
  int64_t lanes = 16, vector_latency = 8;
  int64_t clock_hz = 500'000'000, link_bytes_per_second = 4'000'000'000, link_latency_ns = 5000;

  /*! \brief Empty when every value is usable, else the name of a field that is not and why. */
  std::string Check() const;
};

struct Instruction {
  std::array<uint32_t, kInstructionWords> words;
  Opcode op() const { return static_cast<Opcode>(words[0] & 0xFF); }
  uint32_t wait() const { return words[0] >> 8 & 15; }
  uint32_t signal() const { return words[0] >> 12 & 15; }
};

using Code = std::vector<Instruction>;

/*! \brief Bytes of the two regions of device memory. */
struct Regions {
  int64_t constants = 0, work = 0;
};

/*! \brief Why a stream is illegal: the instruction's position and a sentence. */
struct Violation {
  int64_t index = -1;  // -1: the stream is legal
  std::string reason;
  bool ok() const { return index < 0; }
};

Violation Validate(const Config& config, const Code& code, const Regions& regions);

/*! \brief What the modelled machine did. */
struct Counters {
  int64_t cycles = 0, macs = 0, instructions = 0;
  int64_t bytes_loaded = 0, bytes_stored = 0;
  int64_t conflict_cycles = 0;                  // array cycles lost to bank conflicts
  std::array<int64_t, kUnits> busy{}, stall{};  // cycles working; cycles waiting for a token
  int64_t peak_act = 0, peak_weight = 0, peak_acc = 0;  // highest byte, byte, word touched + 1
};

/*! \brief When one instruction ran: [start, free) occupies its unit, its effects hold at done. */
struct Slot {
  int64_t start = 0, free = 0, done = 0;
};

/*! \brief Time a validated stream; `slots` (may be null) receives one entry per instruction. */
Counters Time(const Config& config, const Code& code, std::vector<Slot>* slots = nullptr);

/*! \brief Cycles one instruction occupies its unit, and cycles from then until it is done. */
struct Cost {
  int64_t busy = 0, latency = 0, macs = 0, conflicts = 0;
};
Cost CostOf(const Config& config, const Instruction& instruction);

/*! \brief The memories one call changes. */
struct Memories {
  std::vector<int8_t> act, weight, work;
  std::vector<int32_t> acc;
  std::vector<uint8_t> panel;  // rows of unfolded input
  std::vector<int32_t> sums;   // column sums of weights
  std::vector<int32_t> bias;   // of one requantisation
  std::vector<float> scale;    // likewise
  std::vector<int8_t> line;    // results of one pixel
  Memories(const Config& config, int64_t work_bytes);
  void Clear();
};

/*! \brief Execute a validated stream in program order. */
void Run(const Code& code, const int8_t* constants, Memories* memories);

}  // namespace byoc::npu

#endif  // BYOC_NPU_MACHINE_H_

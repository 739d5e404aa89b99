/*!
 * \file program.h
 * \brief The blob of an npu artifact, read and checked.
 *
 *   "BYOCNPU1" | u32 header bytes | u32 instructions | header (JSON) | instructions, 64 bytes each
 */
#ifndef BYOC_NPU_PROGRAM_H_
#define BYOC_NPU_PROGRAM_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "machine.h"

namespace byoc::npu {

enum class HostType { kFloat32, kInt8, kUint8 };

/*!
 * \brief One tensor crossing the border between host and work memory.
 *
 * The host's is dense in `shape`; the device's is int8, dense with its axes in `order`. float32 is
 * quantised (dequantised) with scale and zero; uint8 q is q - 128 on the device.
 */
struct Border {
  int64_t argument = 0, offset = 0, elements = 0;
  HostType type = HostType::kInt8;
  std::vector<int64_t> shape, order;
  float scale = 1;
  int64_t zero = 0;  // as the device counts: -128..127
};

struct Program {
  std::string segment;
  Config config;
  Regions regions;
  Code code;
  int64_t inputs = 0, outputs = 0;
  std::vector<Border> feeds, results;
};

/*! \brief Read and check a blob; throws std::runtime_error naming what is wrong. */
Program ReadProgram(std::string_view blob);

/*! \brief A Config from a JSON object of integers; throws std::runtime_error naming the field. */
Config ReadConfig(std::string_view json);

/*! \brief Instructions from bytes; throws std::runtime_error on a partial one. */
Code ReadCode(std::string_view bytes);

void WriteIn(const Border& border, const void* host, int8_t* work);
void ReadOut(const Border& border, const int8_t* work, void* host);

}  // namespace byoc::npu

#endif  // BYOC_NPU_PROGRAM_H_

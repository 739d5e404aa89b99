/*!
 * \file faults.h
 * \brief Faults on purpose: a device for testing what is around the accelerator.
 *
 * A fault strikes a call of a segment when the segment's name fits its glob and the call is the
 * n-th ("call"), or a seeded coin falls ("probability"), or always (neither given).
 */
#ifndef BYOC_NPU_FAULTS_H_
#define BYOC_NPU_FAULTS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace byoc::npu {

enum class FaultKind { kWrong, kNan, kStatus, kException, kCrash, kHang, kOutOfMemory, kSlow };

struct Fault {
  FaultKind kind;
  int64_t call = 0;        // 1 is the first; 0: any
  double probability = 1;  // when call is 0
  int64_t seed = 0;
  double factor = 2;   // slow: how many times as long
  double seconds = 0;  // hang: how long; 0: for ever

  bool Strikes(int64_t this_call) const;
};

/*! \brief What runs a segment: options other than the machine itself. */
struct RunOptions {
  bool paced = false;
  std::vector<Fault> faults;  // of this segment only
};

/*! \brief Read the vendor's options for one segment; throws std::runtime_error. */
RunOptions ReadOptions(std::string_view json, const std::string& segment);

}  // namespace byoc::npu

#endif  // BYOC_NPU_FAULTS_H_

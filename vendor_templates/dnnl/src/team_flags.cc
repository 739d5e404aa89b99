#include "team_flags.h"

#include <omp.h>

#include <atomic>
#include <cfenv>

namespace byoc::onednn {
namespace {

bool TakeOwnInvalid() {
  if (std::fetestexcept(FE_INVALID) == 0) return false;
  std::feclearexcept(FE_INVALID);
  return true;
}

}  // namespace

void ClearOwnInvalid() { TakeOwnInvalid(); }

bool TakeInvalid() {
  if (omp_get_max_threads() == 1) return TakeOwnInvalid();
  std::atomic<bool> found{false};
#pragma omp parallel
  {
    if (TakeOwnInvalid()) found.store(true, std::memory_order_relaxed);
  }
  return found.load(std::memory_order_relaxed);
}

}  // namespace byoc::onednn

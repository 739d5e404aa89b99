/// \file
/// How many processors this process may use: those it may run on, and the share of their time that
/// its control group has.
///
/// A container with a quota of one core still sees every core of the machine. A team of as many
/// threads would use its share up early in each period, and be stopped in the middle of a barrier::
///
///     quota 100 ms in each 100 ms, 4 threads   │████ 25 ms │ stopped for 75 ms │████ …
///                                  1 thread    │█ 100 ms                       │█ …
#ifndef BYOC_RUNTIME_CPU_LIMIT_H_
#define BYOC_RUNTIME_CPU_LIMIT_H_

#include <string>

#include "byoc/threads.h"

namespace byoc {
namespace threads {

/// Returns the CPU time that the control groups of this process allow, in processors (1.5: three
/// seconds of CPU time in two); 0 when they set no limit, or cannot be read.
///
/// Reads `cpu.max` of cgroup v2, or `cpu.cfs_quota_us` and `cpu.cfs_period_us` of v1, of the group
/// itself and of the groups around it; the smallest counts.
///
/// \param root what stands before /proc and /sys, "" but in tests.
BYOC_THREADS_API double CpuQuota(const std::string& root);

/// Returns the number of processors that parallel work is to use: those in the affinity mask of the
/// calling thread, but no more than the quota, rounded up. At least 1.
BYOC_THREADS_API int UsableProcessors(const std::string& root);

}  // namespace threads
}  // namespace byoc

#endif  // BYOC_RUNTIME_CPU_LIMIT_H_

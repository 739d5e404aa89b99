/// \file
/// What must hold of a plan's memory before anything runs: see `CheckFlow`.
#ifndef BYOC_RUNTIME_FLOW_H_
#define BYOC_RUNTIME_FLOW_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace byoc {

/// Proves that every task reads what the task it depends on has written, that tasks which may run
/// at the same time do not meet in memory, and that every byte of every output is written.
///
/// \param plan its windows lie inside their memory spaces.
/// Throws byoc.ArtifactError naming the tasks.
void CheckFlow(const Plan& plan);

/// Parses the plan of a segment's fallback as `ParsePlan` does; what it throws names the segment.
Plan ParseFallback(const std::string& segment, const std::string& json,
                   const std::vector<int64_t>& constant_bytes);

/// Checks that a fallback takes and gives what the plan's calls of a segment do.
///
/// \param fallback the plan of the segment on the host.
/// Throws byoc.ArtifactError naming the first argument that differs.
void CheckFallback(const Plan& plan, const std::string& segment, const Plan& fallback);

/// Returns a tensor's type as messages show it: "float32[2, 3]".
std::string TypeText(DLDataType dtype, const int64_t* shape, size_t rank);

}  // namespace byoc

#endif  // BYOC_RUNTIME_FLOW_H_

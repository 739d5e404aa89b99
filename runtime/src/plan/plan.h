/*! \brief The plan as the executor sees it: the C++ side of runtime/plan.py. */
#ifndef BYOC_RUNTIME_PLAN_H_
#define BYOC_RUNTIME_PLAN_H_

#include <dlpack/dlpack.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace byoc {

/*! \brief Version of the plan's schema; must equal PLAN_VERSION of runtime/plan.py. */
inline constexpr int64_t kPlanVersion = 1;

enum class Place { kInput, kOutput, kConstant, kArena };

/*! \brief A dense row-major window at `offset` bytes of a place. */
struct PlanTensor {
  std::vector<int64_t> shape;
  DLDataType dtype;
  Place place;
  size_t index;
  int64_t offset;
  int64_t nbytes;  // derived: elements x element size
  size_t itemsize() const { return static_cast<size_t>(dtype.bits) / 8; }
};

struct PlanPort {
  std::string name;
  size_t tensor;
};

enum class TaskKind { kHost, kSegment, kCopy };

/*! \brief `function(*inputs, *outputs)`; the last `outputs` of `args` are written. */
struct PlanTask {
  TaskKind kind;
  std::string function;
  std::vector<size_t> args;
  size_t outputs;
  std::vector<size_t> deps;
  std::string processor;
  std::vector<std::string> source;
};

struct Plan {
  std::vector<PlanPort> inputs;
  std::vector<PlanPort> outputs;
  std::vector<PlanTensor> tensors;
  std::vector<PlanTask> tasks;
  int64_t arena_bytes;
  int64_t scratch_bytes = 0;  // what host kernels ask for meanwhile, as far as known
};

/*! \brief "host kernel 'fused_add' (task 3, from 'layer1/add')": a task as messages name it. */
std::string Describe(const Plan& plan, size_t task);

/*!
 * \brief Parse and validate: afterwards every index is in range and every window lies inside its
 * place (arena, ports, `constant_bytes`). Throws byoc.ArtifactError naming what is wrong.
 */
Plan ParsePlan(const std::string& json, const std::vector<int64_t>& constant_bytes);

}  // namespace byoc

#endif  // BYOC_RUNTIME_PLAN_H_

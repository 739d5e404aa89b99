/// \file
/// The plan as the executor sees it: the C++ side of runtime/plan.py.
#ifndef BYOC_RUNTIME_PLAN_H_
#define BYOC_RUNTIME_PLAN_H_

#include <dlpack/dlpack.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace byoc {

/// Version of the plan's schema; must equal PLAN_VERSION of runtime/plan.py.
inline constexpr int64_t kPlanVersion = 1;

/// The memory that a tensor of a plan lies in: a port of the caller, a constant, or the arena.
///
/// Plan files call it `place`.
enum class MemorySpace { kInput, kOutput, kConstant, kArena };

/// A dense row-major window at `offset` bytes of a memory space.
struct PlanTensor {
  std::vector<int64_t> shape;
  DLDataType dtype;
  MemorySpace space;
  size_t index;    // of the port or constant; 0 for the arena
  int64_t offset;  // bytes
  int64_t nbytes;  // derived: elements x element size
  /// Bytes of one element.
  size_t itemsize() const { return static_cast<size_t>(dtype.bits) / 8; }
};

/// A named input or output of the model.
struct PlanPort {
  std::string name;
  size_t tensor;  // id: the whole of the port
};

/// What a task calls: a kernel of the host library, a vendor's segment, or memcpy.
enum class TaskKind { kHost, kSegment, kCopy };

/// One call, `function(*inputs, *outputs)`; the last `outputs` of `args` are written.
struct PlanTask {
  TaskKind kind;
  std::string function;
  std::vector<size_t> args;  // tensor ids
  size_t outputs;
  std::vector<size_t> deps;         // earlier tasks that must have ended
  std::string processor;            // its name
  std::vector<std::string> source;  // names in the source model, for messages
  std::string segment;              // of a host kernel that a vendor gave, for messages
};

/// Tasks, tensors and memory of a model with static shapes.
struct Plan {
  std::vector<PlanPort> inputs;
  std::vector<PlanPort> outputs;
  std::vector<PlanTensor> tensors;
  std::vector<PlanTask> tasks;
  int64_t arena_bytes;        // of each call
  int64_t scratch_bytes = 0;  // what host kernels ask for meanwhile, as far as known
};

/// Returns whether two windows share bytes.
bool Overlap(const PlanTensor& a, const PlanTensor& b);

/// Returns a task as messages name it: "host kernel 'fused_add' (task 3, from 'layer1/add')".
std::string Describe(const Plan& plan, size_t task);

/// Parses and validates a plan: afterwards every index is in range, every window lies inside its
/// memory space (arena, ports, `constant_bytes`), and its memory holds what its tasks expect
/// (`CheckFlow`). Throws byoc.ArtifactError naming what is wrong.
Plan ParsePlan(const std::string& json, const std::vector<int64_t>& constant_bytes);

}  // namespace byoc

#endif  // BYOC_RUNTIME_PLAN_H_

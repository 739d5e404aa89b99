/// \file instance.h
/// \brief A program built for one set of shapes: a list of steps, ready to run.
///
///   steps     0 conv     1 conv+sum     2 pool        operands are slots: a layout, a buffer
///   buffers   a ████████████            c    ████     and an offset; several may share memory
///             b    ███████████████
///   memory    [ a | b ] then [ c | b ]                arena windows of buffers that never live
///                                                     at the same time overlap
///
/// The instance is immutable. What a call changes lies in a `Context` (arena, scratchpad, oneDNN
/// memory objects); contexts are pooled, so calls from several threads do not meet.
#ifndef BYOC_DNNL_INSTANCE_H_
#define BYOC_DNNL_INSTANCE_H_

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "layout.h"

namespace byoc::onednn {

/// Whose bytes a buffer's are.
enum class MemorySpace : uint8_t {
  kArena,     ///< this instance's: reused among buffers that never live at the same time
  kInput,     ///< the caller's, read only
  kOutput,    ///< the caller's, written
  kConstant,  ///< fixed when the instance was built
};

/// A stretch of memory that steps read and write.
struct Buffer {
  MemorySpace space = MemorySpace::kArena;
  int index = 0;               ///< kInput, kOutput: position; kConstant: the artifact's, or -1
  int64_t size = 0;            ///< bytes
  const void* data = nullptr;  ///< kConstant: its first byte
  std::shared_ptr<const void> owner;  ///< kConstant: packed memory; null for the artifact's own
};

/// A tensor as it lies in memory: layout, buffer, and bytes from the buffer's start.
///
/// A handle that is cheap to copy; several may show the same bytes under different shapes.
struct Tensor {
  Desc desc;
  DType dtype = DType::kFloat32;
  int buffer = -1;     ///< position in StepList::buffers
  int64_t offset = 0;  ///< bytes, to which the descriptor may add an offset of its own

  /// Bytes from the buffer's start to the first element.
  int64_t Begin() const { return offset + desc.get_submemory_offset() * SizeOf(dtype); }
};

/// The window of `shape` at `begin` of a tensor: the same memory, no copy.
///
/// \return Nothing where the layout has no such window (it would cut a block of channels).
std::optional<Tensor> Window(const Tensor& tensor, const Dims& shape, const Dims& begin);

/// The same tensor, its distance from the buffer's start all in `offset`: some of oneDNN's
/// kernels (matmul's) overlook an offset inside a descriptor.
Tensor Rebased(const Tensor& tensor);

/// A kernel of ours: receives the first byte of each of its operands, in the step's order.
///
/// Called by several threads at once, with different operands: it keeps no state of its own.
using Kernel = std::function<void(void* const* operands)>;

/// One step: a oneDNN primitive with its arguments, or a kernel of ours.
struct Step {
  std::string op;      ///< kind and source, for messages and profiles
  std::string impl;    ///< what runs: oneDNN's implementation, or our kernel's name
  std::string detail;  ///< layouts and fused post-ops
  dnnl::primitive primitive;
  std::vector<std::pair<int, int>> args;  ///< primitive: (DNNL_ARG_..., slot)
  int64_t scratchpad = 0;                 ///< primitive: bytes
  bool loses_nan = false;                 ///< primitive: a fused function answers NaN with a number
  Kernel kernel;
  std::vector<int> operands;  ///< kernel: slots

  /// Call `visit(slot)` for each tensor the step reads or writes.
  template <typename F>
  void ForEachSlot(F&& visit) const {
    for (const auto& arg : args) visit(arg.second);
    for (int slot : operands) visit(slot);
  }
};

/// What the builder makes; `Instance` plans its memory.
struct StepList {
  std::vector<Buffer> buffers;
  std::vector<Tensor> slots;  ///< every tensor that a step names
  std::vector<Step> steps;    ///< in the order they run
};

/// Time of one step in a profile.
struct StepTime {
  const Step* step;     ///< owned by the instance
  double microseconds;  ///< the least of all runs
};

/// A program for one set of shapes, ready to run.
class Instance {
 public:
  /// Plans the memory of a list; nothing is allocated before the first run.
  explicit Instance(StepList list);
  ~Instance();

  /// Run all steps; safe to call from several threads.
  ///
  /// \param inputs, outputs First byte of each of the caller's tensors, in program order. They are
  /// row-major and of the shapes the instance was built for: nothing is checked here.
  /// \throw ProgramError when a step fails, for example at an index out of range; the instance
  /// stays usable.
  void Run(void* const* inputs, void* const* outputs) const;

  /// Run `repeat` times, timing each step; the outputs hold the result of the last run.
  std::vector<StepTime> Profile(void* const* inputs, void* const* outputs, int repeat) const;

  const std::vector<Step>& steps() const { return list_.steps; }
  const StepList& list() const { return list_; }

  /// Whether a step answers NaN with a number.
  bool loses_nan() const { return loses_nan_; }

  /// Bytes for values between steps, per call.
  int64_t arena_bytes() const { return arena_bytes_; }

  /// Bytes that each call running at the same time needs.
  int64_t workspace_bytes() const { return arena_bytes_ + scratchpad_bytes_; }

  /// Bytes of packed constants; equal ones of other instances may be the same memory.
  size_t packed_bytes() const;

 private:
  class Context;
  std::unique_ptr<Context> TakeContext() const;
  void GiveBack(std::unique_ptr<Context> context) const;

  StepList list_;
  std::vector<int64_t> arena_offsets_;  // per buffer
  int64_t arena_bytes_ = 0;
  int64_t scratchpad_bytes_ = 0;
  bool loses_nan_ = false;
  // Exchanged whole, without a lock: a child forked meanwhile finds none held.
  static constexpr size_t kMaxIdle = 4;
  mutable std::array<std::atomic<Context*>, kMaxIdle> idle_{};
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_INSTANCE_H_

/*!
 * \file instance.h
 * \brief A program built for one set of shapes: a list of steps, ready to run.
 *
 *   steps     0 conv     1 conv+sum     2 pool        operands are slots: a layout, a buffer
 *   buffers   a ████████████            c    ████     and an offset; several may share memory
 *             b    ███████████████
 *   memory    [ a | b ] then [ c | b ]                arena windows of buffers that never live
 *                                                     at the same time overlap
 *
 * The instance is immutable. What a call changes lies in a `Context` (arena, scratchpad, oneDNN
 * memory objects); contexts are pooled, so calls from several threads do not meet.
 */
#ifndef BYOC_DNNL_INSTANCE_H_
#define BYOC_DNNL_INSTANCE_H_

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "layout.h"

namespace byoc::onednn {

/*! \brief Who owns the bytes of a buffer. */
enum class MemorySpace : uint8_t { kArena, kInput, kOutput, kConstant };

struct Buffer {
  MemorySpace space = MemorySpace::kArena;
  int index = 0;                      // kInput, kOutput: position; kArena: unused
  int64_t size = 0;                   // bytes
  const void* data = nullptr;         // kConstant
  std::shared_ptr<const void> owner;  // kConstant: packed memory; null for the artifact's own
};

/*! \brief A tensor as it lies in memory: layout, buffer, and bytes from the buffer's start. */
struct Tensor {
  Desc desc;
  DType dtype = DType::kFloat32;
  int buffer = -1;
  int64_t offset = 0;

  /*! \brief Bytes from the buffer's start to the first element. */
  int64_t Begin() const { return offset + desc.get_submemory_offset() * SizeOf(dtype); }
};

/*! \brief The window of `shape` at `begin` of a tensor, or nothing where its layout has none. */
std::optional<Tensor> Window(const Tensor& tensor, const Dims& shape, const Dims& begin);

/*!
 * \brief The same tensor, its distance from the buffer's start all in `offset`: some of oneDNN's
 * kernels (matmul's) overlook an offset inside a descriptor.
 */
Tensor Rebased(const Tensor& tensor);

/*! \brief A kernel of ours: receives the first byte of each of its operands. */
using Kernel = std::function<void(void* const* operands)>;

/*! \brief One step: a oneDNN primitive with its arguments, or a kernel of ours. */
struct Step {
  std::string op;      // kind and source, for messages and profiles
  std::string impl;    // what runs: oneDNN's implementation, or our kernel's name
  std::string detail;  // layouts and fused post-ops
  dnnl::primitive primitive;
  std::vector<std::pair<int, int>> args;  // primitive: (argument, slot)
  int64_t scratchpad = 0;                 // primitive: bytes
  Kernel kernel;
  std::vector<int> operands;  // kernel: slots

  template <typename F>
  void ForEachSlot(F&& visit) const {
    for (const auto& arg : args) visit(arg.second);
    for (int slot : operands) visit(slot);
  }
};

/*! \brief What the builder makes; `Instance` plans its memory. */
struct StepList {
  std::vector<Buffer> buffers;
  std::vector<Tensor> slots;
  std::vector<Step> steps;
};

/*! \brief Time of one step in a profile. */
struct StepTime {
  const Step* step;
  double microseconds;  // the least of all runs
};

class Instance {
 public:
  explicit Instance(StepList list);
  ~Instance();

  /*! \brief Run all steps. Pointers in program order; safe to call from several threads. */
  void Run(void* const* inputs, void* const* outputs) const;

  /*! \brief Run `repeat` times, timing each step. */
  std::vector<StepTime> Profile(void* const* inputs, void* const* outputs, int repeat) const;

  const std::vector<Step>& steps() const { return list_.steps; }
  const StepList& list() const { return list_; }
  int64_t arena_bytes() const { return arena_bytes_; }
  /*! \brief Bytes that each call running at the same time needs. */
  int64_t workspace_bytes() const { return arena_bytes_ + scratchpad_bytes_; }
  /*! \brief Bytes of packed constants; equal ones of other instances may be the same memory. */
  size_t packed_bytes() const;

 private:
  class Context;
  std::unique_ptr<Context> TakeContext() const;
  void GiveBack(std::unique_ptr<Context> context) const;

  StepList list_;
  std::vector<int64_t> arena_offsets_;  // per buffer
  int64_t arena_bytes_ = 0;
  int64_t scratchpad_bytes_ = 0;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Context>> idle_;
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_INSTANCE_H_

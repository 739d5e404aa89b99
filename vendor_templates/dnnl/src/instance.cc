// A run touches the heap only for its context, and contexts are reused. Making one resolves every
// slot once: pointers into the arena, oneDNN memory objects, argument lists. What differs from call
// to call is the caller's tensors, so a run swaps the pointers of the slots that lie there, if they
// changed since the context's last run, and then executes step by step:
//
//   TakeContext ── SetBorders(inputs, outputs) ── RunStep 0, 1, 2, ... ── GiveBack
//
// A context that meets an error is not given back: the next call makes a fresh one.
#include "instance.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "error.h"
#include "memory_plan.h"
#include "storage.h"

namespace byoc::onednn {

Tensor Rebased(const Tensor& tensor) {
  if (tensor.desc.get_submemory_offset() == 0) return tensor;
  Dims dims = tensor.desc.get_dims();
  Tensor rebased = tensor;
  if (IsStrided(tensor.desc)) {
    rebased.desc = Desc(dims, tensor.desc.get_data_type(), tensor.desc.get_strides());
    rebased.offset = tensor.Begin();
  }
  return rebased;
}

std::optional<Tensor> Window(const Tensor& tensor, const Dims& shape, const Dims& begin) {
  Tensor window = tensor;
  window.desc = tensor.desc.submemory_desc(shape, begin, /*allow_empty=*/true);
  if (IsEmpty(window.desc)) return std::nullopt;
  if (!IsStrided(tensor.desc)) {
    Desc origin = tensor.desc.submemory_desc(shape, Dims(shape.size(), 0), /*allow_empty=*/true);
    if (!IsEmpty(origin) && origin.get_padded_dims() == window.desc.get_padded_dims()) {
      // The tensor may be such a window itself: its own offset then stays in the descriptor.
      int64_t before = origin.get_submemory_offset();
      window.offset += (window.desc.get_submemory_offset() - before) * SizeOf(tensor.dtype);
      window.desc = origin;
    }
    return window;
  }
  return Rebased(window);
}

/// Everything one call writes to, prepared so that a call only swaps border pointers.
class Instance::Context {
 public:
  explicit Context(const Instance& instance)
      : steps_(instance.list_.steps),
        stream_(Engine()),
        arena_(Allocate(instance.arena_bytes_)),
        scratchpad_(Allocate(instance.scratchpad_bytes_)) {
    const StepList& list = instance.list_;
    pointers_.resize(list.slots.size());
    memories_.resize(list.slots.size());
    for (size_t slot = 0; slot < list.slots.size(); ++slot) {
      const Tensor& tensor = list.slots[slot];
      const Buffer& buffer = list.buffers[tensor.buffer];
      if (buffer.space == MemorySpace::kArena) {
        pointers_[slot] = static_cast<char*>(arena_.get()) + instance.arena_offsets_[tensor.buffer];
      } else if (buffer.space == MemorySpace::kConstant) {
        pointers_[slot] = const_cast<void*>(buffer.data);
      } else {
        borders_.push_back({static_cast<int>(slot),
                            buffer.space == MemorySpace::kInput,
                            buffer.index,
                            nullptr,
                            {}});
      }
    }
    Bind(list);
  }

  void SetBorders(void* const* inputs, void* const* outputs) {
    for (Border& border : borders_) {
      void* base = (border.is_input ? inputs : outputs)[border.index];
      if (base == border.bound) continue;
      border.bound = base;
      pointers_[border.slot] = base;
      const Tensor& tensor = (*slots_)[border.slot];
      if (memories_[border.slot]) {
        memories_[border.slot].set_data_handle(static_cast<char*>(base) + tensor.offset);
      }
      for (void** operand : border.operands) *operand = static_cast<char*>(base) + tensor.Begin();
    }
  }

  void RunStep(size_t i) {
    const Step& step = steps_[i];
    Bound& bound = bound_[i];
    if (step.kernel) {
      step.kernel(bound.operands.data());
      return;
    }
    dnnl_status_t status =
        dnnl_primitive_execute(step.primitive.get(), stream_.get(),
                               static_cast<int>(bound.args.size()), bound.args.data());
    if (status != dnnl_success) Fail(step.op, ": oneDNN failed with status ", status);
  }

 private:
  struct Border {
    int slot;
    bool is_input;
    int index;
    void* bound;
    std::vector<void**> operands;  // of kernels
  };
  struct Bound {
    std::vector<dnnl_exec_arg_t> args;
    std::vector<void*> operands;
  };

  void Bind(const StepList& list) {
    slots_ = &list.slots;
    bound_.resize(steps_.size());
    std::vector<Border*> border_of(list.slots.size(), nullptr);
    for (Border& border : borders_) border_of[border.slot] = &border;
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      Bound& bound = bound_[i];
      for (const auto& [arg, slot] : step.args) {
        bound.args.push_back({arg, Memory(slot).get()});
      }
      if (step.scratchpad > 0) {
        dnnl::memory::dim bytes = step.scratchpad;
        Desc desc({bytes}, dnnl::memory::data_type::u8, Tag::a);
        scratchpads_.emplace_back(desc, Engine(), scratchpad_.get());
        bound.args.push_back({DNNL_ARG_SCRATCHPAD, scratchpads_.back().get()});
      }
      bound.operands.resize(step.operands.size());
      for (size_t k = 0; k < step.operands.size(); ++k) {
        int slot = step.operands[k];
        if (border_of[slot] != nullptr) {
          border_of[slot]->operands.push_back(&bound.operands[k]);
        } else {
          bound.operands[k] = static_cast<char*>(pointers_[slot]) + list.slots[slot].Begin();
        }
      }
    }
  }

  dnnl::memory& Memory(int slot) {
    if (!memories_[slot]) {
      const Tensor& tensor = (*slots_)[slot];
      char* base = static_cast<char*>(pointers_[slot]);
      memories_[slot] =
          dnnl::memory(tensor.desc, Engine(), base == nullptr ? nullptr : base + tensor.offset);
    }
    return memories_[slot];
  }

  const std::vector<Step>& steps_;
  const std::vector<Tensor>* slots_ = nullptr;
  dnnl::stream stream_;
  std::shared_ptr<void> arena_, scratchpad_;
  std::vector<void*> pointers_;         // per slot: start of its buffer
  std::vector<dnnl::memory> memories_;  // per slot; empty unless a primitive uses it
  std::vector<dnnl::memory> scratchpads_;
  std::vector<Border> borders_;
  std::vector<Bound> bound_;
};

Instance::Instance(StepList list) : list_(std::move(list)) {
  const int never = static_cast<int>(list_.steps.size());
  std::vector<Lifetime> lifetimes(list_.buffers.size(), Lifetime{0, never, -1});
  for (int i = 0; i < never; ++i) {
    const Step& step = list_.steps[i];
    scratchpad_bytes_ = std::max(scratchpad_bytes_, step.scratchpad);
    loses_nan_ = loses_nan_ || step.loses_nan;
    step.ForEachSlot([&](int slot) {
      int buffer = list_.slots[slot].buffer;
      Lifetime& life = lifetimes[buffer];
      life.first = std::min(life.first, i);
      life.last = i;
      if (list_.buffers[buffer].space == MemorySpace::kArena)
        life.size = list_.buffers[buffer].size;
    });
  }
  for (size_t i = 0; i < list_.buffers.size(); ++i) {
    if (lifetimes[i].last < 0) list_.buffers[i].owner.reset();  // a stage on the way to packing
  }
  MemoryPlan plan = PlanMemory(lifetimes);
  arena_offsets_ = std::move(plan.offsets);
  arena_bytes_ = plan.size;
}

Instance::~Instance() {
  for (std::atomic<Context*>& place : idle_) delete place.load(std::memory_order_acquire);
}

size_t Instance::packed_bytes() const {
  std::map<const void*, size_t> owned;
  for (const Buffer& buffer : list_.buffers) {
    if (buffer.owner != nullptr) owned[buffer.owner.get()] = static_cast<size_t>(buffer.size);
  }
  size_t bytes = 0;
  for (const auto& [memory, size] : owned) bytes += size;
  return bytes;
}

std::unique_ptr<Instance::Context> Instance::TakeContext() const {
  for (std::atomic<Context*>& place : idle_) {
    if (place.load(std::memory_order_relaxed) == nullptr) continue;
    if (Context* context = place.exchange(nullptr, std::memory_order_acquire)) {
      return std::unique_ptr<Context>(context);
    }
  }
  return std::make_unique<Context>(*this);
}

void Instance::GiveBack(std::unique_ptr<Context> context) const {
  for (std::atomic<Context*>& place : idle_) {
    Context* empty = nullptr;
    if (place.compare_exchange_strong(empty, context.get(), std::memory_order_release,
                                      std::memory_order_relaxed)) {
      context.release();
      return;
    }
  }
}

void Instance::Run(void* const* inputs, void* const* outputs) const {
  std::unique_ptr<Context> context = TakeContext();
  context->SetBorders(inputs, outputs);
  for (size_t i = 0; i < list_.steps.size(); ++i) context->RunStep(i);
  GiveBack(std::move(context));
}

std::vector<StepTime> Instance::Profile(void* const* inputs, void* const* outputs,
                                        int repeat) const {
  using Clock = std::chrono::steady_clock;
  std::vector<StepTime> times;
  for (const Step& step : list_.steps) times.push_back({&step, 1e30});
  std::unique_ptr<Context> context = TakeContext();
  context->SetBorders(inputs, outputs);
  for (int r = 0; r < repeat; ++r) {
    for (size_t i = 0; i < times.size(); ++i) {
      Clock::time_point start = Clock::now();
      context->RunStep(i);
      double spent = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
      times[i].microseconds = std::min(times[i].microseconds, spent);
    }
  }
  GiveBack(std::move(context));
  return times;
}

}  // namespace byoc::onednn

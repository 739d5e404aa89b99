/// \file checked_instance.h
/// \brief An instance whose NaN never becomes a number, at the speed of one where it could.
///
///   run ──▶ fast steps ──▶ no thread met NaN: done
///                     └──▶ some did: all steps again, without the fused functions that lose it
///
/// ReLU, clip, hard sigmoid and exp fused into a primitive of oneDNN answer NaN with a number, as
/// the processor's max and min do. Those instructions leave a mark, though, which byoc's threads
/// collect (threads::TakeInvalid). So diverged models pay for the second run, healthy ones do not.
#ifndef BYOC_DNNL_CHECKED_INSTANCE_H_
#define BYOC_DNNL_CHECKED_INSTANCE_H_

#include <atomic>
#include <functional>
#include <mutex>

#include "instance.h"

namespace byoc::onednn {

/// A program for one set of shapes, in a fast form and, once NaN was met, in one that keeps it.
class CheckedInstance {
 public:
  /// Makes the steps of a form.
  using Build = std::function<StepList(bool keeps_nan)>;

  /// Builds the fast form; `build` is kept for the other one.
  explicit CheckedInstance(Build build);
  ~CheckedInstance();
  CheckedInstance(const CheckedInstance&) = delete;
  CheckedInstance& operator=(const CheckedInstance&) = delete;

  /// Run all steps; safe to call from several threads. See `Instance::Run`.
  void Run(void* const* inputs, void* const* outputs) const;

  /// The form that runs while there is no NaN.
  const Instance& fast() const { return fast_; }

  /// Whether the other form may be built: the constants of the artifact are then still needed.
  bool may_build() const { return fast_.loses_nan(); }

 private:
  const Instance& Exact() const;

  Build build_;
  Instance fast_;
  mutable std::mutex building_;
  mutable std::atomic<const Instance*> exact_{nullptr};  // owned; made when it is first needed
  // Whether the last run met NaN: the next one will, and starts with the form that keeps it.
  mutable std::atomic<bool> expects_nan_{false};
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_CHECKED_INSTANCE_H_

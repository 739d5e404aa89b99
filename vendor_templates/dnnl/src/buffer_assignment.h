/// \file buffer_assignment.h
/// \brief Which buffer every value lies in, and in which layout; its copies in other layouts; and
/// the memory that waits for values not made yet.
///
/// Layouts travel: a value stays in the layout its producer chose until an op needs another one. A
/// copy in another layout is remembered, so it is made once. Constants are copied now, not at run
/// time.
///
/// A value may have a *destination*: its producer writes straight into a window of a concat's
/// result, or into the caller's output buffer, and no copy follows.
///
///     conv a ──▶ ┌────────┐
///                │ a │ b  │ result of the concat   both producers write into their window of it;
///     pool b ──▶ └────────┘                        the concat itself is no step
#ifndef BYOC_DNNL_BUFFER_ASSIGNMENT_H_
#define BYOC_DNNL_BUFFER_ASSIGNMENT_H_

#include <optional>
#include <vector>

#include "step_writer.h"
#include "storage.h"
#include "values.h"

namespace byoc::onednn {

/// Gives out operands and memory for results, adding the copies that this takes as steps.
///
/// Tensors are small handles (a descriptor, a buffer's number, an offset); memory belongs to the
/// buffers of the step list. All borrowed objects must outlive this one.
class BufferAssignment {
 public:
  /// Assigns the program's inputs to the caller's buffers, and constants to the artifact's.
  ///
  /// \throw ProgramError naming a constant that does not have the dtype or number of elements the
  /// program says.
  BufferAssignment(const Values& values, StepWriter& steps, ConstantStore& constants);

  /// \name Operands
  ///@{

  /// A value as it lies. \throw std::out_of_range before it was made.
  const Tensor& Get(int value) const { return homes_[value].tensors.at(0); }

  /// A value in row-major order.
  Tensor Plain(int value);

  /// A value without inner blocks: any strides.
  Tensor Strided(int value);

  /// A value stored as this dtype of reals: as it lies, or converted into a dense copy of its
  /// layout.
  Tensor Float(int value, DType dtype);

  /// A value in a given layout, by a copy that later calls find again.
  Tensor As(int value, const Desc& want);

  /// A tensor (a view of a value, not the value itself) in a given layout.
  Tensor As(const Tensor& tensor, const Desc& want);

  /// A constant in exactly this layout, with what oneDNN keeps beside it (int8 weights).
  Tensor Packed(const Tensor& constant, const Desc& want);

  ///@}
  /// \name May memory be changed?
  ///@{

  /// True when `tensor`, which holds `value`, may be written: the op being built reads it last.
  bool MayOverwrite(int value, const Tensor& tensor) const;

  /// True when post-ops may change the memory of `value`, an output of the op being built, in
  /// place: no other value that is still read, also by these post-ops, lies there.
  bool MayUpdate(int value) const;

  ///@}
  /// \name Results
  ///@{

  /// True when a concat or the caller may take `value` in memory of theirs, if its layout fits.
  bool MayHaveDestination(int value) const;

  /// Where a concat or the caller wants `value` when its layout is `desc`; nothing: nowhere.
  std::optional<Tensor> Destination(int value, const Desc& desc);

  /// Memory for `value` in layout `desc`: its destination where that has this layout, or fresh.
  Tensor Result(int value, const Desc& desc);

  /// Memory for a concat's result: windows given out already lie in it.
  ///
  /// \param choose () → the layout, asked only where none was given out.
  template <typename ChooseLayout>
  Tensor ConcatResult(int value, const ChooseLayout& choose) {
    if (homes_[value].destination) return *homes_[value].destination;
    Desc desc = choose();
    std::optional<Tensor> destination = Destination(value, desc);
    return destination ? *destination : Fresh(desc, values_.Type(value));
  }

  /// Fresh memory of the arena.
  Tensor Fresh(const Desc& desc, DType dtype);

  /// A new constant of `desc.get_size()` bytes, which the caller fills through `data`.
  Tensor NewConstant(const Desc& desc, DType dtype, void** data);

  /// Say where a value lies, once it is made.
  void Set(int value, Tensor tensor);

  /// Copy outputs that do not lie in the caller's memory yet into it. Call once, last.
  void CopyOutputs();

  ///@}

 private:
  /// Where one value is and is to be.
  struct Home {
    std::vector<Tensor> tensors;        // [0] as produced, then copies in other layouts
    std::optional<Tensor> destination;  // given out by Destination
    int output = -1;  // position of the output whose memory it may use, also under another shape
  };
  /// What lies in one buffer.
  struct Occupancy {
    std::vector<int> values;
    bool pinned = false;  // windows of it are given out: never overwrite
  };

  void PlanOutputs();
  void AssignInputs();
  void AssignConstants(const std::vector<Constant>& constants);
  Tensor NewTensor(const Desc& desc, DType dtype, Buffer buffer);
  Tensor OutputMemory(int position, const Desc& desc, DType dtype);
  bool LeadsLayout(const Op& concat, int value) const;
  std::optional<Tensor> WindowInConcat(int value, const Desc& desc, int depth);
  std::optional<Tensor> WindowIn(const Op& concat, int value, const Desc& desc, int depth);

  const Values& values_;
  StepWriter& steps_;
  ConstantStore& constants_;
  std::vector<Home> homes_;           // per value
  std::vector<Occupancy> occupancy_;  // per buffer
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_BUFFER_ASSIGNMENT_H_

/// \file values.h
/// \brief What is known of every value of a program before a step is written: its shape for these
/// bindings, who makes it, and who still has to read it.
#ifndef BYOC_DNNL_VALUES_H_
#define BYOC_DNNL_VALUES_H_

#include <vector>

#include "program.h"

namespace byoc::onednn {

/// The values of one program under one set of variable values.
///
/// Everything is fixed when the object is made but the counts of reads that are still to come:
/// `Consume` takes an op's reads off once the op is built. Borrows the program and the bindings.
class Values {
 public:
  /// \throw ProgramError naming a value whose shape has a negative or an enormous volume.
  Values(const Program& program, const Bindings& bindings);

  const Program& program() const { return program_; }

  /// Values of the program's variables.
  const Bindings& bindings() const { return bindings_; }

  /// Number of values; they are numbered from 0.
  int Count() const { return static_cast<int>(facts_.size()); }

  /// The shape, every dimension a number.
  const Dims& Shape(int value) const { return facts_[value].shape; }
  DType Type(int value) const { return program_.values[value].dtype; }

  /// Number of dimensions.
  int Rank(int value) const { return static_cast<int>(Shape(value).size()); }

  /// The op that makes a value, or null for inputs and constants.
  const Op* Producer(int value) const { return facts_[value].producer; }

  /// The ops that read a value, also by post-ops, in program order; one entry for each read.
  const std::vector<const Op*>& Users(int value) const { return facts_[value].users; }

  /// The only op that reads a value, or null where there are more or the caller reads it too.
  const Op* OnlyUser(int value) const;

  /// How many reads of a value are not built yet, those of the op being built included.
  int ReadsLeft(int value) const { return facts_[value].reads_left; }

  /// Position among the program's outputs, or -1.
  int OutputPosition(int value) const { return facts_[value].output_position; }
  bool IsOutput(int value) const { return OutputPosition(value) >= 0; }

  /// Take the reads of an op, which has been built, off the reads that are left.
  void Consume(const Op& op);

 private:
  struct Facts {
    Dims shape;
    const Op* producer = nullptr;
    std::vector<const Op*> users;
    int reads_left = 0;
    int output_position = -1;
  };

  const Program& program_;
  const Bindings& bindings_;
  std::vector<Facts> facts_;  // per value
};

/// Call `visit(value)` for each read of an op: its inputs, then the operands of its post-ops.
template <typename F>
void ForEachRead(const Op& op, F&& visit) {
  for (int value : op.inputs) visit(value);
  for (const PostOp& post : op.post) {
    if (post.is_binary) visit(post.value);
  }
}

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_VALUES_H_

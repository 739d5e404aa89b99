/// \file step_writer.h
/// \brief Writes a StepList: buffers, slots, and the steps that read and write them.
#ifndef BYOC_DNNL_STEP_WRITER_H_
#define BYOC_DNNL_STEP_WRITER_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "instance.h"

namespace byoc::onednn {

struct Op;

/// An argument of a primitive.
struct Arg {
  int id;  ///< DNNL_ARG_...
  Tensor tensor;
};

/// The list of steps while it is being written.
///
/// Steps run in the order they are added. A tensor becomes a slot when a step first uses it; equal
/// tensors share one.
class StepWriter {
 public:
  /// Name the steps that follow after an op; null: after the program's outputs.
  void Name(const Op* op) { op_ = op; }

  /// Add a oneDNN primitive with its arguments and the scratchpad it asks for.
  ///
  /// \param detail Layouts and fused post-ops, for introspection.
  template <typename PrimitiveDesc>
  void Add(const PrimitiveDesc& pd, const std::vector<Arg>& args, const std::string& detail = "") {
    AddPrimitive(dnnl::primitive(pd.get()), pd, args, detail);
  }

  /// Add a kernel of ours.
  ///
  /// \param name What introspection calls it, e.g. "byoc:softmax".
  /// \param operands In the order the kernel expects their pointers.
  void Add(const std::string& name, const std::vector<Tensor>& operands, Kernel kernel,
           const std::string& detail = "");

  /// Copy between two layouts of one shape; reals may be stored as float32 or bfloat16.
  ///
  /// \throw ProgramError where neither oneDNN nor a kernel of ours can.
  void Copy(const Tensor& from, const Tensor& to);

  /// A new buffer; its number.
  int AddBuffer(Buffer buffer);
  const Buffer& BufferOf(const Tensor& tensor) const { return list_.buffers[tensor.buffer]; }
  bool IsConstant(const Tensor& tensor) const;

  /// First element of a constant tensor.
  const void* ConstantData(const Tensor& tensor) const;

  /// The finished list. Call once, last.
  StepList Take() { return std::move(list_); }

 private:
  void AddPrimitive(dnnl::primitive primitive, const dnnl::primitive_desc_base& pd,
                    const std::vector<Arg>& args, const std::string& detail);
  Step NewStep(const std::string& impl, const std::string& detail) const;
  int Slot(const Tensor& tensor);

  StepList list_;
  const Op* op_ = nullptr;
  std::map<std::pair<int, int64_t>, std::vector<int>> slots_;  // by buffer and offset
};

/// True when oneDNN fell back to its reference code, which is for checking, not for speed.
bool IsReference(const char* impl);

/// How messages and profiles name an op: "convolution 'layer1.0'".
std::string NameOf(const Op& op);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_STEP_WRITER_H_

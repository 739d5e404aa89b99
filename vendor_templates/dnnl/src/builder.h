/*!
 * \file builder.h
 * \brief Program + variable values → StepList. The builder knows where every value lies; the ops
 * (ops/ *.cc) ask it for operands in the layout they like and tell it where their result is.
 *
 * Layouts travel: a value stays in the layout its producer chose until an op needs another one. A
 * copy in another layout is remembered, so it is made once. Constants are copied now, not at run
 * time. Reshapes, transposes and slices move no data where a descriptor can express them.
 *
 * A value may be *placed*: its producer writes straight into a window of a concat's result, or into
 * the caller's output buffer.
 */
#ifndef BYOC_DNNL_BUILDER_H_
#define BYOC_DNNL_BUILDER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "instance.h"
#include "program.h"
#include "storage.h"

namespace byoc::onednn {

/*! \brief An argument of a primitive. */
struct Arg {
  int id;  // DNNL_ARG_...
  Tensor tensor;
};

class Builder {
 public:
  Builder(const Program& program, const Bindings& bindings, ConstantStore* constants, int threads);

  /*! \brief Build all ops. Throws ProgramError naming the op. Call once. */
  StepList Build();

  // ---- What the program says.
  const Dims& Shape(int value) const { return shapes_[value]; }
  DType Type(int value) const { return program_.values[value].dtype; }
  int Rank(int value) const { return static_cast<int>(shapes_[value].size()); }
  const Bindings& bindings() const { return bindings_; }
  int threads() const { return threads_; }
  /*! \brief Heavy ops may round their operands to bfloat16. */
  bool bf16() const { return program_.bf16; }
  /*! \brief The op that writes a value, or null for inputs and constants. */
  const Op* Producer(int value) const;
  /*! \brief The only op that reads a value, or null. */
  const Op* OnlyUser(int value) const;
  bool IsOutput(int value) const { return output_position_[value] >= 0; }

  // ---- Operands.
  /*! \brief A value as it lies. */
  const Tensor& Get(int value) const;
  /*! \brief A value in row-major order. */
  Tensor Plain(int value);
  /*! \brief A value without inner blocks: any strides. */
  Tensor Strided(int value);
  /*! \brief A value in a given layout. */
  Tensor As(int value, const Desc& want);
  /*! \brief A tensor (a view of a value, not the value itself) in a given layout. */
  Tensor As(const Tensor& tensor, const Desc& want);
  /*! \brief A constant in exactly this layout, with what oneDNN keeps beside it (int8 weights). */
  Tensor Packed(const Tensor& constant, const Desc& want);
  bool IsConstant(const Tensor& tensor) const;
  /*! \brief First element of a constant tensor. */
  const void* ConstantData(const Tensor& tensor) const;
  /*! \brief True when `tensor`, which holds `value`, may be written: this op reads it last. */
  bool MayOverwrite(int value, const Tensor& tensor) const;
  /*!
   * \brief True when post-ops may change the memory of `value`, an output of this op, in place: no
   * other value that is still read, also by these post-ops, lies there.
   */
  bool MayUpdate(int value) const;

  // ---- Results.
  /*! \brief True when concat or caller has a place for `value`, if its layout fits. */
  bool HasPlace(int value) const;
  /*! \brief Where concat or caller wants `value` when its layout is `desc`; nothing: nowhere. */
  std::optional<Tensor> Placed(int value, const Desc& desc);
  /*! \brief Memory for `value` in layout `desc`: placed where plain memory is asked for, or fresh.
   */
  Tensor Result(int value, const Desc& desc);
  /*! \brief Memory for a concat's result: windows given out already lie in it. */
  template <typename ChooseLayout>
  Tensor ConcatResult(int value, const ChooseLayout& choose) {
    if (placed_[value]) return *placed_[value];
    Desc desc = choose();
    std::optional<Tensor> placed = Placed(value, desc);
    return placed ? *placed : Fresh(desc, Type(value));
  }
  /*! \brief Fresh memory. */
  Tensor Fresh(const Desc& desc, DType dtype);
  /*! \brief A new constant of `bytes` bytes, filled by the caller through `data`. */
  Tensor NewConstant(const Desc& desc, DType dtype, void** data);
  /*! \brief Say where a value lies. */
  void Set(int value, Tensor tensor);

  // ---- Steps.
  template <typename PrimitiveDesc>
  void Add(const PrimitiveDesc& pd, const std::vector<Arg>& args, const std::string& detail = "") {
    AddPrimitive(dnnl::primitive(pd.get()), pd.impl_info_str(), pd.scratchpad_desc().get_size(),
                 args, detail);
  }
  void Add(const std::string& name, const std::vector<Tensor>& operands, Kernel kernel,
           const std::string& detail = "");
  /*! \brief Copy between layouts of one shape and dtype. */
  void Copy(const Tensor& from, const Tensor& to);

 private:
  void AddPrimitive(dnnl::primitive primitive, const std::string& impl, size_t scratchpad,
                    const std::vector<Arg>& args, const std::string& detail);
  void CountUses();
  void PlanOutputs();
  void PlaceInputsAndConstants();
  void BuildOp(const Op& op);
  void WriteOutputs();
  int Slot(const Tensor& tensor);
  int NewBuffer(Buffer buffer);
  bool LeadsLayout(const Op& concat, int value) const;
  std::optional<Tensor> PlacedInConcat(int value, const Desc& desc, int depth);

  const Program& program_;
  const Bindings& bindings_;
  ConstantStore* constants_;
  int threads_;
  StepList list_;
  const Op* op_ = nullptr;  // being built

  std::vector<Dims> shapes_;
  std::vector<std::vector<int>> users_;        // per value: ops, in order, one entry per read
  std::vector<int> producer_;                  // per value: op or -1
  std::vector<int> remaining_;                 // per value: reads not built yet
  std::vector<int> output_position_;           // per value, or -1
  std::vector<int> output_alias_;              // per value: output whose bytes it may use, or -1
  std::vector<std::vector<Tensor>> tensors_;   // per value: [0] as produced, then copies
  std::vector<std::optional<Tensor>> placed_;  // per value: window given out by Placed
  std::vector<std::vector<int>> values_in_;    // per buffer
  std::vector<bool> pinned_;                   // per buffer: never overwrite
  std::map<std::pair<int, int64_t>, std::vector<int>> slots_;
};

/*! \brief True when oneDNN fell back to its reference code, which is for checking, not for speed.
 */
bool IsReference(const char* impl);

/*! \brief "conv 'layer1.0'": how messages and profiles name an op. */
std::string NameOf(const Op& op);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_BUILDER_H_

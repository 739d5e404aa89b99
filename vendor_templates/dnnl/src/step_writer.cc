#include "step_writer.h"

#include <cstring>

#include "error.h"
#include "kernels/copy.h"
#include "ops/algorithms.h"
#include "ops/table.h"
#include "storage.h"

namespace byoc::onednn {

bool IsReference(const char* impl) { return std::strstr(impl, "ref") != nullptr; }

namespace {

/// Whether a function that a primitive applies to its results answers NaN with a number.
bool FusesLossyFunction(const dnnl::primitive_desc_base& pd) {
  const dnnl::post_ops posts = pd.get_primitive_attr().get_post_ops();
  for (int i = 0; i < posts.len(); ++i) {
    if (posts.kind(i) != dnnl::primitive::kind::eltwise) continue;
    dnnl::algorithm alg;
    float alpha = 0, beta = 0;
    posts.get_params_eltwise(i, alg, alpha, beta);
    if (LosesNan(alg, alpha)) return true;
  }
  return false;
}

}  // namespace

std::string NameOf(const Op& op) {
  return op.source.empty() ? op.kind->name : std::string(op.kind->name) + " '" + op.source + "'";
}

void StepWriter::Copy(const Tensor& from, const Tensor& to) {
  using Type = dnnl::memory::data_type;
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  // Kernels of ours move bytes; where float32 becomes bfloat16 or back, oneDNN converts.
  bool strided = from.dtype == to.dtype && IsStrided(from.desc) && IsStrided(to.desc);
  dnnl::reorder::primitive_desc pd;
  if (from.desc.get_data_type() != Type::f64) {
    pd = dnnl::reorder::primitive_desc(Engine(), from.desc, Engine(), to.desc, attr,
                                       /*allow_empty=*/true);
  }
  // oneDNN's last resort visits element by element; ours at least runs along rows.
  bool slow =
      !pd || IsReference(pd.impl_info_str()) || std::strstr(pd.impl_info_str(), "any") != nullptr;
  std::string detail = Describe(from.desc) + " -> " + Describe(to.desc);
  if (slow && strided) {
    Add("copy", {from, to}, StridedCopy(from.desc, to.desc, SizeOf(from.dtype)), detail);
    return;
  }
  if (!pd) {
    Fail("oneDNN cannot copy ", ToString(from.desc.get_dims()), " from layout ",
         Describe(from.desc), " to ", Describe(to.desc));
  }
  Add(pd, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}, "reorder " + detail);
}

void StepWriter::Add(const std::string& name, const std::vector<Tensor>& operands, Kernel kernel,
                     const std::string& detail) {
  Step step = NewStep(name, detail);
  step.kernel = std::move(kernel);
  for (const Tensor& tensor : operands) step.operands.push_back(Slot(tensor));
  list_.steps.push_back(std::move(step));
}

void StepWriter::AddPrimitive(dnnl::primitive primitive, const dnnl::primitive_desc_base& pd,
                              const std::vector<Arg>& args, const std::string& detail) {
  Step step = NewStep(pd.impl_info_str(), detail);
  step.primitive = std::move(primitive);
  step.scratchpad = static_cast<int64_t>(pd.scratchpad_desc().get_size());
  // Integers hold no NaN, and those that quantised ops limit are none yet.
  step.loses_nan = IsFloat(args[0].tensor.dtype) && FusesLossyFunction(pd);
  for (const Arg& arg : args) step.args.push_back({arg.id, Slot(arg.tensor)});
  list_.steps.push_back(std::move(step));
}

Step StepWriter::NewStep(const std::string& impl, const std::string& detail) const {
  Step step;
  step.op = op_ != nullptr ? NameOf(*op_) : "output";
  step.impl = impl;
  step.detail = detail;
  return step;
}

int StepWriter::AddBuffer(Buffer buffer) {
  list_.buffers.push_back(std::move(buffer));
  return static_cast<int>(list_.buffers.size()) - 1;
}

bool StepWriter::IsConstant(const Tensor& tensor) const {
  return BufferOf(tensor).space == MemorySpace::kConstant;
}

const void* StepWriter::ConstantData(const Tensor& tensor) const {
  return static_cast<const char*>(BufferOf(tensor).data) + tensor.Begin();
}

int StepWriter::Slot(const Tensor& tensor) {
  std::vector<int>& alike = slots_[{tensor.buffer, tensor.offset}];
  for (int slot : alike) {
    if (list_.slots[slot].desc == tensor.desc) return slot;
  }
  list_.slots.push_back(tensor);
  alike.push_back(static_cast<int>(list_.slots.size()) - 1);
  return alike.back();
}

}  // namespace byoc::onednn

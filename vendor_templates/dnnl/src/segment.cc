// The rim: tvm-ffi on one side, Model on the other.
//
//   byoc.vendor.dnnl.init      see byoc/vendor.h
//   byoc.vendor.dnnl.describe  (blob, constants, variable values) -> JSON of the steps
//   byoc.vendor.dnnl.profile   (blob, constants, inputs, outputs, repeat) -> JSON with times
#include <byoc/threads.h>
#include <byoc/vendor.h>

#include <optional>

#include "error.h"
#include "model.h"

namespace byoc::onednn {
namespace {

namespace ffi = tvm::ffi;

std::optional<DType> FromDLPack(DLDataType type) {
  if (type.lanes != 1) return std::nullopt;
  switch (type.code) {
    case kDLFloat:
      if (type.bits == 32) return DType::kFloat32;
      break;
    case kDLInt:
      if (type.bits == 8) return DType::kInt8;
      if (type.bits == 32) return DType::kInt32;
      if (type.bits == 64) return DType::kInt64;
      break;
    case kDLUInt:
      if (type.bits == 8) return DType::kUInt8;
      break;
    case kDLBool:
      return DType::kBool;
    default:
      break;
  }
  return std::nullopt;
}

TensorRef ToRef(const DLTensor& tensor, const char* what) {
  std::optional<DType> dtype = FromDLPack(tensor.dtype);
  if (!dtype) {
    Fail(what, " has DLPack type code ", static_cast<int>(tensor.dtype.code), ", ",
         static_cast<int>(tensor.dtype.bits),
         " bits; legal: float32, int32, int64, uint8, int8, bool");
  }
  return {static_cast<char*>(tensor.data) + tensor.byte_offset, tensor.shape, tensor.ndim, *dtype};
}

std::vector<TensorRef> ToRefs(TensorSpan tensors, const char* what) {
  std::vector<TensorRef> refs;
  refs.reserve(tensors.size());
  for (const DLTensor* tensor : tensors) refs.push_back(ToRef(*tensor, what));
  return refs;
}

std::vector<TensorRef> ToRefs(const ffi::Array<ffi::Tensor>& tensors, const char* what) {
  std::vector<TensorRef> refs;
  for (const ffi::Tensor& tensor : tensors) refs.push_back(ToRef(*tensor.GetDLTensorPtr(), what));
  return refs;
}

/// A model and the constants it still reads, or may.
struct Loaded {
  std::unique_ptr<Model> model;
  std::vector<ffi::Tensor> kept;
};

Loaded Load(std::string_view blob, const ffi::Array<ffi::Tensor>& tensors) {
  std::vector<Constant> constants;
  for (const ffi::Tensor& tensor : tensors) {
    const DLTensor& t = *tensor.GetDLTensorPtr();
    if (t.device.device_type != kDLCPU || !details::IsDense(t)) {
      Fail("constant ", constants.size(), " must be dense and in CPU memory");
    }
    TensorRef ref = ToRef(t, "a constant");
    constants.push_back({ref.data, Dims(ref.shape, ref.shape + ref.rank), ref.dtype});
  }
  Loaded loaded;
  Program program = ReadProgram(blob, static_cast<int>(constants.size()));
  loaded.model = std::make_unique<Model>(std::move(program), std::move(constants), threads::Max(),
                                         &ReleasePages);
  std::vector<bool> needed = loaded.model->ConstantsToKeep();
  for (size_t i = 0; i < needed.size(); ++i) {
    if (needed[i]) loaded.kept.push_back(tensors[static_cast<int64_t>(i)]);
  }
  return loaded;
}

class DnnlSegment : public SegmentRuntime {
 public:
  explicit DnnlSegment(Loaded loaded) : loaded_(std::move(loaded)) {}
  size_t InputCount() const final { return loaded_.model->program().inputs.size(); }
  size_t OutputCount() const final { return loaded_.model->program().outputs.size(); }
  void Execute(TensorSpan inputs, TensorSpan outputs) const final {
    loaded_.model->Run(ToRefs(inputs, "an input"), ToRefs(outputs, "an output"));
  }
  SegmentMemory Memory() const final {
    return {loaded_.model->PackedBytes(), loaded_.model->WorkspaceBytes()};
  }

 private:
  Loaded loaded_;
};

std::unique_ptr<SegmentRuntime> Init(const SegmentInit& init) {
  return std::make_unique<DnnlSegment>(Load(init.blob, init.constants));
}

/// Run `body`, its ProgramError and oneDNN's errors turned into Python's ValueError.
template <typename Body>
auto Guarded(const Body& body) {
  try {
    return body();
  } catch (const ffi::Error&) {
    throw;
  } catch (const std::exception& error) {
    TVM_FFI_THROW(ValueError) << "vendor 'dnnl': " << error.what();
  }
  TVM_FFI_UNREACHABLE();
}

ffi::String DescribeSegment(ffi::Bytes blob, ffi::Array<ffi::Tensor> constants,
                            ffi::Array<int64_t> variables) {
  return Guarded([&] {
    Loaded loaded = Load({blob.data(), blob.size()}, constants);
    return ffi::String(loaded.model->Describe(Bindings(variables.begin(), variables.end())));
  });
}

ffi::String ProfileSegment(ffi::Bytes blob, ffi::Array<ffi::Tensor> constants,
                           ffi::Array<ffi::Tensor> inputs, ffi::Array<ffi::Tensor> outputs,
                           int64_t repeat) {
  return Guarded([&] {
    Loaded loaded = Load({blob.data(), blob.size()}, constants);
    return ffi::String(loaded.model->Profile(
        ToRefs(inputs, "an input"), ToRefs(outputs, "an output"), static_cast<int>(repeat)));
  });
}

}  // namespace
}  // namespace byoc::onednn

BYOC_REGISTER_VENDOR(dnnl, byoc::onednn::Init)

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("byoc.vendor.dnnl.describe", byoc::onednn::DescribeSegment)
      .def("byoc.vendor.dnnl.profile", byoc::onednn::ProfileSegment);
}

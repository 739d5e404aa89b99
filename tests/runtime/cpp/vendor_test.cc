#include "byoc/vendor.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "check.h"
#include "core/mapping.h"
#include "core/tensors.h"
#include "plan/segment_module.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*! \brief y = x * constant[0] + length of the blob. */
class ScaleSegment : public SegmentRuntime {
 public:
  explicit ScaleSegment(const SegmentInit& init)
      : scale_(*static_cast<float*>(init.constants[0].data_ptr())),
        shift_(static_cast<float>(init.blob.size())) {}
  size_t InputCount() const override { return 1; }
  size_t OutputCount() const override { return 1; }
  void Execute(TensorSpan inputs, TensorSpan outputs) const override {
    const DLTensor* x = inputs[0];
    if (x->ndim != 1) throw std::runtime_error("rank");
    for (int64_t i = 0; i < x->shape[0]; ++i) {
      static_cast<float*>(outputs[0]->data)[i] = static_cast<float*>(x->data)[i] * scale_ + shift_;
    }
  }

 private:
  float scale_, shift_;
};

std::unique_ptr<SegmentRuntime> Init(const SegmentInit& init) {
  if (init.options == "{\"fail\":true}") throw std::runtime_error("told to fail");
  return std::make_unique<ScaleSegment>(init);
}

BYOC_REGISTER_VENDOR(testvendor, Init)

ffi::Tensor Floats(std::vector<float> values) {
  ffi::Tensor t = NewTensor(ffi::Shape({static_cast<int64_t>(values.size())}), {kDLFloat, 32, 1});
  std::copy(values.begin(), values.end(), static_cast<float*>(t.data_ptr()));
  return t;
}

TEST(VendorIsRegistered) {
  CHECK_EQ(ffi::Function::GetGlobalRequired("byoc.vendor.testvendor.api_version")().cast<int64_t>(),
           kVendorApiVersion);
  ffi::Function init = ffi::Function::GetGlobalRequired("byoc.vendor.testvendor.init");
  ffi::Array<ffi::Tensor> constants{Floats({3})};
  ffi::Function run = init(ffi::Bytes("ab", 2), constants, "{}").cast<ffi::Function>();
  ffi::Tensor x = Floats({1, 2}), y = Floats({0, 0});
  run(x, y);
  CHECK_EQ(static_cast<float*>(y.data_ptr())[1], 8.0f);

  DLTensor view = *x.GetDLTensorPtr();  // an offset is folded into the pointer
  int64_t one = 1;
  view.shape = &one;
  view.byte_offset = 4;
  run(&view, y);
  CHECK_EQ(static_cast<float*>(y.data_ptr())[0], 8.0f);

  CHECK_THROWS(run(x), "takes 1 inputs and 1 outputs, got 1 arguments");
  int64_t shape[2] = {2, 1}, strides[2] = {1, 7};
  DLTensor strided = *x.GetDLTensorPtr();
  strided.ndim = 2;
  strided.shape = shape;
  strided.strides = strides;
  CHECK_THROWS(run(&strided, y), "RuntimeError: vendor 'testvendor': rank");
  shape[1] = 2;
  CHECK_THROWS(run(&strided, y), "argument 0 must be a dense row-major tensor in CPU memory");
  CHECK_THROWS(init(ffi::Bytes("", 0), constants, "{\"fail\":true}"), "told to fail");
}

TEST(SegmentModuleSurvivesSaving) {
  ffi::Module module =
      SegmentModule("seg", "testvendor", ffi::Bytes("xyz", 3), {Floats({2})}, "{}");
  const ffi::Bytes bytes = module->SaveToBytes();
  for (const ffi::Module& m : {module, LoadSegmentModule(bytes)}) {
    CHECK(!m->GetFunction("other"));
    ffi::Tensor x = Floats({5}), y = Floats({0});
    (*m->GetFunction("seg"))(x, y);
    CHECK_EQ(static_cast<float*>(y.data_ptr())[0], 13.0f);
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_THROWS(LoadSegmentModule(ffi::Bytes(bytes.data(), size)), "byoc.ArtifactError");
  }
  ffi::Module unknown = SegmentModule("s", "nobody", ffi::Bytes("", 0), {}, "{}");
  CHECK_THROWS((*unknown->GetFunction("s"))(), "no function 'byoc.vendor.nobody.init'");
}

TEST(ReleasedPagesComeBack) {
  std::FILE* file = std::tmpfile();
  std::vector<char> data(3 << 16, 'x');
  CHECK_EQ(std::fwrite(data.data(), 1, data.size(), file), data.size());
  std::fflush(file);
  auto tensor = MapFile(fileno(file), 0, static_cast<int64_t>(data.size()));
  std::fclose(file);
  auto* bytes = static_cast<char*>(tensor.data_ptr());
  CHECK_EQ(bytes[100000], 'x');
  DropPages(reinterpret_cast<int64_t>(bytes), tensor.numel());
  CHECK_EQ(bytes[100000], 'x');
  std::vector<char> own(1 << 20, 'y');  // memory that is not a file's is left alone
  DropPages(reinterpret_cast<int64_t>(own.data()), static_cast<int64_t>(own.size()));
  CHECK_EQ(own[5000], 'y');
  DropPages(reinterpret_cast<int64_t>(bytes), tensor.numel() + (1 << 20));
  CHECK_THROWS(MapFile(-1, 0, 10), "cannot map 10 bytes");
}

}  // namespace
}  // namespace byoc

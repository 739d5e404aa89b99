// The runtime of vendor acme: reads the words that compile_segment wrote, computes in plain C++.
#include <byoc/vendor.h>

#include <cstring>
#include <vector>

namespace {

struct Layer {  // as compile_segment writes it
  int64_t data, weight, bias, relu, result, rows, depth, columns;
};

class Segment : public byoc::SegmentRuntime {
 public:
  explicit Segment(const byoc::SegmentInit& init)
      : words_(init.blob.size() / sizeof(int64_t)), constants_(init.constants) {
    std::memcpy(words_.data(), init.blob.data(), words_.size() * sizeof(int64_t));
    size_t at = 0;
    const auto next = [&] { return words_.at(at++); };
    values_ = next();
    for (auto* ports : {&inputs_, &outputs_, &known_}) {
      ports->resize(next());
      for (int64_t& value : *ports) value = next();
    }
    layers_.resize((words_.size() - at) * sizeof(int64_t) / sizeof(Layer));
    std::memcpy(layers_.data(), words_.data() + at, layers_.size() * sizeof(Layer));
    if (known_.size() != constants_.size()) {
      TVM_FFI_THROW(ValueError) << "acme: " << constants_.size() << " constants, expected "
                                << known_.size();
    }
  }

  size_t InputCount() const override { return inputs_.size(); }
  size_t OutputCount() const override { return outputs_.size(); }

  void Execute(byoc::TensorSpan inputs, byoc::TensorSpan outputs) const override {
    std::vector<float*> at(values_, nullptr);  // what a call changes belongs to the call
    std::vector<std::vector<float>> scratch;
    for (size_t i = 0; i < inputs.size(); ++i) at[inputs_[i]] = Data(inputs[i]);
    for (size_t i = 0; i < outputs.size(); ++i) at[outputs_[i]] = Data(outputs[i]);
    for (size_t i = 0; i < known_.size(); ++i)
      at[known_[i]] = static_cast<float*>(constants_[i].data_ptr());
    for (const Layer& layer : layers_) {
      if (at[layer.result] == nullptr) {
        scratch.emplace_back(layer.rows * layer.columns);
        at[layer.result] = scratch.back().data();
      }
      Run(layer, at);
    }
  }

 private:
  static float* Data(const DLTensor* tensor) { return static_cast<float*>(tensor->data); }

  static void Run(const Layer& layer, const std::vector<float*>& at) {
    const float *data = at[layer.data], *weight = at[layer.weight];
    const float* bias = layer.bias < 0 ? nullptr : at[layer.bias];
    for (int64_t i = 0; i < layer.rows; ++i) {
      float* row = at[layer.result] + i * layer.columns;
      for (int64_t j = 0; j < layer.columns; ++j) row[j] = bias == nullptr ? 0.0f : bias[j];
      for (int64_t k = 0; k < layer.depth; ++k) {
        const float factor = data[i * layer.depth + k];
        for (int64_t j = 0; j < layer.columns; ++j)
          row[j] += factor * weight[k * layer.columns + j];
      }
      if (layer.relu == 0) continue;
      for (int64_t j = 0; j < layer.columns; ++j) row[j] = row[j] < 0 ? 0.0f : row[j];  // keeps NaN
    }
  }

  std::vector<int64_t> words_, inputs_, outputs_, known_;
  int64_t values_ = 0;
  tvm::ffi::Array<tvm::ffi::Tensor> constants_;
  std::vector<Layer> layers_;
};

std::unique_ptr<byoc::SegmentRuntime> Init(const byoc::SegmentInit& init) {
  return std::make_unique<Segment>(init);
}

}  // namespace

BYOC_REGISTER_VENDOR(acme, Init)

/*
 * A recurrent layer as slices: directions, and rows of the batch, have nothing to do with each
 * other.
 *
 *     direction 0   rows 0 1 | rows 2 3         4 slices for 4 threads; each reads the weights of
 *     direction 1   rows 0 1 | rows 2 3         its direction once a step
 */
#include "kernels/recurrent.h"

#include <tvm/ffi/dtype.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "core/thread_pool.h"

namespace byoc {
namespace kernels {

namespace generic {
extern const RecurrentKernels kSlices;
}
#ifdef BYOC_HAVE_X86_SIMD
namespace avx2 {
extern const RecurrentKernels kSlices;
}
namespace avx512 {
extern const RecurrentKernels kSlices;
}
#endif

const RecurrentKernels& Slices() {
#ifdef BYOC_HAVE_X86_SIMD
  static const RecurrentKernels& chosen = []() -> const RecurrentKernels& {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      return avx512::kSlices;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kSlices;
    return generic::kSlices;
  }();
  return chosen;
#else
  return generic::kSlices;
#endif
}

namespace {

constexpr int64_t kParallelFrom = 1 << 17;  // multiplications; below, waking threads costs more

constexpr std::pair<std::string_view, Activation::Kind> kNames[] = {
    {"affine", Activation::kAffine},
    {"elu", Activation::kElu},
    {"hardsigmoid", Activation::kHardSigmoid},
    {"leakyrelu", Activation::kLeakyRelu},
    {"relu", Activation::kRelu},
    {"scaledtanh", Activation::kScaledTanh},
    {"sigmoid", Activation::kSigmoid},
    {"softplus", Activation::kSoftplus},
    {"softsign", Activation::kSoftsign},
    {"tanh", Activation::kTanh},
    {"thresholdedrelu", Activation::kThresholdedRelu},
};

template <typename T>
T* Data(const DLTensor* t) {
  if (t == nullptr) return nullptr;
  return reinterpret_cast<T*>(static_cast<char*>(t->data) + t->byte_offset);
}

template <typename T>
T* From(T* data, int64_t offset) {
  return data == nullptr ? nullptr : data + offset;
}

void ExpectShape(const char* name, const DLTensor* t, std::initializer_list<int64_t> shape,
                 DLDataType dtype) {
  if (t == nullptr) return;
  const bool same = static_cast<size_t>(t->ndim) == shape.size() &&
                    std::equal(shape.begin(), shape.end(), t->shape) &&
                    t->dtype.code == dtype.code && t->dtype.bits == dtype.bits;
  if (same) return;
  std::string found, expected;
  for (int i = 0; i < t->ndim; ++i) found += (i > 0 ? ", " : "") + std::to_string(t->shape[i]);
  for (int64_t d : shape) expected += (expected.empty() ? "" : ", ") + std::to_string(d);
  TVM_FFI_THROW(ValueError) << "a recurrent layer's tensor " << name << " is "
                            << tvm::ffi::DLDataTypeToString(t->dtype) << "[" << found
                            << "], expected " << tvm::ffi::DLDataTypeToString(dtype) << "["
                            << expected
                            << "]: the model was compiled for other shapes than it is given";
}

template <typename T>
class Layer {
 public:
  explicit Layer(const RecurrentJob& job)
      : job_(job),
        gates_(GatesOf(job.kind)),
        steps_(job.gates->shape[0]),
        batch_(job.gates->shape[1]),
        directions_(job.last_h->shape[0]),
        width_(job.last_h->shape[2]),
        hidden_(job.projection == nullptr ? width_ : job.last_c->shape[2]) {
    Check();
    const int64_t work = steps_ * batch_ * directions_ * gates_ * hidden_ * width_;
    const int64_t threads = work < kParallelFrom ? 1 : thread_pool::NumThreads();
    parts_ = std::clamp<int64_t>(threads / std::max<int64_t>(directions_, 1), 1,
                                 std::max<int64_t>(batch_, 1));
    alone_ = threads == 1 || parts_ * directions_ == 1;
  }

  void Run() {
    if (batch_ == 0) return;
    weight_ = Packed(job_.weight, gates_, &packed_);
    projection_ = Packed(job_.projection, 1, &packed_projection_);
    const auto body = [](int task, thread_pool::GroupEnv* env, void* self) -> int {
      TVM_FFI_SAFE_CALL_BEGIN();
      static_cast<Layer*>(self)->RunSome(task, env->num_task);
      TVM_FFI_SAFE_CALL_END();
    };
    if (alone_) {
      RunSome(0, 1);
    } else if (thread_pool::ParallelLaunch(body, this, static_cast<int>(parts_ * directions_)) !=
               0) {
      throw tvm::ffi::details::MoveFromSafeCallRaised();
    }
  }

 private:
  void Check() const {
    const int64_t d = directions_, rows = gates_ * hidden_;
    const DLDataType dtype = job_.gates->dtype, whole = {kDLInt, 32, 1};
    ExpectShape("x·w", job_.gates, {steps_, batch_, d * rows}, dtype);
    ExpectWeight("r", job_.weight, gates_, hidden_, width_);
    ExpectWeight("proj", job_.projection, 1, width_, hidden_);
    ExpectShape("b", job_.bias, {d, 2 * rows}, dtype);
    ExpectShape("lengths", job_.lengths, {batch_}, whole);
    for (const DLTensor* h : {job_.h, job_.last_h}) {
      ExpectShape("h", h, {d, batch_, width_}, dtype);
    }
    for (const DLTensor* c : {job_.c, job_.last_c}) {
      ExpectShape("c", c, {d, batch_, hidden_}, dtype);
    }
    ExpectShape("p", job_.peepholes, {d, 3 * hidden_}, dtype);
    ExpectShape("y", job_.y, {steps_, batch_, d * width_}, dtype);
    const size_t functions = job_.kind == RecurrentKind::kLstm  ? 3
                             : job_.kind == RecurrentKind::kGru ? 2
                                                                : 1;
    if (job_.activations.size() != functions * static_cast<size_t>(d)) {
      TVM_FFI_THROW(ValueError) << "a recurrent layer has " << job_.activations.size()
                                << " activations, expected " << functions * d;
    }
    const int32_t* lengths = Data<const int32_t>(job_.lengths);
    for (int64_t r = 0; lengths != nullptr && r < batch_; ++r) {
      if (lengths[r] < 0 || lengths[r] > steps_) {
        TVM_FFI_THROW(ValueError) << "sequence " << r << " of a recurrent layer has the length "
                                  << lengths[r] << ", expected 0 to its " << steps_ << " steps";
      }
    }
  }

  void ExpectWeight(const char* name, const DLTensor* t, int64_t gates, int64_t rows,
                    int64_t depth) const {
    const DLDataType dtype = job_.gates->dtype;
    if (t == nullptr || t->ndim == 3) {
      ExpectShape(name, t, {directions_, gates * rows, depth}, dtype);
    } else {
      ExpectShape(name, t, {directions_, gates, Panels(rows), depth, kPanel}, dtype);
    }
  }

  static int64_t Panels(int64_t rows) { return (rows + kPanel - 1) / kPanel; }

  /// A weight in panels; one that is no constant is packed in every call, into `memory`.
  const T* Packed(const DLTensor* weight, int64_t gates, std::unique_ptr<T[]>* memory) const {
    const T* from = Data<const T>(weight);
    if (weight == nullptr || weight->ndim != 3) return from;
    const int64_t rows = weight->shape[1] / gates, depth = weight->shape[2];
    const int64_t gate = Panels(rows) * depth * kPanel;
    memory->reset(new T[directions_ * gates * gate]());
    for (int64_t g = 0; g < directions_ * gates; ++g) {
      for (int64_t i = 0; i < rows; ++i, from += depth) {
        T* to = memory->get() + g * gate + i / kPanel * depth * kPanel + i % kPanel;
        for (int64_t k = 0; k < depth; ++k) to[k * kPanel] = from[k];
      }
    }
    return memory->get();
  }

  void RunSome(int task, int tasks) {
    const int64_t slices = parts_ * directions_;
    for (int64_t k = slices * task / tasks; k < slices * (task + 1) / tasks; ++k) RunSlice(k);
  }

  void RunSlice(int64_t k) const {
    const int64_t d = k / parts_, part = k % parts_;
    const int64_t first = batch_ * part / parts_, end = batch_ * (part + 1) / parts_;
    const int64_t rows = gates_ * hidden_, row = d * batch_ + first;
    const int64_t functions = static_cast<int64_t>(job_.activations.size()) / directions_;
    RecurrentSlice<T> slice;
    slice.kind = job_.kind;
    slice.backward = d == 1 || job_.reverse;
    slice.linear_before_reset = job_.linear_before_reset;
    slice.input_forget = job_.input_forget;
    slice.clip = job_.clip;
    slice.activations = job_.activations.data() + d * functions;
    slice.steps = steps_;
    slice.rows = end - first;
    slice.hidden = hidden_;
    slice.width = width_;
    slice.gates_row = directions_ * rows;
    slice.gates_step = batch_ * slice.gates_row;
    slice.gates = Data<const T>(job_.gates) + first * slice.gates_row + d * rows;
    slice.weight = weight_ + d * gates_ * Panels(hidden_) * width_ * kPanel;
    slice.projection = From(projection_, d * Panels(width_) * hidden_ * kPanel);
    slice.bias = From(Data<const T>(job_.bias), d * 2 * rows);
    slice.peepholes = From(Data<const T>(job_.peepholes), d * 3 * hidden_);
    slice.lengths = From(Data<const int32_t>(job_.lengths), first);
    slice.h = From(Data<const T>(job_.h), row * width_);
    slice.c = From(Data<const T>(job_.c), row * hidden_);
    slice.y_row = directions_ * width_;
    slice.y_step = batch_ * slice.y_row;
    slice.y = Data<T>(job_.y) + first * slice.y_row + d * width_;
    slice.last_h = Data<T>(job_.last_h) + row * width_;
    slice.last_c = From(Data<T>(job_.last_c), row * hidden_);
    if constexpr (sizeof(T) == 4) {
      Slices().run32(slice);
    } else {
      Slices().run64(slice);
    }
  }

  const RecurrentJob& job_;
  const int64_t gates_, steps_, batch_, directions_, width_, hidden_;
  int64_t parts_ = 1;  // that the batch is cut into
  bool alone_ = true;
  std::unique_ptr<T[]> packed_, packed_projection_;
  const T *weight_ = nullptr, *projection_ = nullptr;
};

double Number(std::string_view text) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) {
    TVM_FFI_THROW(ValueError) << "'" << text << "' is no parameter of an activation";
  }
  return value;
}

/// Takes what stands before the next `mark` from the front of `text`, and the mark with it.
std::string_view Before(std::string_view* text, char mark) {
  const size_t end = std::min(text->find(mark), text->size());
  const std::string_view found = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return found;
}

}  // namespace

std::vector<Activation> ParseActivations(std::string_view text) {
  std::vector<Activation> found;
  while (!text.empty()) {
    std::string_view word = Before(&text, ' ');
    const std::string_view name = Before(&word, ':'), alpha = Before(&word, ':');
    const auto known = std::find_if(std::begin(kNames), std::end(kNames),
                                    [&](const auto& entry) { return entry.first == name; });
    if (known == std::end(kNames)) {
      TVM_FFI_THROW(ValueError) << "'" << name << "' is no activation of a recurrent layer";
    }
    found.push_back({known->second, Number(alpha), Number(word)});
  }
  return found;
}

void RunRecurrent(const RecurrentJob& job) {
  if (job.gates == nullptr || job.weight == nullptr) {
    TVM_FFI_THROW(ValueError) << "a recurrent layer lacks its tensor x or r";
  }
  const DLDataType t = job.gates->dtype;
  for (const DLTensor* known : {job.gates, job.last_h, job.last_c}) {
    if (known != nullptr && known->ndim != 3) {
      TVM_FFI_THROW(ValueError) << "a recurrent layer's tensors have " << known->ndim
                                << " dimensions, expected 3";
    }
  }
  if (job.projection != nullptr && job.last_c == nullptr) {
    TVM_FFI_THROW(ValueError) << "only the state of an LSTM is projected";
  }
  if (t.code == kDLFloat && t.bits == 32 && t.lanes == 1) {
    Layer<float>(job).Run();
  } else if (t.code == kDLFloat && t.bits == 64 && t.lanes == 1) {
    Layer<double>(job).Run();
  } else {
    TVM_FFI_THROW(ValueError) << "the host computes recurrent layers of float32 and float64, found "
                              << tvm::ffi::DLDataTypeToString(t);
  }
}

}  // namespace kernels
}  // namespace byoc

/*
 * One direction of a recurrent layer for some rows: the weights are read once a step for all rows.
 *
 *     sums [rows, G, H] = row of x·wᵀ + biases + h [rows, H] · rᵀ      packed r: panels of 16 gates
 *     h, c = what the gates make of sums, row by row
 *
 * Gates are padded to whole panels, in sums and in r, so that each starts at one.
 *
 * Compiled once per instruction set, with BYOC_ISA naming the namespace and the compiler's flags
 * making the difference. Everything but the table is local to this file: two sets of one inline
 * function would otherwise be merged by the linker, perhaps into the one this CPU cannot run.
 */
#include "kernels/recurrent_slice.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace byoc {
namespace kernels {
namespace BYOC_ISA {
namespace {

constexpr int64_t kWidth = 16;  // kPanel, of recurrent.h

#if defined(__AVX512F__)
constexpr int kPanels = 4, kRows = 4;  // accumulators in registers: 16 of 32
#elif defined(__AVX2__)
constexpr int kPanels = 2, kRows = 2;  // two registers each: 8 of 16
#else
constexpr int kPanels = 1, kRows = 2;  // four registers each: 8 of 16
#endif

// -- functions of one number; NaN stays NaN

/// e^x to a relative error of 2e-7, for |x| up to 88.
inline float Exp(float x) {
  constexpr float kLog2e = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer
  x = x > 88.f ? 88.f : (x < -87.f ? -87.f : x);
  const float shifted = x * kLog2e + kRound, n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.f / 5040;
  p = p * r + 1.f / 720;
  p = p * r + 1.f / 120;
  p = p * r + 1.f / 24;
  p = p * r + 1.f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.f;
  p = p * r + 1.f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, 4);
  bits = (bits - 0x4B400000u + 127u) << 23;  // 2^n
  float power;
  std::memcpy(&power, &bits, 4);
  return p * power;
}

inline double Exp(double x) { return std::exp(x); }

template <typename T>
inline T Sigmoid(T x) {
  return T(1) / (T(1) + Exp(-x));
}

/// tanh(x) to 3e-7 of itself: a series near 0, where a difference of exponentials would cancel.
inline float Tanh(float x) {
  const float a = std::fabs(x), s = x * x;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  const float small = p * s * x + x;
  const float large = 1.f - 2.f / (Exp(2.f * a) + 1.f);
  return a < 0.625f ? small : std::copysign(large, x);
}

inline double Tanh(double x) { return std::tanh(x); }

/// Replaces n numbers by a function of them.
template <typename T>
void Apply(const Activation& function, T* x, int64_t n) {
  const T alpha = static_cast<T>(function.alpha), beta = static_cast<T>(function.beta);
  const auto each = [x, n](auto&& of) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) x[i] = of(x[i]);
  };
  const auto slowly = [x, n](auto&& of) {
    for (int64_t i = 0; i < n; ++i) x[i] = of(x[i]);
  };
  switch (function.kind) {
    case Activation::kAffine:
      return each([=](T v) { return alpha * v + beta; });
    case Activation::kElu:
      return slowly([=](T v) { return v < 0 ? alpha * std::expm1(v) : v; });
    case Activation::kHardSigmoid:
      return each([=](T v) {
        v = alpha * v + beta;
        return v < 0 ? T(0) : v > 1 ? T(1) : v;
      });
    case Activation::kLeakyRelu:
      return each([=](T v) { return v < 0 ? alpha * v : v; });
    case Activation::kRelu:
      return each([](T v) { return v < 0 ? T(0) : v; });
    case Activation::kScaledTanh:
      return each([=](T v) { return alpha * Tanh(beta * v); });
    case Activation::kSigmoid:
      return each([](T v) { return Sigmoid(v); });
    case Activation::kSoftplus:
      return slowly(
          [](T v) { return v > 0 ? v + std::log1p(std::exp(-v)) : std::log1p(std::exp(v)); });
    case Activation::kSoftsign:
      return each([](T v) { return v / (T(1) + std::fabs(v)); });
    case Activation::kTanh:
      return each([](T v) { return Tanh(v); });
    case Activation::kThresholdedRelu:
      return each([=](T v) { return v <= alpha ? T(0) : v; });
  }
}

// -- products

template <typename T>
using Vector __attribute__((vector_size(kWidth * sizeof(T)))) = T;

/// sums[row][panel] += Σk x[row][k] · weight[panel][k], for a tile of rows and panels.
template <typename T, int kTileRows, int kTilePanels>
void ProductTile(const T* x, int64_t x_row, int64_t depth, const T* weight, T* sums,
                 int64_t sums_row) {
  using V = Vector<T>;
  V sum[kTileRows][kTilePanels];
  for (int r = 0; r < kTileRows; ++r) {
    for (int p = 0; p < kTilePanels; ++p) {
      std::memcpy(&sum[r][p], sums + r * sums_row + p * kWidth, sizeof(V));
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    V w[kTilePanels];
    for (int p = 0; p < kTilePanels; ++p) {
      std::memcpy(&w[p], weight + (p * depth + k) * kWidth, sizeof(V));
    }
    for (int r = 0; r < kTileRows; ++r) {
      const T factor = x[r * x_row + k];
      for (int p = 0; p < kTilePanels; ++p) sum[r][p] += factor * w[p];
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    for (int p = 0; p < kTilePanels; ++p) {
      std::memcpy(sums + r * sums_row + p * kWidth, &sum[r][p], sizeof(V));
    }
  }
}

template <typename T, int kTilePanels>
void ProductRows(const T* x, int64_t x_row, int64_t rows, int64_t depth, const T* weight, T* sums,
                 int64_t sums_row) {
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    ProductTile<T, kRows, kTilePanels>(x + r * x_row, x_row, depth, weight, sums + r * sums_row,
                                       sums_row);
  }
  for (; r < rows; ++r) {
    ProductTile<T, 1, kTilePanels>(x + r * x_row, x_row, depth, weight, sums + r * sums_row,
                                   sums_row);
  }
}

/// sums [rows, panels · 16] += x [rows, depth] · weight [panels, depth, 16].
template <typename T>
void AddProduct(const T* x, int64_t x_row, int64_t rows, int64_t depth, const T* weight,
                int64_t panels, T* sums, int64_t sums_row) {
  // One row has few sums under way: more panels at once hide how long an addition takes.
  constexpr int kMany = 2 * kPanels;
  int64_t p = 0;
  const auto at = [&](int64_t panel) { return weight + panel * depth * kWidth; };
  if (rows == 1) {
    for (; p + kMany <= panels; p += kMany) {
      ProductTile<T, 1, kMany>(x, x_row, depth, at(p), sums + p * kWidth, sums_row);
    }
  }
  for (; p + kPanels <= panels; p += kPanels) {
    ProductRows<T, kPanels>(x, x_row, rows, depth, at(p), sums + p * kWidth, sums_row);
  }
  for (; p < panels; ++p) {
    ProductRows<T, 1>(x, x_row, rows, depth, at(p), sums + p * kWidth, sums_row);
  }
}

// -- a slice

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

/// Zeros, aligned to cache lines.
template <typename T>
std::unique_ptr<T[], Free> Zeros(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, bytes == 0 ? 64 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  return std::unique_ptr<T[], Free>(static_cast<T*>(memory));
}

template <typename T>
class Slice {
 public:
  explicit Slice(const RecurrentSlice<T>& given)
      : s_(given),
        count_(GatesOf(s_.kind)),
        hidden_(s_.hidden),
        width_(s_.width),
        padded_(Padded(hidden_)),
        wide_(Padded(width_)),
        panels_(padded_ / kWidth),
        sums_(Zeros<T>(s_.rows * count_ * padded_)),
        bias_(Zeros<T>((count_ + 1) * padded_)),
        peepholes_(Zeros<T>(3 * padded_)),
        h_(Zeros<T>(s_.rows * wide_)),
        c_(Zeros<T>(s_.rows * padded_)),
        spare_(Zeros<T>(s_.rows * padded_)) {}

  void Run() {
    Load();
    int64_t steps = s_.steps;
    if (s_.lengths != nullptr) {
      steps = 0;
      for (int64_t r = 0; r < s_.rows; ++r) steps = Length(r) > steps ? Length(r) : steps;
    }
    for (int64_t k = 0; k < steps; ++k) Step(k);
    Store();
  }

 private:
  static int64_t Padded(int64_t n) { return (n + kWidth - 1) / kWidth * kWidth; }

  int64_t Length(int64_t row) const { return s_.lengths == nullptr ? s_.steps : s_.lengths[row]; }

  /// Which step of x and y a row's k-th is.
  int64_t At(int64_t row, int64_t k) const { return s_.backward ? Length(row) - 1 - k : k; }

  bool SplitsBias() const { return s_.kind == RecurrentKind::kGru && s_.linear_before_reset; }

  void Load() {
    for (int64_t r = 0; r < s_.rows; ++r) {
      if (s_.h != nullptr) std::memcpy(H(r), s_.h + r * width_, width_ * sizeof(T));
      if (s_.c != nullptr) std::memcpy(C(r), s_.c + r * hidden_, hidden_ * sizeof(T));
    }
    for (int64_t g = 0; s_.bias != nullptr && g < count_; ++g) {
      const T *w = s_.bias + g * hidden_, *r = w + count_ * hidden_;
      // That of r, in a gate that is reset, is reset with it; it goes to a place of its own.
      const bool apart = SplitsBias() && g == 2;
      for (int64_t i = 0; i < hidden_; ++i) {
        bias_[g * padded_ + i] = apart ? w[i] : w[i] + r[i];
        if (apart) bias_[count_ * padded_ + i] = r[i];
      }
    }
    for (int64_t g = 0; s_.peepholes != nullptr && g < 3; ++g) {
      std::memcpy(peepholes_.get() + g * padded_, s_.peepholes + g * hidden_, hidden_ * sizeof(T));
    }
  }

  void Store() {
    for (int64_t r = 0; r < s_.rows; ++r) {
      if (Length(r) == 0) {
        std::memset(H(r), 0, width_ * sizeof(T));
        std::memset(C(r), 0, hidden_ * sizeof(T));
      }
      std::memcpy(s_.last_h + r * width_, H(r), width_ * sizeof(T));
      if (s_.last_c != nullptr) std::memcpy(s_.last_c + r * hidden_, C(r), hidden_ * sizeof(T));
      for (int64_t t = Length(r); t < s_.steps; ++t) {
        std::memset(s_.y + t * s_.y_step + r * s_.y_row, 0, width_ * sizeof(T));
      }
    }
  }

  T* H(int64_t row) const { return h_.get() + row * wide_; }
  T* C(int64_t row) const { return c_.get() + row * padded_; }
  T* Spare(int64_t row) const { return spare_.get() + row * padded_; }
  T* Sums(int64_t row, int64_t gate) const { return sums_.get() + (row * count_ + gate) * padded_; }

  /// The row of x·wᵀ for a row's k-th step.
  const T* Given(int64_t row, int64_t k) const {
    return s_.gates + At(row, k) * s_.gates_step + row * s_.gates_row;
  }

  /// sums of `gates` from `first` on: what x gives, and the biases.
  void Begin(int64_t row, int64_t k, int64_t first, int64_t gates) {
    for (int64_t g = first; g < first + gates; ++g) {
      const T *from = Given(row, k) + g * hidden_, *bias = bias_.get() + g * padded_;
      T* to = Sums(row, g);
#pragma omp simd
      for (int64_t i = 0; i < hidden_; ++i) to[i] = from[i] + bias[i];
    }
  }

  /// sums of `gates` from `first` on: += x [rows, P] · rᵀ. A row of x begins every `wide_` numbers.
  void Product(const T* x, int64_t first, int64_t gates) {
    AddProduct(x, wide_, s_.rows, width_, s_.weight + first * panels_ * width_ * kWidth,
               gates * panels_, Sums(0, first), count_ * padded_);
  }

  /// h of all rows that still run = what the gates gave · projectionᵀ.
  template <typename Each>
  void Project(const Each& each) {
    each([&](int64_t r) { std::memset(H(r), 0, wide_ * sizeof(T)); });
    each([&](int64_t r) {
      AddProduct(Spare(r), padded_, 1, hidden_, s_.projection, wide_ / kWidth, H(r), wide_);
    });
  }

  void Step(int64_t k) {
    const auto each = [&](auto&& work) {
      for (int64_t r = 0; r < s_.rows; ++r) {
        if (k < Length(r)) work(r);
      }
    };
    const bool gru = s_.kind == RecurrentKind::kGru;
    each([&](int64_t r) { Begin(r, k, 0, gru ? 2 : count_); });
    if (!gru) {
      Product(h_.get(), 0, count_);
      const bool projected = s_.projection != nullptr;
      each([&](int64_t r) {
        s_.kind == RecurrentKind::kLstm ? Lstm(r, projected ? Spare(r) : H(r)) : Rnn(r);
      });
      if (projected) Project(each);
    } else if (s_.linear_before_reset) {
      each([&](int64_t r) {
        std::memcpy(Sums(r, 2), bias_.get() + 3 * padded_, padded_ * sizeof(T));
      });
      Product(h_.get(), 0, 3);
      each([&](int64_t r) {
        Gates(r);
        const T *given = Given(r, k) + 2 * hidden_, *bias = bias_.get() + 2 * padded_;
        const T* reset = Sums(r, 1);
        T* fresh = Sums(r, 2);
#pragma omp simd
        for (int64_t i = 0; i < hidden_; ++i) fresh[i] = given[i] + bias[i] + reset[i] * fresh[i];
        Mix(r);
      });
    } else {
      Product(h_.get(), 0, 2);
      each([&](int64_t r) {
        Gates(r);
        const T *reset = Sums(r, 1), *h = H(r);
        T* kept = Spare(r);
#pragma omp simd
        for (int64_t i = 0; i < padded_; ++i) kept[i] = reset[i] * h[i];
        Begin(r, k, 2, 1);
      });
      Product(spare_.get(), 2, 1);
      each([&](int64_t r) { Mix(r); });
    }
    each([&](int64_t r) {
      std::memcpy(s_.y + At(r, k) * s_.y_step + r * s_.y_row, H(r), width_ * sizeof(T));
    });
  }

  void Activate(int function, T* x, int64_t n) const {
    if (s_.clip != 0) {
      const T bound = static_cast<T>(s_.clip);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) x[i] = x[i] > bound ? bound : (x[i] < -bound ? -bound : x[i]);
    }
    Apply(s_.activations[function], x, n);
  }

  void Rnn(int64_t row) {
    Activate(0, Sums(row, 0), padded_);
    std::memcpy(H(row), Sums(row, 0), padded_ * sizeof(T));
  }

  /// The update and reset gates of a GRU, side by side.
  void Gates(int64_t row) { Activate(0, Sums(row, 0), 2 * padded_); }

  void Mix(int64_t row) {
    const T *update = Sums(row, 0), *fresh = Sums(row, 2);
    Activate(1, Sums(row, 2), padded_);
    T* h = H(row);
#pragma omp simd
    for (int64_t i = 0; i < padded_; ++i) h[i] = (T(1) - update[i]) * fresh[i] + update[i] * h[i];
  }

  void Lstm(int64_t row, T* h) {
    T *write = Sums(row, 0), *output = Sums(row, 1), *forget = Sums(row, 2), *fresh = Sums(row, 3);
    T* c = C(row);
    const T* p = s_.peepholes == nullptr ? nullptr : peepholes_.get();
    if (p != nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < padded_; ++i) {
        write[i] += p[i] * c[i];
        forget[i] += p[2 * padded_ + i] * c[i];
      }
    }
    Activate(0, write, padded_);
    if (s_.input_forget) {
#pragma omp simd
      for (int64_t i = 0; i < padded_; ++i) forget[i] = T(1) - write[i];
    } else {
      Activate(0, forget, padded_);
    }
    Activate(1, fresh, padded_);
#pragma omp simd
    for (int64_t i = 0; i < padded_; ++i) c[i] = forget[i] * c[i] + write[i] * fresh[i];
    if (p != nullptr) {
#pragma omp simd
      for (int64_t i = 0; i < padded_; ++i) output[i] += p[padded_ + i] * c[i];
    }
    Activate(0, output, padded_);
    std::memcpy(fresh, c, padded_ * sizeof(T));
    Apply(s_.activations[2], fresh, padded_);
#pragma omp simd
    for (int64_t i = 0; i < padded_; ++i) h[i] = output[i] * fresh[i];
  }

  const RecurrentSlice<T>& s_;
  const int64_t count_, hidden_, width_, padded_, wide_, panels_;
  // Rows of gates, or of h, each padded to whole panels. bias_: one gate more, see Load.
  const std::unique_ptr<T[], Free> sums_, bias_, peepholes_, h_, c_, spare_;
};

template <typename T>
void RunSlice(const RecurrentSlice<T>& slice) {
  Slice<T>(slice).Run();
}

}  // namespace

extern const RecurrentKernels kSlices;
const RecurrentKernels kSlices = {RunSlice<float>, RunSlice<double>};

}  // namespace BYOC_ISA
}  // namespace kernels
}  // namespace byoc

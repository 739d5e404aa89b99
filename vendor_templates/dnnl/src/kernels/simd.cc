// Compiled once per instruction set, with BYOC_ISA naming the namespace and the compiler's flags
// making the difference. Everything but the table is local to this file: two sets of one inline
// function would otherwise be merged by the linker, perhaps into the one this CPU cannot run.
#include "simd.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace byoc::onednn::BYOC_ISA {
namespace {

/// e^x of a clipped x as 2^n · fraction.
struct Exponential {
  float fraction;
  uint32_t n;  // of a negative number, too, as unsigned numbers wrap
};

inline Exponential Exponentiate(float clipped) {
  constexpr float kLog2e = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer
  float shifted = clipped * kLog2e + kRound;
  float n = shifted - kRound;
  float r = (clipped - n * kLn2High) - n * kLn2Low;
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
  return {p, bits - 0x4B400000u};
}

/// e^x to a relative error of 2e-7; exact 0 below -87.3.
inline float Exp(float x) {
  // The lower limit only keeps -inf from an invalid operation, which would look like NaN.
  Exponential e = Exponentiate(x > 88.7f ? 88.7f : (x < -87.4f ? -87.4f : x));
  uint32_t bits = (e.n + 127u) << 23;  // 2^n
  float power;
  std::memcpy(&power, &bits, 4);
  return x < -87.3f ? 0.f : e.fraction * power;
}

/// e^x like `Exp`, also where it is no normal number: infinite, or below the least one.
inline float FullExp(float x) {
  Exponential e = Exponentiate(x > 89.f ? 89.f : (x < -104.f ? -104.f : x));
  // 2^n as a product: neither factor leaves the normal numbers.
  int32_t n = static_cast<int32_t>(e.n);
  int32_t half = n >> 1, first = (half + 127) << 23, second = (n - half + 127) << 23;
  float a, b;
  std::memcpy(&a, &first, 4);
  std::memcpy(&b, &second, 4);
  return x < -104.f ? 0.f : e.fraction * a * b;
}

/// erf(x), absolute error below 2e-7: polynomials fitted to x <= 1 and to log(erfc) above.
inline float Erf(float x) {
  float a = std::fabs(x), s = x * x;
  float p = 7.882497448e-05f;
  p = p * s - 8.018855006e-04f;
  p = p * s + 5.189312156e-03f;
  p = p * s - 2.685432881e-02f;
  p = p * s + 1.128359735e-01f;
  p = p * s - 3.761262596e-01f;
  p = p * s + 1.128379107e+00f;
  float c = a > 4.f ? 4.f : a;
  float u = (c - 2.5f) * (1.f / 1.5f);
  float q = -3.124079668e-04f;
  q = q * u + 8.729042602e-04f;
  q = q * u - 3.110951511e-03f;
  q = q * u + 1.100493595e-02f;
  q = q * u - 3.665659949e-02f;
  q = q * u - 2.123769998f;
  q = q * u - 8.029022217f;
  q = q * u - 7.806815147f;
  float large = a > 4.f ? 1.f : 1.f - Exp(q);
  float signed_large = x < 0 ? -large : large;
  return a > 1.f ? signed_large : (a == a ? x * p : x);
}

void Softmax(const float* x, float* y, int64_t n, bool log) {
  float top = -std::numeric_limits<float>::infinity(), sum = 0;
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  if (log) {
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += Exp(x[i] - top);
    float shift = top + std::log(sum);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] - shift;
    return;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    y[i] = Exp(x[i] - top);
    sum += y[i];
  }
  float scale = 1.f / sum;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] *= scale;
}

void SoftmaxColumns(const float* x, float* y, int64_t n, int64_t stride, int64_t columns,
                    bool log) {
  constexpr int64_t kTile = 64;
  for (int64_t begin = 0; begin < columns; begin += kTile) {
    int64_t width = columns - begin < kTile ? columns - begin : kTile;
    const float* xs = x + begin;
    float* ys = y + begin;
    float top[kTile], sum[kTile];
    for (int64_t c = 0; c < width; ++c) top[c] = -std::numeric_limits<float>::infinity();
    for (int64_t c = 0; c < width; ++c) sum[c] = 0;
    for (int64_t i = 0; i < n; ++i) {
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) {
        top[c] = xs[i * stride + c] > top[c] ? xs[i * stride + c] : top[c];
      }
    }
    if (log) {
      for (int64_t i = 0; i < n; ++i) {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) sum[c] += Exp(xs[i * stride + c] - top[c]);
      }
      for (int64_t c = 0; c < width; ++c) top[c] += std::log(sum[c]);
      for (int64_t i = 0; i < n; ++i) {
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) ys[i * stride + c] = xs[i * stride + c] - top[c];
      }
      continue;
    }
    for (int64_t i = 0; i < n; ++i) {
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) {
        float e = Exp(xs[i * stride + c] - top[c]);
        ys[i * stride + c] = e;
        sum[c] += e;
      }
    }
    for (int64_t c = 0; c < width; ++c) sum[c] = 1.f / sum[c];
    for (int64_t i = 0; i < n; ++i) {
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) ys[i * stride + c] *= sum[c];
    }
  }
}

void AddMask(float* row, const float* mask, int64_t mask_stride, int64_t n) {
  if (mask_stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) row[i] += mask[i];
  } else {
    for (int64_t i = 0; i < n; ++i) row[i] += mask[i * mask_stride];
  }
}

void LayerNorm(const float* x, const float* scale, const float* shift, float* y, int64_t n,
               float eps) {
  float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  float mean = sum / static_cast<float>(n);
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  float factor = 1.f / std::sqrt(squares / static_cast<float>(n) + eps);
  if (scale != nullptr && shift != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * factor * scale[i] + shift[i];
  } else {
    for (int64_t i = 0; i < n; ++i) {
      y[i] = (x[i] - mean) * factor * (scale ? scale[i] : 1.f) + (shift ? shift[i] : 0.f);
    }
  }
}

void RmsNorm(const float* x, const float* scale, float* y, int64_t n, float eps) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
  float factor = 1.f / std::sqrt(squares / static_cast<float>(n) + eps);
  if (scale != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * factor * scale[i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * factor;
  }
}

void UnaryRow(Unary alg, const float* x, float* y, int64_t n) {
  switch (alg) {
    case Unary::kErf:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = Erf(x[i]);
      break;
    case Unary::kFloor:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = std::floor(x[i]);
      break;
    case Unary::kCeil:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = std::ceil(x[i]);
      break;
    case Unary::kSin:
      for (int64_t i = 0; i < n; ++i) y[i] = std::sin(x[i]);
      break;
    case Unary::kCos:
      for (int64_t i = 0; i < n; ++i) y[i] = std::cos(x[i]);
      break;
    case Unary::kExp:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = FullExp(x[i]);
      break;
    case Unary::kRsqrt:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = 1.f / std::sqrt(x[i]);
      break;
  }
}

void Clamp(const float* x, float* y, int64_t n, float a, float b, float low, float high) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    float v = a * x[i] + b;
    v = v < low ? low : v;
    y[i] = v > high ? high : v;
  }
}

template <int kLanes>  // 0: `lanes` says how many
void AffineLanes(const float* x, int64_t x_stride, float* y, int64_t y_stride, const float* center,
                 const float* scale, const float* shift, int64_t pixels, int64_t lanes, float low) {
  const int64_t width = kLanes > 0 ? kLanes : lanes;
  for (int64_t p = 0; p < pixels; ++p) {
#pragma omp simd
    for (int64_t l = 0; l < width; ++l) {
      float v = (x[p * x_stride + l] - center[l]) * scale[l] + shift[l];
      y[p * y_stride + l] = v < low ? low : v;
    }
  }
}

void Affine(const float* x, int64_t x_stride, float* y, int64_t y_stride, const float* center,
            const float* scale, const float* shift, int64_t pixels, int64_t lanes, bool relu) {
  float low = relu ? 0.f : -std::numeric_limits<float>::infinity();
  if (lanes == 1 && x_stride == 1 && y_stride == 1) {
    float m = *center, a = *scale, b = *shift;
#pragma omp simd
    for (int64_t p = 0; p < pixels; ++p) {
      float v = (x[p] - m) * a + b;
      y[p] = v < low ? low : v;
    }
  } else if (lanes == 16) {
    AffineLanes<16>(x, x_stride, y, y_stride, center, scale, shift, pixels, lanes, low);
  } else if (lanes == 8) {
    AffineLanes<8>(x, x_stride, y, y_stride, center, scale, shift, pixels, lanes, low);
  } else {
    AffineLanes<0>(x, x_stride, y, y_stride, center, scale, shift, pixels, lanes, low);
  }
}

template <int kLanes>  // at most 16
void MomentsLanes(const float* x, int64_t stride, int64_t pixels, int64_t lanes, const float* mean,
                  double* sums) {
  // Partial sums in float over short runs, runs in double: float alone loses digits on large maps.
  constexpr int64_t kRun = 1024;
  const int64_t width = kLanes > 0 ? kLanes : lanes;
  for (int64_t begin = 0; begin < pixels; begin += kRun) {
    int64_t end = begin + kRun < pixels ? begin + kRun : pixels;
    float partial[16] = {}, center[16] = {};
    if (mean != nullptr) std::memcpy(center, mean, width * sizeof(float));
    for (int64_t p = begin; p < end; ++p) {
#pragma omp simd
      for (int64_t l = 0; l < width; ++l) {
        float v = x[p * stride + l] - center[l];
        partial[l] += mean != nullptr ? v * v : v;
      }
    }
    for (int64_t l = 0; l < width; ++l) sums[l] += partial[l];
  }
}

void Moments(const float* x, int64_t stride, int64_t pixels, int64_t lanes, const float* mean,
             double* sums) {
  if (lanes == 1 && stride == 1) {
    constexpr int64_t kRun = 16384;
    float center = mean != nullptr ? *mean : 0.f;
    for (int64_t begin = 0; begin < pixels; begin += kRun) {
      int64_t end = begin + kRun < pixels ? begin + kRun : pixels;
      float partial = 0;
      if (mean != nullptr) {
#pragma omp simd reduction(+ : partial)
        for (int64_t p = begin; p < end; ++p) partial += (x[p] - center) * (x[p] - center);
      } else {
#pragma omp simd reduction(+ : partial)
        for (int64_t p = begin; p < end; ++p) partial += x[p];
      }
      *sums += partial;
    }
    return;
  }
  for (int64_t begin = 0; begin < lanes; begin += 16) {
    int64_t width = lanes - begin < 16 ? lanes - begin : 16;
    const float* center = mean != nullptr ? mean + begin : nullptr;
    if (width == 16) {
      MomentsLanes<16>(x + begin, stride, pixels, width, center, sums + begin);
    } else {
      MomentsLanes<0>(x + begin, stride, pixels, width, center, sums + begin);
    }
  }
}

/// The larger one; NaN if either is.
/// Two selections, no `||`: a branch would keep compilers from making vectors of the loop.
inline float Max(float a, float b) {
  float larger = a > b ? a : b;
  return a != a ? a : larger;
}
inline float Min(float a, float b) {
  float smaller = a < b ? a : b;
  return a != a ? a : smaller;
}

/// Fold a row by max or min. Lanes side by side instead of a reduction clause, whose last step
/// would lose NaN.
template <float (*kJoin)(float, float)>
float FoldRow(const float* x, int64_t n, float start) {
  constexpr int64_t kLanes = 32;
  float lanes[kLanes], a = start;
  int64_t whole = n / kLanes * kLanes;
  if (whole > 0) {
    std::memcpy(lanes, x, sizeof(lanes));
    for (int64_t i = kLanes; i < whole; i += kLanes) {
#pragma omp simd
      for (int64_t l = 0; l < kLanes; ++l) lanes[l] = kJoin(lanes[l], x[i + l]);
    }
    for (float lane : lanes) a = kJoin(a, lane);
  }
  for (int64_t i = whole; i < n; ++i) a = kJoin(a, x[i]);
  return a;
}

float ReduceRow(Reduce alg, const float* x, int64_t n, float start) {
  float a = start;
  switch (alg) {
    case Reduce::kSum:
#pragma omp simd reduction(+ : a)
      for (int64_t i = 0; i < n; ++i) a += x[i];
      break;
    case Reduce::kMax:
      a = FoldRow<Max>(x, n, a);
      break;
    case Reduce::kMin:
      a = FoldRow<Min>(x, n, a);
      break;
    case Reduce::kProd:
#pragma omp simd reduction(* : a)
      for (int64_t i = 0; i < n; ++i) a *= x[i];
      break;
    case Reduce::kSquares:
#pragma omp simd reduction(+ : a)
      for (int64_t i = 0; i < n; ++i) a += x[i] * x[i];
      break;
  }
  return a;
}

void ReduceInto(Reduce alg, float* a, const float* x, int64_t n) {
  switch (alg) {
    case Reduce::kSum:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) a[i] += x[i];
      break;
    case Reduce::kMax:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) a[i] = Max(a[i], x[i]);
      break;
    case Reduce::kMin:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) a[i] = Min(a[i], x[i]);
      break;
    case Reduce::kProd:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) a[i] *= x[i];
      break;
    case Reduce::kSquares:
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) a[i] += x[i] * x[i];
      break;
  }
}

/// Up to kTaps at once, so that what they share stays in registers.
template <int kTaps>
void MaxOf(const float* const* taps, int64_t x_stride, float* y, int64_t y_stride, int64_t n,
           int64_t lanes, bool accumulate) {
  const float* from[kTaps];
  for (int k = 0; k < kTaps; ++k) from[k] = taps[k];
  if (x_stride == lanes && y_stride == lanes) {
    lanes *= n;
    n = 1;
  }
  if (lanes == 1) {
    for (int64_t i = 0; i < n; ++i) {
      float v = from[0][i * x_stride];
      for (int k = 1; k < kTaps; ++k) v = Max(v, from[k][i * x_stride]);
      y[i * y_stride] = accumulate ? Max(y[i * y_stride], v) : v;
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    float* to = y + i * y_stride;
    const int64_t at = i * x_stride;
    if (accumulate) {
#pragma omp simd
      for (int64_t l = 0; l < lanes; ++l) {
        float v = to[l];
        for (int k = 0; k < kTaps; ++k) v = Max(v, from[k][at + l]);
        to[l] = v;
      }
    } else {
#pragma omp simd
      for (int64_t l = 0; l < lanes; ++l) {
        float v = from[0][at + l];
        for (int k = 1; k < kTaps; ++k) v = Max(v, from[k][at + l]);
        to[l] = v;
      }
    }
  }
}

void MaxTaps(const float* const* taps, int64_t count, int64_t x_stride, float* y, int64_t y_stride,
             int64_t n, int64_t lanes) {
  for (int64_t k = 0; k < count; k += 3) {
    switch (count - k) {
      case 1:
        MaxOf<1>(taps + k, x_stride, y, y_stride, n, lanes, k > 0);
        break;
      case 2:
        MaxOf<2>(taps + k, x_stride, y, y_stride, n, lanes, k > 0);
        break;
      default:
        MaxOf<3>(taps + k, x_stride, y, y_stride, n, lanes, k > 0);
    }
  }
}

/// As many lanes as a vector of the widest instruction set has; compilers split it for others.
template <int kWidth>
struct Lanes {
  typedef float Type __attribute__((vector_size(kWidth * sizeof(float))));
};

/// Max is left to the processor, which loses NaN; a sum of products by 0 tells that it was there.
template <int kWidth>
bool MaxWindowsBy(const float* const* rows, int64_t count, const RowWindow& w, float* y,
                  int64_t y_stride, int64_t n, int64_t lanes) {
  using V = typename Lanes<kWidth>::Type;
  const V lowest = V{} - std::numeric_limits<float>::infinity();
  const int64_t tap = w.dilation * w.stride;
  V met = {};
  for (int64_t i = 0; i < n; ++i) {
    const int64_t start = i * w.step - w.begin;
    int64_t first = 0, last = w.kernel;
    while (first < last && start + first * w.dilation < 0) ++first;
    while (last > first && start + (last - 1) * w.dilation >= w.size) --last;
    const int64_t at = (start + first * w.dilation) * w.stride;
    for (int64_t l = 0; l < lanes; l += kWidth) {
      const int64_t lane = l + kWidth > lanes ? lanes - kWidth : l;  // the last may overlap
      V largest = lowest, products = {};  // a chain of sums of their own for each vector
      for (int64_t r = 0; r < count; ++r) {
        const float* from = rows[r] + at + lane;
        for (int64_t k = first; k < last; ++k, from += tap) {
          V x;
          std::memcpy(&x, from, sizeof(x));
          largest = x > largest ? x : largest;
          products += x * 0.f;
        }
      }
      met += products;
      std::memcpy(y + i * y_stride + lane, &largest, sizeof(largest));
    }
  }
  bool any = false;
  for (int l = 0; l < kWidth; ++l) any = any || met[l] != met[l];
  return any;
}

bool MaxWindows(const float* const* rows, int64_t count, const RowWindow& window, float* y,
                int64_t y_stride, int64_t n, int64_t lanes) {
  return lanes < 16 ? MaxWindowsBy<8>(rows, count, window, y, y_stride, n, lanes)
                    : MaxWindowsBy<16>(rows, count, window, y, y_stride, n, lanes);
}

void Lerp(const float* a, const float* b, float w, float* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + (b[i] - a[i]) * w;
}

void LerpRow(const float* x, const int32_t* low, const int32_t* high, const float* w, float* y,
             int64_t n, int64_t lanes) {
  if (lanes == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = x[low[i]] + (x[high[i]] - x[low[i]]) * w[i];
  } else {
    for (int64_t i = 0; i < n; ++i) {
      Lerp(x + low[i] * lanes, x + high[i] * lanes, w[i], y + i * lanes, lanes);
    }
  }
}

void Widen(const uint16_t* x, float* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits = static_cast<uint32_t>(x[i]) << 16;
    std::memcpy(y + i, &bits, 4);
  }
}

void Narrow(const float* x, uint16_t* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    uint32_t rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
    uint32_t quiet = bits | 0x400000u;
    y[i] = static_cast<uint16_t>(((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded) >> 16);
  }
}

/// Rounds half to even; NaN becomes the least value.
template <typename T>
inline T Quantized(float x, float scale, float zero) {
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
  float low = kLow - zero, high = kHigh - zero, steps = x / scale;
  steps = steps > low ? steps : low;
  steps = steps < high ? steps : high;
  float rounded = (steps + kRound) - kRound;
  return static_cast<T>(static_cast<int32_t>(rounded + zero));
}

template <typename T>
void QuantizeTo(const float* x, int64_t x_stride, T* y, int64_t y_stride, int64_t n, float scale,
                float zero) {
  if (x_stride == 1 && y_stride == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = Quantized<T>(x[i], scale, zero);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_stride] = Quantized<T>(x[i * x_stride], scale, zero);
  }
}

void Quantize(const float* x, int64_t x_stride, void* y, int64_t y_stride, int64_t n, float scale,
              int zero, bool is_signed) {
  float shift = static_cast<float>(zero);
  if (is_signed) {
    QuantizeTo(x, x_stride, static_cast<int8_t*>(y), y_stride, n, scale, shift);
  } else {
    QuantizeTo(x, x_stride, static_cast<uint8_t*>(y), y_stride, n, scale, shift);
  }
}

template <typename T>
void DequantizeFrom(const T* x, int64_t x_stride, float* y, int64_t y_stride, int64_t n,
                    float scale, int32_t zero) {
  if (x_stride == 1 && y_stride == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] - zero) * scale;
  } else {
    for (int64_t i = 0; i < n; ++i) {
      y[i * y_stride] = static_cast<float>(x[i * x_stride] - zero) * scale;
    }
  }
}

void Dequantize(const void* x, int64_t x_stride, float* y, int64_t y_stride, int64_t n, float scale,
                int zero, bool is_signed) {
  if (is_signed) {
    DequantizeFrom(static_cast<const int8_t*>(x), x_stride, y, y_stride, n, scale, zero);
  } else {
    DequantizeFrom(static_cast<const uint8_t*>(x), x_stride, y, y_stride, n, scale, zero);
  }
}

}  // namespace

#define BYOC_STRING_(x) #x
#define BYOC_STRING(x) BYOC_STRING_(x)

extern const RowKernels kRows;
const RowKernels kRows = {
    BYOC_STRING(BYOC_ISA),
    Softmax,
    SoftmaxColumns,
    AddMask,
    LayerNorm,
    RmsNorm,
    UnaryRow,
    Clamp,
    Affine,
    Moments,
    ReduceRow,
    ReduceInto,
    MaxTaps,
    MaxWindows,
    Lerp,
    LerpRow,
    Widen,
    Narrow,
    Quantize,
    Dequantize,
};

}  // namespace byoc::onednn::BYOC_ISA

// One loop nest for all: it walks rows by bytes and calls a row function, of which there is one
// per function and dtype. Only those small loops are templates, so the file compiles quickly.
//
//   nest  ── offsets in elements × bytes per element ──▶  Row(a, strides, b, y, n)
#include "binary.h"

#include <cmath>
#include <functional>
#include <limits>
#include <type_traits>

#include "../error.h"

namespace byoc::onednn {
namespace {

/// y[i] = f(a[i], b[i]) for n elements; strides in elements.
using BinaryRow = void (*)(const void* a, int64_t sa, const void* b, int64_t sb, void* y,
                           int64_t sy, int64_t n);

/// The two common stride patterns get loops that compilers vectorise.
template <typename T, typename R, typename F>
void RowOf(const void* left, int64_t sa, const void* right, int64_t sb, void* result, int64_t sy,
           int64_t n) {
  const T* a = static_cast<const T*>(left);
  const T* b = static_cast<const T*>(right);
  R* y = static_cast<R*>(result);
  const F f;
  if (sa == 1 && sb == 1 && sy == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
  } else if (sa == 1 && sb == 0 && sy == 1) {
    T same = *b;
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], same);
  } else if (sa == 0 && sb == 1 && sy == 1) {
    T same = *a;
    for (int64_t i = 0; i < n; ++i) y[i] = f(same, b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * sy] = f(a[i * sa], b[i * sb]);
  }
}

/// A nest of such rows.
Kernel BinaryLoop(const LoopNest<3>& nest, BinaryRow row, int64_t in_size, int64_t out_size) {
  return [nest, row, in_size, out_size](void* const* operands) {
    const char* a = static_cast<const char*>(operands[0]);
    const char* b = static_cast<const char*>(operands[1]);
    char* y = static_cast<char*>(operands[2]);
    ForEachPart(nest, [&](const std::array<int64_t, 3>& at, int64_t n) {
      row(a + at[0] * in_size, nest.RowStride(0), b + at[1] * in_size, nest.RowStride(1),
          y + at[2] * out_size, nest.RowStride(2), n);
    });
  };
}

// Integers wrap around, as numpy's do; the sums are done unsigned because signed ones must not.
template <typename T, bool = std::is_integral_v<T>>
struct Wrapping {
  using Type = std::make_unsigned_t<T>;
};
template <typename T>
struct Wrapping<T, false> {
  using Type = T;
};
template <typename T>
using Wrap = typename Wrapping<T>::Type;

template <typename T>
struct Add {
  T operator()(T a, T b) const { return static_cast<T>(Wrap<T>(a) + Wrap<T>(b)); }
};
template <typename T>
struct Sub {
  T operator()(T a, T b) const { return static_cast<T>(Wrap<T>(a) - Wrap<T>(b)); }
};
template <typename T>
struct Mul {
  T operator()(T a, T b) const { return static_cast<T>(Wrap<T>(a) * Wrap<T>(b)); }
};
template <typename T>
struct Max {
  T operator()(T a, T b) const {
    T larger = a > b ? a : b;
    return a != a ? a : larger;
  }
};
template <typename T>
struct Min {
  T operator()(T a, T b) const {
    T smaller = a < b ? a : b;
    return a != a ? a : smaller;
  }
};
struct Div {
  float operator()(float a, float b) const { return a / b; }
};
struct Pow {
  float operator()(float a, float b) const { return std::pow(a, b); }
};

template <typename T>
BinaryRow ArithmeticOf(BinaryAlg alg) {
  switch (alg) {
    case BinaryAlg::kAdd:
      return RowOf<T, T, Add<T>>;
    case BinaryAlg::kSub:
      return RowOf<T, T, Sub<T>>;
    case BinaryAlg::kMul:
      return RowOf<T, T, Mul<T>>;
    case BinaryAlg::kMax:
      return RowOf<T, T, Max<T>>;
    case BinaryAlg::kMin:
      return RowOf<T, T, Min<T>>;
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    return alg == BinaryAlg::kDiv ? RowOf<T, T, Div> : RowOf<T, T, Pow>;
  }
  Fail("div and pow need float32 operands");
}

template <typename T, typename R>
BinaryRow ComparisonOf(BinaryAlg alg) {
  switch (alg) {
    case BinaryAlg::kGe:
      return RowOf<T, R, std::greater_equal<T>>;
    case BinaryAlg::kGt:
      return RowOf<T, R, std::greater<T>>;
    case BinaryAlg::kLe:
      return RowOf<T, R, std::less_equal<T>>;
    case BinaryAlg::kLt:
      return RowOf<T, R, std::less<T>>;
    case BinaryAlg::kEq:
      return RowOf<T, R, std::equal_to<T>>;
    default:
      return RowOf<T, R, std::not_equal_to<T>>;
  }
}

template <typename T>
Kernel BinaryOf(BinaryAlg alg, const LoopNest<3>& nest, bool to_float) {
  if (!IsComparison(alg)) return BinaryLoop(nest, ArithmeticOf<T>(alg), sizeof(T), sizeof(T));
  if (to_float) return BinaryLoop(nest, ComparisonOf<T, float>(alg), sizeof(T), sizeof(float));
  return BinaryLoop(nest, ComparisonOf<T, uint8_t>(alg), sizeof(T), 1);
}

template <typename T>
Kernel WhereOf(const LoopNest<4>& nest) {
  return [nest](void* const* operands) {
    const uint8_t* c = static_cast<const uint8_t*>(operands[0]);
    const T* a = static_cast<const T*>(operands[1]);
    const T* b = static_cast<const T*>(operands[2]);
    T* y = static_cast<T*>(operands[3]);
    int64_t sc = nest.RowStride(0), sa = nest.RowStride(1), sb = nest.RowStride(2),
            sy = nest.RowStride(3);
    ForEachPart(nest, [&](const std::array<int64_t, 4>& at, int64_t n) {
      const uint8_t* cs = c + at[0];
      const T *as = a + at[1], *bs = b + at[2];
      T* ys = y + at[3];
      if (sc == 1 && sa == 1 && sb == 1 && sy == 1) {
        for (int64_t i = 0; i < n; ++i) ys[i] = cs[i] ? as[i] : bs[i];
      } else {
        for (int64_t i = 0; i < n; ++i) ys[i * sy] = cs[i * sc] ? as[i * sa] : bs[i * sb];
      }
    });
  };
}

template <typename From, typename To>
To Convert(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // What C++ leaves undefined is pinned down: out of range and NaN give the smallest int64.
    int64_t wide = value >= -9.2233720e18f && value < 9.2233720e18f
                       ? static_cast<int64_t>(value)
                       : std::numeric_limits<int64_t>::min();
    return static_cast<To>(wide);
  } else {
    return static_cast<To>(value);
  }
}

/// y[i] = x[i] converted, for n elements; strides in elements.
using CastRow = void (*)(const void* x, int64_t sx, void* y, int64_t sy, int64_t n);

template <typename From, typename To>
void CastRowOf(const void* from, int64_t sx, void* to, int64_t sy, int64_t n) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
  if (sx == 1 && sy == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = Convert<From, To>(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * sy] = Convert<From, To>(x[i * sx]);
  }
}

template <typename From>
CastRow CastFrom(DType out) {
  switch (out) {
    case DType::kFloat32:
      return CastRowOf<From, float>;
    case DType::kInt32:
      return CastRowOf<From, int32_t>;
    case DType::kInt64:
      return CastRowOf<From, int64_t>;
    case DType::kUInt8:
      return CastRowOf<From, uint8_t>;
    case DType::kInt8:
      return CastRowOf<From, int8_t>;
    case DType::kBool:
      return CastRowOf<From, bool>;
    default:
      break;
  }
  Fail("cast to an unknown dtype");
}

CastRow CastRowFor(DType in, DType out) {
  switch (in) {
    case DType::kFloat32:
      return CastFrom<float>(out);
    case DType::kInt32:
      return CastFrom<int32_t>(out);
    case DType::kInt64:
      return CastFrom<int64_t>(out);
    case DType::kInt8:
      return CastFrom<int8_t>(out);
    default:  // bool is a byte of 0 or 1
      return CastFrom<uint8_t>(out);
  }
}

}  // namespace

Kernel BinaryKernel(BinaryAlg alg, const LoopNest<3>& nest, DType in, DType out) {
  bool to_float = out == DType::kFloat32;
  switch (in) {
    case DType::kFloat32:
      return BinaryOf<float>(alg, nest, to_float);
    case DType::kInt32:
      return BinaryOf<int32_t>(alg, nest, to_float);
    case DType::kInt64:
      return BinaryOf<int64_t>(alg, nest, to_float);
    case DType::kInt8:
      return BinaryOf<int8_t>(alg, nest, to_float);
    default:
      return BinaryOf<uint8_t>(alg, nest, to_float);
  }
}

Kernel WhereKernel(const LoopNest<4>& nest, int64_t size) {
  if (size == 1) return WhereOf<uint8_t>(nest);
  return size == 4 ? WhereOf<uint32_t>(nest) : WhereOf<uint64_t>(nest);
}

Kernel CastKernel(const LoopNest<2>& nest, DType in, DType out) {
  CastRow row = CastRowFor(in, out);
  int64_t in_size = SizeOf(in), out_size = SizeOf(out);
  return [nest, row, in_size, out_size](void* const* operands) {
    const char* x = static_cast<const char*>(operands[0]);
    char* y = static_cast<char*>(operands[1]);
    ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
      row(x + at[0] * in_size, nest.RowStride(0), y + at[1] * out_size, nest.RowStride(1), n);
    });
  };
}

}  // namespace byoc::onednn

#include "binary.h"

#include <cmath>
#include <type_traits>

#include "../error.h"

namespace byoc::onednn {
namespace {

/*! \brief One row; the two common stride patterns get loops that compilers vectorise. */
template <typename T, typename R, typename F>
void BinaryRow(const T* a, int64_t sa, const T* b, int64_t sb, R* y, int64_t sy, int64_t n,
               const F& f) {
  if (sa == 1 && sb == 1 && sy == 1) {
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
  } else if (sa == 1 && sb == 0 && sy == 1) {
    T right = *b;
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], right);
  } else if (sa == 0 && sb == 1 && sy == 1) {
    T left = *a;
    for (int64_t i = 0; i < n; ++i) y[i] = f(left, b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * sy] = f(a[i * sa], b[i * sb]);
  }
}

template <typename T, typename R, typename F>
Kernel BinaryLoop(const LoopNest<3>& nest, F f) {
  return [nest, f](void* const* operands) {
    const T* a = static_cast<const T*>(operands[0]);
    const T* b = static_cast<const T*>(operands[1]);
    R* y = static_cast<R*>(operands[2]);
    ForEachPart(nest, [&](const std::array<int64_t, 3>& at, int64_t n) {
      BinaryRow(a + at[0], nest.RowStride(0), b + at[1], nest.RowStride(1), y + at[2],
                nest.RowStride(2), n, f);
    });
  };
}

template <typename T>
Kernel ArithmeticOf(BinaryAlg alg, const LoopNest<3>& nest) {
  // Integers wrap around, as numpy's do; the sums are done unsigned because signed ones must not.
  using U = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>,
                                        std::enable_if<true, T>>::type;
  auto wrap = [](auto f) {
    return [f](T a, T b) { return static_cast<T>(f(static_cast<U>(a), static_cast<U>(b))); };
  };
  switch (alg) {
    case BinaryAlg::kAdd:
      return BinaryLoop<T, T>(nest, wrap([](U a, U b) { return a + b; }));
    case BinaryAlg::kSub:
      return BinaryLoop<T, T>(nest, wrap([](U a, U b) { return a - b; }));
    case BinaryAlg::kMul:
      return BinaryLoop<T, T>(nest, wrap([](U a, U b) { return a * b; }));
    case BinaryAlg::kMax:
      return BinaryLoop<T, T>(nest, [](T a, T b) { return a != a || a > b ? a : b; });
    case BinaryAlg::kMin:
      return BinaryLoop<T, T>(nest, [](T a, T b) { return a != a || a < b ? a : b; });
    default:
      break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (alg == BinaryAlg::kDiv) return BinaryLoop<T, T>(nest, [](T a, T b) { return a / b; });
    return BinaryLoop<T, T>(nest, [](T a, T b) { return std::pow(a, b); });
  }
  Fail("div and pow need float32 operands");
}

template <typename T, typename R>
Kernel ComparisonOf(BinaryAlg alg, const LoopNest<3>& nest) {
  switch (alg) {
    case BinaryAlg::kGe:
      return BinaryLoop<T, R>(nest, [](T a, T b) -> R { return a >= b; });
    case BinaryAlg::kGt:
      return BinaryLoop<T, R>(nest, [](T a, T b) -> R { return a > b; });
    case BinaryAlg::kLe:
      return BinaryLoop<T, R>(nest, [](T a, T b) -> R { return a <= b; });
    case BinaryAlg::kLt:
      return BinaryLoop<T, R>(nest, [](T a, T b) -> R { return a < b; });
    case BinaryAlg::kEq:
      return BinaryLoop<T, R>(nest, [](T a, T b) -> R { return a == b; });
    default:
      return BinaryLoop<T, R>(nest, [](T a, T b) -> R { return a != b; });
  }
}

template <typename T>
Kernel BinaryOf(BinaryAlg alg, const LoopNest<3>& nest, bool to_float) {
  if (!IsComparison(alg)) return ArithmeticOf<T>(alg, nest);
  return to_float ? ComparisonOf<T, float>(alg, nest) : ComparisonOf<T, uint8_t>(alg, nest);
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

template <typename From, typename To>
Kernel CastOf(const LoopNest<2>& nest) {
  return [nest](void* const* operands) {
    const From* x = static_cast<const From*>(operands[0]);
    To* y = static_cast<To*>(operands[1]);
    ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        y[at[1] + i * nest.RowStride(1)] = Convert<From, To>(x[at[0] + i * nest.RowStride(0)]);
      }
    });
  };
}

template <typename From>
Kernel CastFrom(const LoopNest<2>& nest, DType out) {
  switch (out) {
    case DType::kFloat32:
      return CastOf<From, float>(nest);
    case DType::kInt32:
      return CastOf<From, int32_t>(nest);
    case DType::kInt64:
      return CastOf<From, int64_t>(nest);
    case DType::kUInt8:
      return CastOf<From, uint8_t>(nest);
    case DType::kInt8:
      return CastOf<From, int8_t>(nest);
    case DType::kBool:
      return CastOf<From, bool>(nest);
  }
  Fail("cast to an unknown dtype");
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
  switch (in) {
    case DType::kFloat32:
      return CastFrom<float>(nest, out);
    case DType::kInt32:
      return CastFrom<int32_t>(nest, out);
    case DType::kInt64:
      return CastFrom<int64_t>(nest, out);
    case DType::kInt8:
      return CastFrom<int8_t>(nest, out);
    default:  // bool is a byte of 0 or 1
      return CastFrom<uint8_t>(nest, out);
  }
}

}  // namespace byoc::onednn

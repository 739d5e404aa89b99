/// \file
/// Numbers of any dtype as unsigned keys in the same order.
///
/// NaN is the greatest, whatever its sign; -0 and 0 are one.
#ifndef BYOC_RUNTIME_KEYS_H_
#define BYOC_RUNTIME_KEYS_H_

#include <dlpack/dlpack.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/error.h>

#include <cstdint>
#include <limits>
#include <utility>

namespace byoc {
namespace kernels {

/// Whole numbers from 0; `Bits` is the unsigned type of their width.
template <typename Bits>
struct UnsignedKey {
  using Stored = Bits;
  static Bits Of(Bits bits) { return bits; }
};

/// Whole numbers in two's complement.
template <typename Bits>
struct SignedKey {
  using Stored = Bits;
  static Bits Of(Bits bits) {
    return static_cast<Bits>(bits ^ (Bits{1} << (8 * sizeof(Bits) - 1)));
  }
};

/// IEEE numbers; `kInfinity` is infinity's bits, above which are only NaNs.
template <typename Bits, Bits kInfinity>
struct FloatKey {
  using Stored = Bits;
  static Bits Of(Bits bits) {
    constexpr Bits sign = Bits{1} << (8 * sizeof(Bits) - 1);
    const Bits magnitude = static_cast<Bits>(bits & ~sign);
    if (magnitude > kInfinity) return std::numeric_limits<Bits>::max();
    if (magnitude == 0) return sign;
    return static_cast<Bits>((bits & sign) != 0 ? ~bits : bits | sign);
  }
};

/// Calls `visit` with the keys of a dtype: an object of one of the types above.
///
/// \param what What is done with the numbers, a verb for the error.
///
/// Throws ValueError for a dtype that has none.
template <typename Visit>
void VisitKeys(const char* what, DLDataType t, Visit&& visit) {
  const int width = t.bits < 8 ? 8 : t.bits;  // a bool has a byte
  if (t.lanes == 1 && (t.code == kDLUInt || t.code == kDLBool)) {
    if (width == 8) return visit(UnsignedKey<uint8_t>());
    if (width == 16) return visit(UnsignedKey<uint16_t>());
    if (width == 32) return visit(UnsignedKey<uint32_t>());
    if (width == 64) return visit(UnsignedKey<uint64_t>());
  } else if (t.lanes == 1 && t.code == kDLInt) {
    if (width == 8) return visit(SignedKey<uint8_t>());
    if (width == 16) return visit(SignedKey<uint16_t>());
    if (width == 32) return visit(SignedKey<uint32_t>());
    if (width == 64) return visit(SignedKey<uint64_t>());
  } else if (t.lanes == 1 && t.code == kDLBfloat) {
    return visit(FloatKey<uint16_t, 0x7f80>());
  } else if (t.lanes == 1 && t.code == kDLFloat) {
    if (width == 16) return visit(FloatKey<uint16_t, 0x7c00>());
    if (width == 32) return visit(FloatKey<uint32_t, 0x7f800000>());
    if (width == 64) return visit(FloatKey<uint64_t, 0x7ff0000000000000>());
  }
  TVM_FFI_THROW(ValueError) << "the host cannot " << what << " numbers of dtype "
                            << tvm::ffi::DLDataTypeToString(t)
                            << "; cast them to a float or an integer of 8 to 64 bits before";
}

}  // namespace kernels
}  // namespace byoc

#endif  // BYOC_RUNTIME_KEYS_H_

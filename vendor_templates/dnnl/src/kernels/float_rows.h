/// \file float_rows.h
/// \brief Rows of reals that may be stored as bfloat16, computed as float32.
///
///     x  bfloat16 ──widen──▶ buffer ── kernel ──▶ buffer ──narrow──▶ y  bfloat16
///
/// A row is short enough for the L1 cache, so the memory between ops is read and written at half
/// its size and every kernel exists once, for float32.
#ifndef BYOC_DNNL_KERNELS_FLOAT_ROWS_H_
#define BYOC_DNNL_KERNELS_FLOAT_ROWS_H_

#include <vector>

#include "../program.h"
#include "simd.h"

namespace byoc::onednn {

/// How the rows that a kernel reads and those that it writes are stored.
struct RowStorage {
  DType in = DType::kFloat32, out = DType::kFloat32;

  /// True when rows have to be converted on their way.
  bool narrow() const { return in == DType::kBFloat16 || out == DType::kBFloat16; }
};

/// Rows of one thread.
class FloatRows {
 public:
  /// \param length Of the longest row.
  FloatRows(const RowStorage& storage, int64_t length)
      : storage_(storage), buffer_(storage.narrow() ? length : 0) {}

  /// Call `f(x, y, n)` with float32 rows that stand for those from `x_at` and `y_at` on.
  ///
  /// The two rows may be the same memory, both in fact and as `f` sees them.
  template <typename F>
  void Apply(const void* x, int64_t x_at, void* y, int64_t y_at, int64_t n, const F& f) {
    const float* from = static_cast<const float*>(x) + x_at;
    if (storage_.in == DType::kBFloat16) {
      Rows().widen(static_cast<const uint16_t*>(x) + x_at, buffer_.data(), n);
      from = buffer_.data();
    }
    const bool narrow = storage_.out == DType::kBFloat16;
    float* to = narrow ? buffer_.data() : static_cast<float*>(y) + y_at;
    f(from, to, n);
    if (narrow) Rows().narrow(to, static_cast<uint16_t*>(y) + y_at, n);
  }

 private:
  RowStorage storage_;
  std::vector<float> buffer_;
};

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_FLOAT_ROWS_H_

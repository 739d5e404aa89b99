/// \file simd.h
/// \brief Inner loops of our own kernels: one row or one small block at a time, on one thread.
///
/// simd.cc is compiled once per instruction set; `Rows()` picks the widest one this CPU has. The
/// loops are plain C++ that compilers turn into vector code; there are no intrinsics to port.
#ifndef BYOC_DNNL_KERNELS_SIMD_H_
#define BYOC_DNNL_KERNELS_SIMD_H_

#include <cstdint>

namespace byoc::onednn {

/// Element-wise functions that oneDNN lacks, computes slowly, or takes NaN out of.
enum class Unary : uint8_t { kErf, kFloor, kCeil, kSin, kCos, kRsqrt, kExp };

/// How a reduction folds; kSquares: a sum of squares.
enum class Reduce : uint8_t { kSum, kMax, kMin, kProd, kSquares };

/// How windows move along rows of `size` pixels, `stride` elements from one to the next.
struct RowWindow {
  int64_t size, stride;
  int64_t kernel, step, dilation;
  int64_t begin;  ///< pixels of padding before the first
};

/// The table of inner loops. Pointers may be equal (in place) but not overlap otherwise.
struct RowKernels {
  const char* name;  ///< of the instruction set, for example "avx2"

  /// Softmax of one row; `log`: its logarithm.
  void (*softmax)(const float* x, float* y, int64_t n, bool log);
  /// Softmax down each of `columns` adjacent columns of n rows.
  void (*softmax_columns)(const float* x, float* y, int64_t n, int64_t stride, int64_t columns,
                          bool log);
  /// row[i] += mask[i * mask_stride].
  void (*add_mask)(float* row, const float* mask, int64_t mask_stride, int64_t n);

  /// (x - mean) / sqrt(var + eps) * scale + shift; scale and shift may be null.
  void (*layer_norm)(const float* x, const float* scale, const float* shift, float* y, int64_t n,
                     float eps);
  /// x / sqrt(mean(x * x) + eps) * scale; scale may be null.
  void (*rms_norm)(const float* x, const float* scale, float* y, int64_t n, float eps);

  /// y[i] = alg(x[i]).
  void (*unary)(Unary alg, const float* x, float* y, int64_t n);
  /// y[i] = a * x[i] + b, limited to [low, high]; NaN stays.
  void (*clamp)(const float* x, float* y, int64_t n, float a, float b, float low, float high);

  /// y = (x - center) * scale + shift per lane, then max(y, 0) when `relu`.
  void (*affine)(const float* x, int64_t x_stride, float* y, int64_t y_stride, const float* center,
                 const float* scale, const float* shift, int64_t pixels, int64_t lanes, bool relu);
  /// sums[lane] += sum over pixels of x, or of (x - mean[lane])^2 when mean is not null.
  void (*moments)(const float* x, int64_t stride, int64_t pixels, int64_t lanes, const float* mean,
                  double* sums);

  /// Fold one row into a number, starting from `start`.
  float (*reduce_row)(Reduce alg, const float* x, int64_t n, float start);
  /// Fold a row into an accumulator, element by element.
  void (*reduce_into)(Reduce alg, float* accumulator, const float* x, int64_t n);

  /// y[i * y_stride + l] = max over taps of taps[k][i * x_stride + l], for n groups of lanes; NaN
  /// stays.
  void (*max_taps)(const float* const* taps, int64_t count, int64_t x_stride, float* y,
                   int64_t y_stride, int64_t n, int64_t lanes);

  /// One row of max pooling, straight from the rows under its windows, for 8 or more lanes.
  ///
  /// Quick, and wrong where there is NaN or infinity: true when a window has one.
  bool (*max_windows)(const float* const* rows, int64_t count, const RowWindow& window, float* y,
                      int64_t y_stride, int64_t n, int64_t lanes);

  /// y = a + (b - a) * w.
  void (*lerp)(const float* a, const float* b, float w, float* y, int64_t n);
  /// y[i] = lerp(x[low[i]], x[high[i]], w[i]) for pixels of `lanes` adjacent values.
  void (*lerp_row)(const float* x, const int32_t* low, const int32_t* high, const float* w,
                   float* y, int64_t n, int64_t lanes);

  /// bfloat16 to float32, exactly.
  void (*widen)(const uint16_t* x, float* y, int64_t n);
  /// float32 to the nearest bfloat16, ties to even; NaN stays.
  void (*narrow)(const float* x, uint16_t* y, int64_t n);

  /// y = round(x / scale) + zero, saturated; to int8 or uint8. Strides in elements.
  void (*quantize)(const float* x, int64_t x_stride, void* y, int64_t y_stride, int64_t n,
                   float scale, int zero, bool is_signed);
  /// y = (x - zero) * scale; from int8 or uint8.
  void (*dequantize)(const void* x, int64_t x_stride, float* y, int64_t y_stride, int64_t n,
                     float scale, int zero, bool is_signed);
};

/// The loops for this CPU.
const RowKernels& Rows();

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_SIMD_H_

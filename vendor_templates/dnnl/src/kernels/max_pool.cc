// One row of results at a time. Small windows over channels side by side are read as they are, by a
// loop that only tells where NaN or infinities are. Other windows, and rows with those, are folded
// twice, which vectorises in every layout:
//
//   rows of x under the window   ──elementwise──▶  one row, with -inf for padding on both sides
//                                ──shifted──────▶  one row of y
#include "max_pool.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "parallel.h"
#include "simd.h"

namespace byoc::onednn {
namespace {

constexpr size_t kSpatial = 3;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// The same with three spatial dims, of which those in front have one element.
struct Pool {
  Pool(const PoolLayout& l, const PoolWindow& w) : blocks(l.blocks), lanes(l.lanes) {
    batch = l.x_shape[0];
    x_batch = l.x_strides[0];
    y_batch = l.y_strides[0];
    x_block = l.x_strides[1];
    y_block = l.y_strides[1];
    size_t given = l.x_shape.size() - 2, ahead = kSpatial - given;
    for (size_t d = 0; d < given; ++d) {
      x_size[ahead + d] = l.x_shape[2 + d];
      y_size[ahead + d] = l.y_shape[2 + d];
      x_stride[ahead + d] = l.x_strides[2 + d];
      y_stride[ahead + d] = l.y_strides[2 + d];
      kernel[ahead + d] = w.kernel[d];
      step[ahead + d] = w.strides[d];
      dilation[ahead + d] = w.dilations[d];
      begin[ahead + d] = w.begin[d];
    }
  }

  int64_t batch, blocks, lanes, x_batch, y_batch, x_block, y_block;
  int64_t x_size[kSpatial] = {1, 1, 1}, y_size[kSpatial] = {1, 1, 1};
  int64_t x_stride[kSpatial] = {}, y_stride[kSpatial] = {};
  int64_t kernel[kSpatial] = {1, 1, 1}, step[kSpatial] = {1, 1, 1};
  int64_t dilation[kSpatial] = {1, 1, 1}, begin[kSpatial] = {};
};

/// What one thread works with.
class RowPooler {
 public:
  explicit RowPooler(const Pool& pool)
      : p_(pool),
        small_(IsSmall(pool)),
        window_{pool.x_size[2], pool.x_stride[2], pool.kernel[2],
                pool.step[2],   pool.dilation[2], pool.begin[2]},
        length_((pool.y_size[2] - 1) * pool.step[2] + (pool.kernel[2] - 1) * pool.dilation[2] + 1),
        inside_(std::clamp<int64_t>(length_ - pool.begin[2], 0, pool.x_size[2])),
        row_(length_ * pool.lanes, kLowest) {
    for (int64_t k = 0; k < p_.kernel[2]; ++k) {
      shifted_.push_back(row_.data() + k * p_.dilation[2] * p_.lanes);
    }
  }

  /// One row of y, from one block of channels of one batch item.
  void Row(const float* x, float* y, int64_t depth, int64_t height) {
    rows_.clear();
    for (int64_t i = 0; i < p_.kernel[0]; ++i) {
      int64_t d = depth * p_.step[0] + i * p_.dilation[0] - p_.begin[0];
      if (d < 0 || d >= p_.x_size[0]) continue;
      for (int64_t j = 0; j < p_.kernel[1]; ++j) {
        int64_t h = height * p_.step[1] + j * p_.dilation[1] - p_.begin[1];
        if (h < 0 || h >= p_.x_size[1]) continue;
        rows_.push_back(x + d * p_.x_stride[0] + h * p_.x_stride[1]);
      }
    }
    y += depth * p_.y_stride[0] + height * p_.y_stride[1];
    if (small_ && !Rows().max_windows(rows_.data(), static_cast<int64_t>(rows_.size()), window_, y,
                                      p_.y_stride[2], p_.y_size[2], p_.lanes)) {
      return;
    }
    float* inside = row_.data() + p_.begin[2] * p_.lanes;
    if (rows_.empty()) {
      std::fill_n(inside, inside_ * p_.lanes, kLowest);
    } else if (inside_ > 0) {
      Rows().max_taps(rows_.data(), static_cast<int64_t>(rows_.size()), p_.x_stride[2], inside,
                      p_.lanes, inside_, p_.lanes);
    }
    Rows().max_taps(shifted_.data(), p_.kernel[2], p_.step[2] * p_.lanes, y, p_.y_stride[2],
                    p_.y_size[2], p_.lanes);
  }

 private:
  /// Whether reading every element of a window is less work than two folds.
  static bool IsSmall(const Pool& p) {
    const int64_t rows = p.kernel[0] * p.kernel[1], columns = p.kernel[2];
    return p.lanes >= 8 && 2 * rows * columns <= 3 * (p.step[2] * rows + columns + 2);
  }

  const Pool& p_;
  const bool small_;
  const RowWindow window_;
  const int64_t length_, inside_;  // elements of the padded row, and those of them that x has
  std::vector<float> row_;
  std::vector<const float*> rows_, shifted_;
};

}  // namespace

Kernel MaxPoolKernel(const PoolLayout& layout, const PoolWindow& window) {
  return [pool = Pool(layout, window)](void* const* operands) {
    const float* x = static_cast<const float*>(operands[0]);
    float* y = static_cast<float*>(operands[1]);
    int64_t heights = pool.y_size[1], rows = pool.y_size[0] * heights;
    int64_t work = pool.kernel[0] * pool.kernel[1] * pool.x_size[2] * pool.lanes;
    ParallelFor(pool.batch * pool.blocks * rows, work, [&](int64_t begin, int64_t end) {
      RowPooler pooler(pool);
      for (int64_t i = begin; i < end; ++i) {
        int64_t row = i % rows, pair = i / rows, n = pair / pool.blocks, block = pair % pool.blocks;
        pooler.Row(x + n * pool.x_batch + block * pool.x_block,
                   y + n * pool.y_batch + block * pool.y_block, row / heights, row % heights);
      }
    });
  };
}

}  // namespace byoc::onednn

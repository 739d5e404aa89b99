// The work is cut into (batch item, channel block) pairs, and pairs of many pixels into runs of
// pixels, so that every layout keeps all threads busy; each part is one call of a row kernel
// (simd.h).
#include "channel.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "simd.h"

namespace byoc::onednn {
namespace {

/// Call `visit(n, block, first, count)` for parts of all (batch item, block) pairs: when
/// there are few of them (channels last has one block) their pixels are split among the threads.
template <typename Visit>
void ForEachBlock(const SpatialView& view, const Visit& visit) {
  constexpr int64_t kPixels = 1024;
  int64_t parts = view.blocks > 8 ? 1 : (view.pixels + kPixels - 1) / kPixels;
  int64_t step = (view.pixels + parts - 1) / std::max<int64_t>(parts, 1);
  ParallelFor(view.batch * view.blocks * parts, step * view.lanes, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t first = i % parts * step, pair = i / parts;
      int64_t count = std::min(step, view.pixels - first);
      if (count > 0) visit(pair / view.blocks, pair % view.blocks, first, count);
    }
  });
}

/// Per channel, sum of x (mean null) or of (x - mean)^2; each pair on one thread.
void ChannelSums(const float* x, const SpatialView& view, const float* mean, double* sums) {
  ParallelFor(view.batch * view.blocks, view.pixels * view.lanes, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t n = i / view.blocks, block = i % view.blocks, at = i * view.lanes;
      std::fill_n(sums + at, view.lanes, 0.0);
      Rows().moments(x + n * view.batch_stride + block * view.block_stride, view.pixel_stride,
                     view.pixels, view.lanes, mean != nullptr ? mean + at : nullptr, sums + at);
    }
  });
}

}  // namespace

void ChannelAffine(const float* x, const SpatialView& from, float* y, const SpatialView& to,
                   const float* m, const float* a, const float* c, int64_t batch_step, bool relu) {
  ForEachBlock(from, [&](int64_t n, int64_t block, int64_t first, int64_t count) {
    const float* xs =
        x + n * from.batch_stride + block * from.block_stride + first * from.pixel_stride;
    float* ys = y + n * to.batch_stride + block * to.block_stride + first * to.pixel_stride;
    int64_t at = n * batch_step + block * from.lanes;
    Rows().affine(xs, from.pixel_stride, ys, to.pixel_stride, m + at, a + at, c + at, count,
                  from.lanes, relu);
  });
}

void GroupFactors(const float* x, const SpatialView& view, int64_t groups, float eps,
                  const float* scale, const float* shift, float* m, float* a, float* c) {
  int64_t padded = view.blocks * view.lanes, per_group = view.channels / groups;
  double count = static_cast<double>(per_group) * static_cast<double>(view.pixels);
  std::vector<double> sums(view.batch * padded);
  ChannelSums(x, view, nullptr, sums.data());
  for (int64_t n = 0; n < view.batch; ++n) {
    for (int64_t g = 0; g < groups; ++g) {
      double* channel = sums.data() + n * padded + g * per_group;
      double total = 0;
      for (int64_t i = 0; i < per_group; ++i) total += channel[i];
      std::fill_n(m + n * padded + g * per_group, per_group, static_cast<float>(total / count));
    }
    std::fill(m + n * padded + view.channels, m + (n + 1) * padded, 0.f);
  }
  ChannelSums(x, view, m, sums.data());
  for (int64_t n = 0; n < view.batch; ++n) {
    for (int64_t g = 0; g < groups; ++g) {
      int64_t at = n * padded + g * per_group;
      double total = 0;
      for (int64_t i = 0; i < per_group; ++i) total += sums[at + i];
      float factor = 1.f / std::sqrt(static_cast<float>(total / count) + eps);
      for (int64_t i = 0; i < per_group; ++i) {
        int64_t channel = g * per_group + i;
        a[at + i] = factor * (scale != nullptr ? scale[channel] : 1.f);
        c[at + i] = shift != nullptr ? shift[channel] : 0.f;
      }
    }
    std::fill(a + n * padded + view.channels, a + (n + 1) * padded, 0.f);
    std::fill(c + n * padded + view.channels, c + (n + 1) * padded, 0.f);
  }
}

}  // namespace byoc::onednn

/// \file channel.h
/// \brief Kernels that treat each channel alike, in plain, blocked and channels-last layouts.
///
/// A `SpatialView` says how the tensor lies; numbers per channel come padded to whole blocks, so
/// that one loop over lanes serves every layout. All run on byoc's threads.
#ifndef BYOC_DNNL_KERNELS_CHANNEL_H_
#define BYOC_DNNL_KERNELS_CHANNEL_H_

#include "../layout.h"

namespace byoc::onednn {

/// y = (x - m) * a + c per channel, then max(y, 0) when `relu`.
///
/// Subtracting first keeps the digits of channels that vary little around a large mean.
///
/// \param x, y May be the same memory, seen alike.
/// \param m, a, c blocks * lanes numbers each, those of padding lanes 0, so that padding stays 0.
/// \param batch_step Numbers from one batch item's m to the next; 0: the same for all.
void ChannelAffine(const float* x, const SpatialView& from, float* y, const SpatialView& to,
                   const float* m, const float* a, const float* c, int64_t batch_step, bool relu);

/// Factors of group normalisation: m = mean, a = scale / sqrt(var + eps), c = shift.
///
/// Mean and variance are taken over the pixels of all channels of a group, in two passes.
///
/// \param scale, shift One number per channel; null: 1 and 0.
/// \param m, a, c Results, batch * blocks * lanes numbers each.
void GroupFactors(const float* x, const SpatialView& view, int64_t groups, float eps,
                  const float* scale, const float* shift, float* m, float* a, float* c);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_CHANNEL_H_

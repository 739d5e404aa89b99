/// \file channel.h
/// \brief Kernels that treat each channel alike, in plain, blocked and channels-last layouts.
#ifndef BYOC_DNNL_KERNELS_CHANNEL_H_
#define BYOC_DNNL_KERNELS_CHANNEL_H_

#include "../layout.h"

namespace byoc::onednn {

/// y = (x - m) * a + c per channel, then max(y, 0) when `relu`.
///
/// Subtracting first keeps the digits of channels that vary little around a large mean.
/// m, a and c hold blocks * lanes numbers, those of padding lanes 0, so that padding stays 0.
/// \param batch_step Numbers from one batch item's m to the next; 0: the same for all.
void ChannelAffine(const float* x, const SpatialView& from, float* y, const SpatialView& to,
                   const float* m, const float* a, const float* c, int64_t batch_step, bool relu);

/// Factors of group normalisation: m = mean, a = scale / sqrt(var + eps), c = shift.
///
/// Mean and variance over the pixels of all channels of a group, two passes. m, a and c hold
/// batch * blocks * lanes numbers; scale and shift (may be null) one per channel.
void GroupFactors(const float* x, const SpatialView& view, int64_t groups, float eps,
                  const float* scale, const float* shift, float* m, float* a, float* c);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_CHANNEL_H_

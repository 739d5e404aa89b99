/// \file layout.h
/// \brief Questions about oneDNN memory descriptors: how a tensor lies in memory.
///
/// Three families matter here, for a tensor [N, C, *spatial]:
///   plain    row-major                        N C H W
///   blocked  channels in blocks of b lanes    N C/b H W b     (padded with zeros to whole blocks)
///   last     channels last                    N H W C
/// and "strided": any of them without inner blocks, e.g. a transposed view or a slice.
#ifndef BYOC_DNNL_LAYOUT_H_
#define BYOC_DNNL_LAYOUT_H_

#include <dnnl.hpp>
#include <optional>
#include <string>

#include "program.h"

namespace byoc::onednn {

/// A oneDNN memory descriptor: shape, data type and layout of a tensor, without its address.
using Desc = dnnl::memory::desc;

/// A named layout of oneDNN.
using Tag = dnnl::memory::format_tag;

/// The oneDNN type that stores a dtype.
///
/// oneDNN has no int64 and no bool: int64 is carried as f64, of the same width, and never computed
/// with by oneDNN; bool is a byte.
dnnl::memory::data_type StorageType(DType dtype);

/// Row-major descriptor; a scalar is a vector of one element.
Desc PlainDesc(const Dims& shape, DType dtype);

/// Row-major strides of a shape, in elements.
Dims PlainStrides(const Dims& shape);

/// A descriptor that leaves the layout to the primitive (`format_tag::any`).
Desc AnyDesc(const Dims& shape, DType dtype);

/// True when elements lie in row-major order without gaps (unit dims do not matter).
bool IsPlain(const Desc& desc);

/// True for what oneDNN gives back when a view is impossible; asking it anything throws.
inline bool IsEmpty(const Desc& desc) {
  return desc.get(/*allow_empty=*/true) == nullptr || desc.is_zero();
}

/// True when there are no inner blocks: an address is a sum of index times stride.
bool IsStrided(const Desc& desc);

/// True when both place every element at the same distance from their first.
bool SameLayout(const Desc& a, const Desc& b);

/// A dense tensor of another shape in the layout family of `desc`.
///
/// How layouts travel: the result of an op that does not care lies as its input does.
///
/// \param desc May itself be a window with gaps into a tensor of its family.
/// \param shape Of the same rank.
/// \return Nothing when `desc` belongs to no family.
std::optional<Desc> WithShape(const Desc& desc, const Dims& shape);

/// The dense tensor that lies as `desc` does, of another dtype of reals; row-major where `desc`
/// belongs to no family.
Desc WithFloat(const Desc& desc, DType dtype);

/// Which of the two dtypes of reals a descriptor stores; `dtype` itself where it is neither.
DType FloatOf(const Desc& desc, DType dtype);

/// The layout in words for introspection: "aBcd16b", "plain" or its strides.
std::string Describe(const Desc& desc);

/// True when `desc` is a member of a layout family, without gaps.
bool IsDense(const Desc& desc);

/// A tensor [N, C, *spatial] as nested loops over batch, channel block, pixel and lane:
/// address = n * batch_stride + block * block_stride + pixel * pixel_stride + lane.
///
/// plain: lanes 1, blocks C; blocked: lanes b; channels last: lanes C, blocks 1.
struct SpatialView {
  int64_t batch, channels;
  int64_t blocks, lanes;  ///< blocks * lanes >= channels: the last block may be padded
  Dims spatial;
  int64_t pixels;                                    ///< product of the spatial dims
  int64_t batch_stride, block_stride, pixel_stride;  ///< in elements
};

/// The view of a descriptor, or nothing when its pixels do not lie at one stride.
std::optional<SpatialView> ViewSpatial(const Desc& desc);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_LAYOUT_H_

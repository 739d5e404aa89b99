// oneDNN describes a layout by strides and inner blocks and has no question for "which family is
// this?". A descriptor belongs to a family when it equals the one that the family's tag gives for
// its shape; for windows, which have gaps, the blocks and the order of the strides decide.
#include "layout.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "error.h"

namespace byoc::onednn {
namespace {

using dnnl::memory;

/// Row-major tags by rank.
constexpr Tag kPlainTags[] = {Tag::undef,       Tag::a,         Tag::ab,         Tag::abc,
                              Tag::abcd,        Tag::abcde,     Tag::abcdef,     Tag::abcdefg,
                              Tag::abcdefgh,    Tag::abcdefghi, Tag::abcdefghij, Tag::abcdefghijk,
                              Tag::abcdefghijkl};

struct NamedTag {
  Tag tag;
  const char* name;
};

/// The layout families of activations by rank.
constexpr NamedTag kFamilies[][5] = {
    {},
    {{Tag::a, "a"}},
    {{Tag::ab, "ab"}, {Tag::ba, "ba"}},
    {{Tag::abc, "abc"},
     {Tag::acb, "acb"},
     {Tag::aBc16b, "aBc16b"},
     {Tag::aBc8b, "aBc8b"},
     {Tag::aBc4b, "aBc4b"}},
    {{Tag::abcd, "abcd"},
     {Tag::acdb, "acdb"},
     {Tag::aBcd16b, "aBcd16b"},
     {Tag::aBcd8b, "aBcd8b"},
     {Tag::aBcd4b, "aBcd4b"}},
    {{Tag::abcde, "abcde"},
     {Tag::acdeb, "acdeb"},
     {Tag::aBcde16b, "aBcde16b"},
     {Tag::aBcde8b, "aBcde8b"},
     {Tag::aBcde4b, "aBcde4b"}},
};

const NamedTag* FamilyOf(const Desc& desc) {
  size_t rank = desc.get_ndims();
  if (rank >= std::size(kFamilies)) return nullptr;
  for (const NamedTag& family : kFamilies[rank]) {
    if (family.name == nullptr) break;
    Desc dense(desc.get_dims(), desc.get_data_type(), family.tag, /*allow_empty=*/true);
    if (!IsEmpty(dense) && SameLayout(dense, desc)) return &family;
  }
  return nullptr;
}

/// Elements of one dimension that lie in inner blocks.
Dims BlockSizes(const Desc& desc) {
  Dims sizes(desc.get_ndims(), 1);
  Dims blocks = desc.get_inner_blks(), axes = desc.get_inner_idxs();
  for (size_t i = 0; i < blocks.size(); ++i) sizes[axes[i]] *= blocks[i];
  return sizes;
}

}  // namespace

memory::data_type StorageType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return memory::data_type::f32;
    case DType::kInt32:
      return memory::data_type::s32;
    case DType::kInt64:
      return memory::data_type::f64;
    case DType::kInt8:
      return memory::data_type::s8;
    case DType::kBFloat16:
      return memory::data_type::bf16;
    default:
      return memory::data_type::u8;
  }
}

Desc PlainDesc(const Dims& shape, DType dtype) {
  if (shape.empty()) return Desc({1}, StorageType(dtype), Tag::a);
  if (shape.size() >= std::size(kPlainTags)) Fail("shape ", ToString(shape), " has too many dims");
  return Desc(shape, StorageType(dtype), kPlainTags[shape.size()]);
}

Dims PlainStrides(const Dims& shape) {
  Dims strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) {
    strides[i - 1] = strides[i] * std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

Desc AnyDesc(const Dims& shape, DType dtype) { return Desc(shape, StorageType(dtype), Tag::any); }

bool IsStrided(const Desc& desc) { return desc.get_inner_nblks() == 0; }

bool IsPlain(const Desc& desc) {
  Dims dims = desc.get_dims(), padded = desc.get_padded_dims();
  if (dims != padded) return false;
  Dims strides = desc.get_strides(), sizes = BlockSizes(desc);
  Dims blocks = desc.get_inner_blks(), axes = desc.get_inner_idxs();
  // Walk the loops from the innermost in logical order; each must step over all inside it.
  int64_t expected = 1;
  for (size_t d = dims.size(); d-- > 0;) {
    int64_t inner_stride = 1;
    for (size_t i = blocks.size(); i-- > 0; inner_stride *= blocks[i]) {
      if (axes[i] != static_cast<int64_t>(d) || blocks[i] == 1) continue;
      if (inner_stride != expected) return false;
      expected *= blocks[i];
    }
    int64_t outer = dims[d] / sizes[d];
    if (outer == 1) continue;
    if (strides[d] != expected) return false;
    expected *= outer;
  }
  return true;
}

bool SameLayout(const Desc& a, const Desc& b) {
  Dims padded = a.get_padded_dims();
  if (a.get_data_type() != b.get_data_type() || a.get_dims() != b.get_dims() ||
      padded != b.get_padded_dims() || a.get_inner_blks() != b.get_inner_blks() ||
      a.get_inner_idxs() != b.get_inner_idxs()) {
    return false;
  }
  Dims sizes = BlockSizes(a), strides_a = a.get_strides(), strides_b = b.get_strides();
  for (size_t d = 0; d < padded.size(); ++d) {
    if (padded[d] / sizes[d] > 1 && strides_a[d] != strides_b[d]) return false;
  }
  return true;
}

std::optional<Desc> WithShape(const Desc& desc, const Dims& shape) {
  Dims dims = desc.get_dims(), strides = desc.get_strides(), blocks = desc.get_inner_blks();
  size_t rank = shape.size();
  if (dims.size() != rank || rank >= std::size(kPlainTags)) return std::nullopt;
  if (const NamedTag* family = FamilyOf(desc)) {
    return Desc(shape, desc.get_data_type(), family->tag);
  }
  // A window into a larger tensor: the family follows from its blocks and its order of loops.
  if (blocks.size() == 1 && desc.get_inner_idxs()[0] == 1 && rank >= 3 && rank <= 5) {
    for (const NamedTag& family : kFamilies[rank]) {
      Desc dense(shape, desc.get_data_type(), family.tag);
      if (dense.get_inner_blks() == blocks) return dense;
    }
  }
  if (!blocks.empty()) return std::nullopt;
  auto ordered = [&](const Dims& by) {  // strides fall along the loops of a dense tensor
    std::vector<size_t> order(rank);
    for (size_t d = 0; d < rank; ++d) order[d] = d;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return by[a] > by[b]; });
    int64_t last = std::numeric_limits<int64_t>::max();
    for (size_t d : order) {
      if (dims[d] == 1) continue;
      if (strides[d] > last) return false;
      last = strides[d];
    }
    return true;
  };
  if (ordered(PlainStrides(dims))) return Desc(shape, desc.get_data_type(), kPlainTags[rank]);
  if (rank >= 3 && rank <= 5) {
    Desc last(dims, desc.get_data_type(), kFamilies[rank][1].tag);
    if (ordered(last.get_strides())) {
      return Desc(shape, desc.get_data_type(), kFamilies[rank][1].tag);
    }
  }
  return std::nullopt;
}

bool IsDense(const Desc& desc) { return FamilyOf(desc) != nullptr || IsPlain(desc); }

Desc WithFloat(const Desc& desc, DType dtype) {
  Dims dims = desc.get_dims();
  if (const NamedTag* family = FamilyOf(desc)) return Desc(dims, StorageType(dtype), family->tag);
  std::optional<Desc> dense = WithShape(desc, dims);
  if (!dense || !IsStrided(*dense)) return PlainDesc(dims, dtype);
  return Desc(dims, StorageType(dtype), dense->get_strides());
}

DType FloatOf(const Desc& desc, DType dtype) {
  if (!IsFloat(dtype)) return dtype;
  return desc.get_data_type() == memory::data_type::bf16 ? DType::kBFloat16 : DType::kFloat32;
}

std::string Describe(const Desc& desc) {
  if (const NamedTag* family = FamilyOf(desc)) return family->name;
  if (IsPlain(desc)) return "plain";
  std::string text = "strides" + ToString(desc.get_strides());
  if (!IsStrided(desc)) text += " blocks" + ToString(desc.get_inner_blks());
  return text;
}

std::optional<SpatialView> ViewSpatial(const Desc& desc) {
  Dims dims = desc.get_dims(), strides = desc.get_strides(), padded = desc.get_padded_dims();
  Dims blocks = desc.get_inner_blks(), axes = desc.get_inner_idxs();
  if (dims.size() < 2) return std::nullopt;
  SpatialView view{dims[0], dims[1],    dims[1],    1, Dims(dims.begin() + 2, dims.end()),
                   1,       strides[0], strides[1], 1};
  view.pixels = Volume(view.spatial);
  if (blocks.size() == 1 && axes[0] == 1) {
    view.lanes = view.pixel_stride = blocks[0];
    view.blocks = padded[1] / blocks[0];
  } else if (!blocks.empty()) {
    return std::nullopt;
  } else if (strides[1] == 1 && dims[1] > 1) {
    view.lanes = dims[1];
    view.blocks = 1;
    view.block_stride = 0;
  }
  // The pixel stride is that of the last spatial dim longer than one; those before follow.
  int64_t expected = 0;
  for (size_t d = dims.size(); d-- > 2;) {
    if (dims[d] == 1) continue;
    if (expected == 0) {
      view.pixel_stride = strides[d];
      expected = strides[d];
    }
    if (strides[d] != expected) return std::nullopt;
    expected *= dims[d];
  }
  return view;
}

}  // namespace byoc::onednn

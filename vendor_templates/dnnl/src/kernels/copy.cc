// Copies are loop nests: loops sorted so that the destination is walked forwards in memory, then
// collapsed to as few as the strides allow (see loops.h). Rows are memcpy where both are dense.
#include "copy.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "../error.h"
#include "loops.h"

namespace byoc::onednn {
namespace {

/// Order the loops so that the destination is walked forwards in memory.
void SortByStride(Dims* shape, Dims* from, Dims* to) {
  std::vector<size_t> order(shape->size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return (*to)[a] > (*to)[b]; });
  auto permute = [&](Dims* dims) {
    Dims sorted;
    for (size_t d : order) sorted.push_back((*dims)[d]);
    *dims = sorted;
  };
  permute(shape);
  permute(from);
  permute(to);
}

template <typename T>
void CopyRow(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t count) {
  if (from_stride == 1 && to_stride == 1) {
    std::memcpy(to, from, count * sizeof(T));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * to_stride] = from[i * from_stride];
  }
}

template <typename T>
Kernel CopyOf(const LoopNest<2>& nest) {
  return [nest](void* const* operands) {
    const T* from = static_cast<const T*>(operands[0]);
    T* to = static_cast<T*>(operands[1]);
    ForEachPart(nest, [&](const std::array<int64_t, 2>& at, int64_t length) {
      CopyRow(from + at[0], nest.RowStride(0), to + at[1], nest.RowStride(1), length);
    });
  };
}

template <typename Index>
void GatherRows(void* const* operands, int64_t outer, int64_t axis_size, int64_t row_bytes,
                int64_t count, bool from_end) {
  const char* x = static_cast<const char*>(operands[0]);
  const Index* indices = static_cast<const Index*>(operands[1]);
  char* y = static_cast<char*>(operands[2]);
  const int64_t least = from_end ? -axis_size : 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t index = indices[i];
    if (index < least || index >= axis_size) {
      Fail("gather: index ", index, " is out of range for an axis of ", axis_size,
           "; legal: ", least, " to ", axis_size - 1);
    }
  }
  ParallelFor(outer * count, row_bytes / 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t index = indices[i % count];
      if (index < 0) index += axis_size;
      std::memcpy(y + i * row_bytes, x + (i / count * axis_size + index) * row_bytes, row_bytes);
    }
  });
}

}  // namespace

Kernel StridedCopy(const Desc& from, const Desc& to, int64_t element_size) {
  return StridedCopy(from.get_dims(), from.get_strides(), to.get_strides(), element_size);
}

Kernel StridedCopy(Dims shape, Dims from_strides, Dims to_strides, int64_t element_size) {
  SortByStride(&shape, &from_strides, &to_strides);
  LoopNest<2> nest = Collapse<2>(shape, {from_strides, to_strides});
  switch (element_size) {
    case 1:
      return CopyOf<uint8_t>(nest);
    case 2:
      return CopyOf<uint16_t>(nest);
    case 4:
      return CopyOf<uint32_t>(nest);
    case 8:
      return CopyOf<uint64_t>(nest);
    default:
      Fail("elements of ", element_size, " bytes");
  }
}

Kernel ConcatRows(std::vector<int64_t> bytes, int64_t rows) {
  int64_t total = std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
  return [bytes = std::move(bytes), rows, total](void* const* operands) {
    char* y = static_cast<char*>(operands[bytes.size()]);
    ParallelFor(rows, total / 4, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        char* to = y + r * total;
        for (size_t i = 0; i < bytes.size(); ++i) {
          std::memcpy(to, static_cast<const char*>(operands[i]) + r * bytes[i], bytes[i]);
          to += bytes[i];
        }
      }
    });
  };
}

Kernel Gather(int64_t outer, int64_t axis_size, int64_t inner, int64_t index_count,
              bool index_is_int64, bool from_end, int64_t element_size) {
  int64_t row_bytes = inner * element_size;
  return [=](void* const* operands) {
    if (index_is_int64) {
      GatherRows<int64_t>(operands, outer, axis_size, row_bytes, index_count, from_end);
    } else {
      GatherRows<int32_t>(operands, outer, axis_size, row_bytes, index_count, from_end);
    }
  };
}

}  // namespace byoc::onednn

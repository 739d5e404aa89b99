/// \file loops.h
/// \brief Loop nests over several strided operands, reduced to as few loops as the strides allow.
///
///   shape [2, 3, 4, 5]   x strides [60, 20, 5, 1]   →   one row of 120
///                        y strides [ 0, 20, 5, 1]   →   2 rows of 60, y advancing by 0
#ifndef BYOC_DNNL_KERNELS_LOOPS_H_
#define BYOC_DNNL_KERNELS_LOOPS_H_

#include <array>
#include <vector>

#include "../dims.h"
#include "parallel.h"

namespace byoc::onednn {

/// Nested loops over N operands; the last loop is a row.
template <size_t N>
struct LoopNest {
  Dims extents;                 ///< how often each loop runs, outermost first
  std::array<Dims, N> strides;  ///< per operand and loop, in elements; 0 repeats

  /// How many rows there are: the product of all loops but the last.
  int64_t Rows() const {
    int64_t rows = 1;
    for (size_t d = 0; d + 1 < extents.size(); ++d) rows *= extents[d];
    return rows;
  }

  /// Elements of a row, and the distance between two of them in an operand.
  int64_t RowLength() const { return extents.back(); }
  int64_t RowStride(size_t operand) const { return strides[operand].back(); }
};

/// The loops over a shape, as few as the strides allow: those of one step are dropped, and those
/// that every operand walks as one are joined.
template <size_t N>
LoopNest<N> Collapse(const Dims& shape, const std::array<Dims, N>& strides) {
  LoopNest<N> nest;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    bool joins = !nest.extents.empty();
    for (size_t i = 0; joins && i < N; ++i) {
      joins = nest.strides[i].back() == strides[i][d] * shape[d];
    }
    if (joins) {
      nest.extents.back() *= shape[d];
      for (size_t i = 0; i < N; ++i) nest.strides[i].back() = strides[i][d];
    } else {
      nest.extents.push_back(shape[d]);
      for (size_t i = 0; i < N; ++i) nest.strides[i].push_back(strides[i][d]);
    }
  }
  if (nest.extents.empty()) {
    nest.extents.push_back(1);
    for (size_t i = 0; i < N; ++i) nest.strides[i].push_back(0);
  }
  return nest;
}

/// Call `row(offsets)` for every row, in parallel; `offsets`: per operand, in elements, to the
/// row's first.
template <size_t N, typename Row>
void ForEachRow(const LoopNest<N>& nest, const Row& row) {
  const size_t outer = nest.extents.empty() ? 0 : nest.extents.size() - 1;
  ParallelFor(nest.Rows(), nest.RowLength(), [&](int64_t begin, int64_t end) {
    std::array<int64_t, 16> index{};
    std::array<int64_t, N> offsets{};
    int64_t rest = begin;
    for (size_t d = outer; d-- > 0;) {
      index[d] = rest % nest.extents[d];
      rest /= nest.extents[d];
      for (size_t i = 0; i < N; ++i) offsets[i] += index[d] * nest.strides[i][d];
    }
    for (int64_t r = begin; r < end; ++r) {
      row(offsets);
      for (size_t d = outer; d-- > 0;) {  // to the next row
        for (size_t i = 0; i < N; ++i) offsets[i] += nest.strides[i][d];
        if (++index[d] < nest.extents[d]) break;
        index[d] = 0;
        for (size_t i = 0; i < N; ++i) offsets[i] -= nest.extents[d] * nest.strides[i][d];
      }
    }
  });
}

/// Like ForEachRow, but a nest of few long rows is split along the rows:
/// `part(offsets, length)`.
template <size_t N, typename Part>
void ForEachPart(const LoopNest<N>& nest, const Part& part) {
  constexpr int64_t kLongRow = 4 * kSerialWork;
  int64_t length = nest.RowLength();
  if (nest.Rows() >= 4 || length < kLongRow) {
    ForEachRow(nest, [&](const std::array<int64_t, N>& offsets) { part(offsets, length); });
    return;
  }
  constexpr int64_t kPart = kSerialWork;
  LoopNest<N> split = nest;
  int64_t parts = (length + kPart - 1) / kPart;
  split.extents.back() = parts;
  split.extents.push_back(kPart);
  for (size_t i = 0; i < N; ++i) {
    int64_t stride = nest.RowStride(i);
    split.strides[i].back() = stride * kPart;
    split.strides[i].push_back(stride);
  }
  // The last part of a row is shorter; which part it is follows from the first operand with a
  // stride, so carry the part's number in a stride of its own.
  LoopNest<N + 1> numbered;
  numbered.extents = split.extents;
  for (size_t i = 0; i < N; ++i) numbered.strides[i] = split.strides[i];
  numbered.strides[N].assign(split.extents.size(), 0);
  numbered.strides[N][split.extents.size() - 2] = 1;
  ForEachRow(numbered, [&](const std::array<int64_t, N + 1>& offsets) {
    std::array<int64_t, N> mine;
    std::copy(offsets.begin(), offsets.begin() + N, mine.begin());
    part(mine, std::min(kPart, length - offsets[N] * kPart));
  });
}

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_KERNELS_LOOPS_H_

/// \file
/// What the host sorts: whole, the first k, or the order alone. Compiled kernels call these by
/// name.
///
/// One order for every dtype and everywhere: NaN is the greatest number, -0 equals 0, and of equal
/// numbers the one that stands first comes first, ascending and descending.
#ifndef BYOC_RUNTIME_SORT_H_
#define BYOC_RUNTIME_SORT_H_

#include <dlpack/dlpack.h>

#include <cstdint>

namespace byoc {
namespace kernels {

/// What a sort does with each line of a tensor along an axis.
struct SortJob {
  const DLTensor* input;
  int axis;                 ///< Along which lines run; negative counts from the last.
  bool ascending;           ///< The least first; else the greatest.
  int64_t count;            ///< How many of each line are wanted, in order; the length of `values`.
  const DLTensor* valid;    ///< int32: how many of each line are sorted, the rest stay; or null.
  const DLTensor* values;   ///< Receives numbers, of the input's dtype; or null.
  const DLTensor* indices;  ///< Receives places in the line; whole numbers or floats; or null.
};

/// Sorts every line. Lines are shared among threads.
///
/// Throws ValueError for a dtype or shape that it does not sort.
void Sort(const SortJob& job);

}  // namespace kernels
}  // namespace byoc

#endif  // BYOC_RUNTIME_SORT_H_

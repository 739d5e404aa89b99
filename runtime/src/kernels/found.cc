#include "kernels/found.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/tensors.h"
#include "kernels/keys.h"
#include "kernels/sort.h"

namespace byoc {
namespace kernels {
namespace {

namespace ffi = tvm::ffi;

constexpr DLDataType kInt64{kDLInt, 64, 1};

template <typename T>
const T* Data(const DLTensor& t) {
  return reinterpret_cast<const T*>(static_cast<const char*>(t.data) + t.byte_offset);
}

int64_t Size(const DLTensor& t) {
  return std::accumulate(t.shape, t.shape + t.ndim, int64_t{1}, std::multiplies<int64_t>());
}

ffi::Tensor Int64(std::vector<int64_t> shape) {
  return NewTensor(ffi::ShapeView(shape.data(), shape.size()), kInt64);
}

int64_t* Numbers(const ffi::Tensor& t) { return static_cast<int64_t*>(t.data_ptr()); }

/// The parts of a tensor, slices along an axis or single numbers, in the order of their keys.
template <typename Keys>
class Parts {
 public:
  Parts(const DLTensor& x, std::optional<int> axis) : data_(Data<typename Keys::Stored>(x)) {
    if (axis) {
      count_ = x.shape[*axis];
      for (int a = 0; a < *axis; ++a) before_ *= x.shape[a];
      for (int a = *axis + 1; a < x.ndim; ++a) after_ *= x.shape[a];
    } else {
      count_ = Size(x);
    }
  }

  int64_t count() const { return count_; }

  /// Less than 0: part i comes before part j; 0: they are equal.
  int Compare(int64_t i, int64_t j) const {
    for (int64_t b = 0; b < before_; ++b) {
      const auto* row = data_ + b * count_ * after_;
      for (int64_t a = 0; a < after_; ++a) {
        const auto x = Keys::Of(row[i * after_ + a]), y = Keys::Of(row[j * after_ + a]);
        if (x != y) return x < y ? -1 : 1;
      }
    }
    return 0;
  }

  /// Writes chosen parts, densely.
  void Copy(const std::vector<int64_t>& chosen, void* out) const {
    auto* to = static_cast<typename Keys::Stored*>(out);
    for (int64_t b = 0; b < before_; ++b) {
      const auto* row = data_ + b * count_ * after_;
      for (const int64_t i : chosen) to = std::copy_n(row + i * after_, after_, to);
    }
  }

  /// Places of the parts in ascending order; equal ones in the order in which they stand.
  std::vector<int64_t> Order(const DLTensor& x) const {
    std::vector<int64_t> order(count_);
    if (before_ * after_ == 1 && count_ > 0) {
      DLTensor line = x, places = x;
      int64_t length = count_;
      line.ndim = places.ndim = 1;
      line.shape = places.shape = &length;
      places.dtype = kInt64;
      places.data = order.data();
      places.byte_offset = 0;
      Sort({&line, 0, /*ascending=*/true, count_, nullptr, nullptr, &places});
      return order;
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [this](int64_t i, int64_t j) { return Compare(i, j) < 0; });
    return order;
  }

 private:
  const typename Keys::Stored* const data_;
  int64_t before_ = 1, count_ = 0, after_ = 1;
};

template <typename Keys>
Distinct UniqueAs(const DLTensor& x, std::optional<int> axis, bool sorted) {
  const Parts<Keys> parts(x, axis);
  const std::vector<int64_t> order = parts.Order(x);
  std::vector<int64_t> first, counts, group(order.size());
  for (size_t k = 0; k < order.size(); ++k) {
    if (k == 0 || parts.Compare(order[k - 1], order[k]) != 0) {
      first.push_back(order[k]);
      counts.push_back(0);
    }
    ++counts.back();
    group[order[k]] = static_cast<int64_t>(first.size()) - 1;
  }
  const int64_t found = static_cast<int64_t>(first.size());
  std::vector<int64_t> by(found), place(found);  // place in the result → group, and back
  std::iota(by.begin(), by.end(), 0);
  if (!sorted) {
    std::sort(by.begin(), by.end(), [&](int64_t i, int64_t j) { return first[i] < first[j]; });
  }
  for (int64_t k = 0; k < found; ++k) place[by[k]] = k;

  std::vector<int64_t> shape{found};
  if (axis) {
    shape.assign(x.shape, x.shape + x.ndim);
    shape[*axis] = found;
  }
  Distinct result{NewTensor(ffi::ShapeView(shape.data(), shape.size()), x.dtype), Int64({found}),
                  Int64({parts.count()}), Int64({found})};
  for (int64_t k = 0; k < found; ++k) {
    Numbers(result.first)[k] = first[by[k]];
    Numbers(result.counts)[k] = counts[by[k]];
  }
  for (int64_t i = 0; i < parts.count(); ++i) Numbers(result.inverse)[i] = place[group[i]];
  parts.Copy(std::vector<int64_t>(Numbers(result.first), Numbers(result.first) + found),
             result.values.data_ptr());
  return result;
}

template <typename Keys>
ffi::Tensor NonZeroAs(const DLTensor& x) {
  const auto* data = Data<typename Keys::Stored>(x);
  const auto zero = Keys::Of(0);
  const int64_t size = Size(x);
  int64_t found = 0;
  for (int64_t i = 0; i < size; ++i) found += Keys::Of(data[i]) != zero;
  const int rank = std::max(1, x.ndim);
  ffi::Tensor result = Int64({rank, found});
  std::vector<int64_t> at(rank, 0);
  int64_t* out = Numbers(result);
  for (int64_t i = 0; i < size; ++i) {
    if (Keys::Of(data[i]) != zero) {
      for (int a = 0; a < rank; ++a) out[a * found] = at[a];
      ++out;
    }
    for (int a = rank - 1; a >= 0 && ++at[a] == (x.ndim == 0 ? 1 : x.shape[a]); --a) at[a] = 0;
  }
  return result;
}

}  // namespace

tvm::ffi::Tensor NonZero(const DLTensor& x) {
  ffi::Tensor result;
  VisitKeys("look for zeros in", x.dtype,
            [&](auto keys) { result = NonZeroAs<decltype(keys)>(x); });
  return result;
}

Distinct Unique(const DLTensor& x, std::optional<int> axis, bool sorted) {
  Distinct result;
  VisitKeys("compare", x.dtype,
            [&](auto keys) { result = UniqueAs<decltype(keys)>(x, axis, sorted); });
  return result;
}

}  // namespace kernels
}  // namespace byoc

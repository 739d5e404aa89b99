/*
 * A number becomes an unsigned key in the same order, and a key is joined with its place in the
 * line:
 *
 *     float32  3.5 ──▶ key c0600000 ──▶ item c0600000'00000007      descending: the key's
 * complement
 *
 * No two items are equal, so any way to sort them is stable. Long lines are sorted digit by digit
 * (radix), short ones by comparing. For the first k of a long line only what is below the k-th
 * least so far is kept: one pass over the line and little else.
 */
#include "kernels/sort.h"

#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <utility>

#include "core/thread_pool.h"
#include "kernels/keys.h"

namespace byoc {
namespace kernels {
namespace {

constexpr size_t kRadixFrom = 384;          // items; measured: below, comparing is faster
constexpr int64_t kBlock = 64;              // numbers looked at together
constexpr int64_t kParallelFrom = 1 << 13;  // numbers; below, waking threads costs more

/// A key of up to 32 bits and a place, in one number.
struct NarrowItem {
  uint64_t bits;
  NarrowItem() = default;
  NarrowItem(uint64_t key, uint64_t place) : bits(key << 32 | place) {}
  uint64_t Key() const { return bits >> 32; }
  uint64_t Place() const { return bits & 0xffffffff; }
  bool operator<(const NarrowItem& other) const { return bits < other.bits; }
};

/// A key of 64 bits and a place.
struct WideItem {
  uint64_t key, place;
  WideItem() = default;
  WideItem(uint64_t key, uint64_t place) : key(key), place(place) {}
  uint64_t Key() const { return key; }
  uint64_t Place() const { return place; }
  bool operator<(const WideItem& other) const {
    return key != other.key ? key < other.key : place < other.place;
  }
};

/// Sorts items that stand in the order of their places; `spare` is as long.
template <typename Item>
void RadixSort(Item* items, Item* spare, size_t count, int digits) {
  std::array<std::array<uint32_t, 256>, 8> counts{};
  for (size_t i = 0; i < count; ++i) {
    const uint64_t key = items[i].Key();
    for (int d = 0; d < digits; ++d) ++counts[d][key >> (8 * d) & 255];
  }
  Item* from = items;
  Item* to = spare;
  for (int d = 0; d < digits; ++d) {
    auto& starts = counts[d];
    if (starts[from[0].Key() >> (8 * d) & 255] == count) continue;  // all have this digit
    uint32_t start = 0;
    for (uint32_t& n : starts) start += std::exchange(n, start);
    for (size_t i = 0; i < count; ++i) to[starts[from[i].Key() >> (8 * d) & 255]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy(from, from + count, items);
}

/// The lines of one job, for numbers of one kind.
template <typename Numbers>
class Lines {
 public:
  using Stored = typename Numbers::Stored;
  using Item = std::conditional_t<sizeof(Stored) <= 4, NarrowItem, WideItem>;

  explicit Lines(const SortJob& job) : job_(job) {
    const DLTensor& x = *job.input;
    length_ = x.shape[job.axis];
    for (int a = job.axis + 1; a < x.ndim; ++a) step_ *= x.shape[a];
    for (int a = 0; a < job.axis; ++a) lines_ *= x.shape[a];
    lines_ *= step_;
    flip_ = job.ascending ? Stored{0} : std::numeric_limits<Stored>::max();
    if (sizeof(Stored) <= 4 && length_ > std::numeric_limits<uint32_t>::max()) {
      TVM_FFI_THROW(ValueError) << "a line to be sorted has " << length_
                                << " numbers, expected at most 2^32 - 1";
    }
  }

  void SortAll() {
    if (lines_ == 0 || (job_.count == 0 && job_.valid == nullptr)) return;
    const bool alone = lines_ == 1 || lines_ * length_ < kParallelFrom;
    const auto body = [](int task, thread_pool::GroupEnv* env, void* self) -> int {
      TVM_FFI_SAFE_CALL_BEGIN();
      static_cast<Lines*>(self)->SortSome(task, env->num_task);
      TVM_FFI_SAFE_CALL_END();
    };
    if (alone) {
      SortSome(0, 1);
    } else if (thread_pool::ParallelLaunch(body, this, 0) != 0) {
      throw tvm::ffi::details::MoveFromSafeCallRaised();
    }
  }

 private:
  void SortSome(int task, int tasks) {
    const std::unique_ptr<Item[]> items(new Item[length_]), spare(new Item[length_]);
    for (int64_t k = lines_ * task / tasks; k < lines_ * (task + 1) / tasks; ++k) {
      SortLine(k, items.get(), spare.get());
    }
  }

  void SortLine(int64_t line, Item* items, Item* spare) const {
    const int64_t before = line / step_, after = line % step_;
    const Stored* in = Data<Stored>(*job_.input) + before * length_ * step_ + after;
    int64_t length = length_, count = job_.count;
    if (job_.valid != nullptr) {
      length = std::clamp<int64_t>(Data<int32_t>(*job_.valid)[line], 0, length_);
      count = std::min(count, length);
    }
    if (count > 0 && count <= length / 8) {
      Least(in, length, count, items);
    } else {
      for (int64_t i = 0; i < length; ++i) items[i] = ItemOf(in, i);
      if (count <= length / 2) std::nth_element(items, items + count, items + length);
      if (count <= length / 2 || static_cast<size_t>(length) < kRadixFrom) {
        std::sort(items, items + (count <= length / 2 ? count : length));
      } else {
        RadixSort(items, spare, length, sizeof(Stored));
      }
    }
    const int64_t start = before * job_.count * step_ + after;
    if (job_.values != nullptr) {
      Stored* out = Data<Stored>(*job_.values) + start;
      for (int64_t i = 0; i < count; ++i) out[i * step_] = in[items[i].Place() * step_];
    }
    if (job_.indices != nullptr) WritePlaces(items, count, start);
  }

  Item ItemOf(const Stored* in, int64_t i) const {
    return Item(static_cast<Stored>(Numbers::Of(in[i * step_]) ^ flip_), i);
  }

  /// Whether any of the next `kBlock` numbers of a dense line has a key below `limit`.
  bool AnyBelow(const Stored* in, Stored limit) const {
    Stored found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < kBlock; ++i) {
      found |= static_cast<Stored>(Numbers::Of(in[i]) ^ flip_) < limit;
    }
    return found != 0;
  }

  /// Puts the `count` least items of a line first, in order. Items between are garbage.
  void Least(const Stored* in, int64_t length, int64_t count, Item* items) const {
    const int64_t room = 2 * count + 32;  // at most the line: count is small
    int64_t held = 0;
    bool limited = false;
    Stored limit = 0;
    const auto shrink = [&] {
      std::nth_element(items, items + count - 1, items + held);
      held = count;
      limited = true;
      limit = static_cast<Stored>(items[count - 1].Key());
    };
    for (int64_t i = 0, seen = 0; i < length; ++i) {
      if (limited && step_ == 1 && i >= seen) {  // the numbers before `seen` must be looked at
        while (i + kBlock <= length && !AnyBelow(in + i, limit)) i += kBlock;
        if (i == length) break;
        seen = i + kBlock;
      }
      const Item item = ItemOf(in, i);
      if (limited && item.Key() >= limit) continue;  // a later equal comes after
      items[held++] = item;
      if (held == std::min(room, length_)) shrink();
    }
    if (held > count) shrink();
    std::sort(items, items + count);
  }

  template <typename T>
  void WritePlacesAs(const Item* items, int64_t count, int64_t start) const {
    T* out = Data<T>(*job_.indices) + start;
    for (int64_t i = 0; i < count; ++i) out[i * step_] = static_cast<T>(items[i].Place());
    for (int64_t i = count; i < job_.count; ++i) out[i * step_] = static_cast<T>(i);
  }

  void WritePlaces(const Item* items, int64_t count, int64_t start) const {
    const DLDataType t = job_.indices->dtype;
    if (t.code == kDLFloat) {
      t.bits == 32 ? WritePlacesAs<float>(items, count, start)
                   : WritePlacesAs<double>(items, count, start);
    } else if (t.bits == 8) {
      WritePlacesAs<uint8_t>(items, count, start);
    } else if (t.bits == 16) {
      WritePlacesAs<uint16_t>(items, count, start);
    } else if (t.bits == 32) {
      WritePlacesAs<uint32_t>(items, count, start);
    } else {
      WritePlacesAs<uint64_t>(items, count, start);
    }
  }

  template <typename T>
  static T* Data(const DLTensor& t) {
    return reinterpret_cast<T*>(static_cast<char*>(t.data) + t.byte_offset);
  }

  const SortJob job_;
  int64_t length_, step_ = 1, lines_ = 1;
  Stored flip_;  // turns a key into that of the order that is wanted
};

void CheckShapes(const SortJob& job) {
  for (const DLTensor* out : {job.values, job.indices}) {
    if (out == nullptr) continue;
    bool fits = out->ndim == job.input->ndim;
    for (int a = 0; fits && a < out->ndim; ++a) {
      fits = out->shape[a] == (a == job.axis ? job.count : job.input->shape[a]);
    }
    if (!fits || job.count > job.input->shape[job.axis]) {
      TVM_FFI_THROW(ValueError) << "cannot sort " << job.count << " numbers along axis " << job.axis
                                << " of " << job.input->shape[job.axis]
                                << " into a tensor of another shape: the model was compiled for "
                                   "other shapes than it is given";
    }
  }
}

}  // namespace

void Sort(const SortJob& wanted) {
  SortJob job = wanted;
  if (job.axis < 0) job.axis += job.input->ndim;
  CheckShapes(job);
  VisitKeys("sort", job.input->dtype,
            [&job](auto numbers) { Lines<decltype(numbers)>(job).SortAll(); });
}

}  // namespace kernels
}  // namespace byoc

/*
 * Poison is noise that depends on the place, so that what is left of it can be told from numbers:
 * eight bytes in a row are never equal by chance. Fewer may be, so whoever finds some calls again
 * with another noise; what holds both times was never written.
 */
#include "plan/segment_check.h"

#include <tvm/ffi/error.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/cancellation.h"
#include "core/tensors.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr uint64_t kFirst = 0x243f6a8885a308d3, kSecond = 0x13198a2e03707344;  // two poisons
constexpr uint64_t kCanary = 0xa4093822299f31d0;
constexpr size_t kMargin = 4 * kAlignment;  // bytes of canary before and behind a tensor
constexpr size_t kWord = sizeof(uint64_t);

/// Eight bytes of noise (splitmix64).
uint64_t Noise(uint64_t seed, size_t word) {
  uint64_t z = seed + (word + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void Fill(char* data, size_t size, uint64_t seed) {
  for (size_t at = 0; at < size; at += kWord) {
    const uint64_t noise = Noise(seed, at / kWord);
    std::memcpy(data + at, &noise, std::min(kWord, size - at));
  }
}

/// Calls `found(at, bytes)` for every piece of `grain` bytes that still holds the noise.
template <typename F>
void ForNoise(const char* data, size_t size, uint64_t seed, size_t grain, F found) {
  for (size_t at = 0; at < size; at += kWord) {
    const uint64_t noise = Noise(seed, at / kWord);
    const auto* bytes = reinterpret_cast<const char*>(&noise);
    for (size_t in = 0; in < kWord && at + in < size; in += grain) {
      const size_t length = std::min(grain, size - at - in);
      if (std::memcmp(data + at + in, bytes + in, length) == 0) found(at + in, length);
    }
  }
}

size_t FirstChanged(const char* data, size_t size, uint64_t seed) {
  for (size_t at = 0; at < size; at += kWord) {
    const uint64_t noise = Noise(seed, at / kWord);
    const auto* bytes = reinterpret_cast<const char*>(&noise);
    for (size_t in = 0; in < kWord && at + in < size; ++in) {
      if (data[at + in] != bytes[in]) return at + in;
    }
  }
  return size;
}

size_t ItemSize(const DLTensor& t) {
  return std::max<size_t>(1, static_cast<size_t>(t.dtype.bits) * t.dtype.lanes / 8);
}

char* DataOf(const DLTensor& t) { return static_cast<char*>(t.data) + t.byte_offset; }

std::string TypeOf(const DLTensor& t) {
  std::string text(ffi::DLDataTypeToString(t.dtype));
  for (int i = 0; i < t.ndim; ++i) text += (i == 0 ? "[" : ", ") + std::to_string(t.shape[i]);
  return text + (t.ndim == 0 ? "[]" : "]");
}

[[noreturn]] void Blame(const std::string& what) {
  throw ffi::Error("byoc.VendorError", "vendor author: execute " + what, "");
}

/// Where the noise of a first call was left; a second one tells which of it is no coincidence.
struct Left {
  size_t at, bytes;
};

std::vector<Left> LeftOver(const char* data, size_t size, uint64_t seed, size_t grain) {
  std::vector<Left> left;
  ForNoise(data, size, seed, grain, [&](size_t at, size_t n) { left.push_back({at, n}); });
  return left;
}

/// Throws when some of `left` holds the noise of the second call as well.
void CheckWritten(const DLTensor& output, size_t number, const char* data, size_t size,
                  const std::vector<Left>& left) {
  size_t bytes = 0, first = size;
  for (const Left& piece : left) {
    std::vector<char> noise(piece.bytes);
    const uint64_t word = Noise(kSecond, piece.at / kWord);
    std::memcpy(noise.data(), reinterpret_cast<const char*>(&word) + piece.at % kWord, piece.bytes);
    if (std::memcmp(data + piece.at, noise.data(), piece.bytes) != 0) continue;
    first = std::min(first, piece.at);
    bytes += piece.bytes;
  }
  if (bytes == 0) return;
  const std::string which = "outputs[" + std::to_string(number) + "]";
  const size_t item = ItemSize(output);
  Blame("left " + std::to_string((bytes + item - 1) / item) + " of the " +
        std::to_string(size / item) + " elements of " + which + " (" + TypeOf(output) +
        ") as they were, the first at flat index " + std::to_string(first / item) +
        "; outputs are not cleared before a call: write every element in place (in Python " +
        which + "[...] = result), add to none");
}

size_t GrainOf(const DLTensor& t) {
  return ItemSize(t) >= 4 ? std::min(ItemSize(t), kWord) : kWord;
}

/// The first call of a segment: its outputs are poisoned where they are.
void WatchFirst(const ffi::Function& execute, ffi::PackedArgs args, size_t outputs) {
  const size_t inputs = static_cast<size_t>(args.size()) - outputs;
  std::vector<const DLTensor*> written;
  for (size_t i = 0; i < outputs; ++i) {
    written.push_back(args[static_cast<int>(inputs + i)].cast<DLTensor*>());
  }
  const auto call = [&](uint64_t seed) {
    for (const DLTensor* t : written) Fill(DataOf(*t), ffi::GetDataSize(*t), seed);
    ffi::Any result;
    execute.CallPacked(args, &result);
  };
  call(kFirst);
  std::vector<std::vector<Left>> left;
  bool suspicious = false;
  for (const DLTensor* t : written) {
    const size_t size = ffi::GetDataSize(*t);
    // Of a byte or two it could be chance, and another call is not for nothing.
    const bool tiny = size < 4;
    left.push_back(tiny ? std::vector<Left>() : LeftOver(DataOf(*t), size, kFirst, GrainOf(*t)));
    suspicious = suspicious || !left.back().empty();
  }
  if (!suspicious) return;
  call(kSecond);
  for (size_t i = 0; i < outputs; ++i) {
    CheckWritten(*written[i], i, DataOf(*written[i]), ffi::GetDataSize(*written[i]), left[i]);
  }
}

/// A tensor's copy for a call that is checked: aligned to its element only, between canaries.
class Fenced {
 public:
  explicit Fenced(const DLTensor& like)
      : like_(like),
        size_(ffi::GetDataSize(like)),
        shape_(like.shape, like.shape + like.ndim),
        memory_(2 * kMargin + size_ + 2 * kAlignment) {
    // An odd multiple of the element: 4 bytes beyond a multiple of 64 for float32.
    begin_ = memory_.data() + kMargin + ItemSize(like) % kAlignment;
    tensor_ = like;
    tensor_.data = begin_;
    tensor_.byte_offset = 0;
    tensor_.strides = nullptr;
    tensor_.shape = shape_.data();
    Fill(memory_.data(), Before(), kCanary);
    Fill(Behind(), kMargin, kCanary);
  }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;

  DLTensor* tensor() { return &tensor_; }
  char* data() const { return begin_; }
  size_t size() const { return size_; }
  const DLTensor& like() const { return like_; }

  /// Throws when the call wrote outside of the tensor, or changed what describes it.
  void Check(const std::string& which) const {
    const size_t before = FirstChanged(memory_.data(), Before(), kCanary);
    const size_t behind = FirstChanged(Behind(), kMargin, kCanary);
    if (before != Before()) {
      Blame("wrote " + std::to_string(Before() - before) + " bytes before the first of " + which +
            " (" + TypeOf(like_) + ")");
    }
    if (behind != kMargin) {
      Blame("wrote beyond the end of " + which + " (" + TypeOf(like_) + "), " +
            std::to_string(behind) + " bytes behind its last");
    }
    const bool same = tensor_.data == begin_ && tensor_.ndim == like_.ndim &&
                      tensor_.shape == shape_.data() &&
                      std::equal(shape_.begin(), shape_.end(), like_.shape);
    if (!same) Blame("changed the shape or the address of " + which + " (" + TypeOf(like_) + ")");
  }

 private:
  size_t Before() const { return static_cast<size_t>(begin_ - memory_.data()); }
  char* Behind() const { return begin_ + size_; }

  const DLTensor& like_;
  const size_t size_;
  std::vector<int64_t> shape_;
  Buffer memory_;
  char* begin_;
  DLTensor tensor_;
};

/// One call of a segment in check mode.
class CheckedCall {
 public:
  CheckedCall(const ffi::Function& execute, ffi::PackedArgs args, size_t outputs)
      : execute_(execute), inputs_(static_cast<size_t>(args.size()) - outputs) {
    for (int i = 0; i < args.size(); ++i) {
      fenced_.push_back(std::make_unique<Fenced>(*args[i].cast<DLTensor*>()));
      views_.emplace_back(fenced_.back()->tensor());
    }
    for (size_t i = 0; i < inputs_; ++i) {
      const Fenced& input = *fenced_[i];
      if (input.size() != 0) std::memcpy(input.data(), DataOf(input.like()), input.size());
    }
  }

  /// Runs it, proves what can be proved, and hands the results to the caller.
  void Run() {
    const Twice results = CallTwice();
    if (results.first != results.second) CheckComputed(results);
    for (size_t i = inputs_; i < fenced_.size(); ++i) {
      const std::string& bytes = results.first[i - inputs_];
      if (!bytes.empty()) std::memcpy(DataOf(fenced_[i]->like()), bytes.data(), bytes.size());
    }
    // Who has kept a pointer reads noise from now on.
    for (const auto& tensor : fenced_) Fill(tensor->data(), tensor->size(), kCanary);
  }

 private:
  /// Bytes of the outputs after a call on the first poison, and after one on the second.
  struct Twice {
    std::vector<std::string> first, second;
  };

  std::string Name(size_t i) const {
    return i < inputs_ ? "inputs[" + std::to_string(i) + "]"
                       : "outputs[" + std::to_string(i - inputs_) + "]";
  }

  void Call(uint64_t poison) {
    for (size_t i = inputs_; i < fenced_.size(); ++i) {
      Fill(fenced_[i]->data(), fenced_[i]->size(), poison);
    }
    ffi::Any result;
    execute_.CallPacked(views_.data(), static_cast<int32_t>(views_.size()), &result);
    for (size_t i = 0; i < fenced_.size(); ++i) fenced_[i]->Check(Name(i));
    for (size_t i = 0; i < inputs_; ++i) {
      const Fenced& input = *fenced_[i];
      if (input.size() == 0 || std::memcmp(input.data(), DataOf(input.like()), input.size()) == 0) {
        continue;
      }
      Blame("changed " + Name(i) + " (" + TypeOf(input.like()) +
            "), which others read, too; inputs are only read: work on a copy");
    }
  }

  std::vector<std::string> Results() const {
    std::vector<std::string> results;
    for (size_t i = inputs_; i < fenced_.size(); ++i) {
      results.emplace_back(fenced_[i]->data(), fenced_[i]->size());
    }
    return results;
  }

  /// Calls it on each poison; throws where some of both is left.
  Twice CallTwice() {
    Twice results;
    std::vector<std::vector<Left>> left;
    Call(kFirst);
    for (size_t i = inputs_; i < fenced_.size(); ++i) {
      const Fenced& out = *fenced_[i];
      const size_t grain = std::min(ItemSize(out.like()), kWord);
      left.push_back(LeftOver(out.data(), out.size(), kFirst, grain));
    }
    results.first = Results();
    Call(kSecond);
    for (size_t i = inputs_; i < fenced_.size(); ++i) {
      const Fenced& out = *fenced_[i];
      CheckWritten(out.like(), i - inputs_, out.data(), out.size(), left[i - inputs_]);
    }
    results.second = Results();
    return results;
  }

  /// Two calls differ: by chance (then further ones differ as well), or by what outputs held.
  void CheckComputed(const Twice& results) {
    const std::vector<std::string>&first = results.first, &second = results.second;
    constexpr int kMore = 4;
    for (int i = 0; i < kMore; ++i) {
      const Twice more = CallTwice();
      if (more.first != first || more.second != second) return;
    }
    size_t number = 0;
    while (first[number] == second[number]) ++number;
    const std::string which = "outputs[" + std::to_string(number) + "]";
    Blame(
        "computes " + which + " (" + TypeOf(fenced_[inputs_ + number]->like()) +
        ") from what it held before the call; outputs are not cleared before a call: write every " +
        "element in place, add to none");
  }

  const ffi::Function& execute_;
  const size_t inputs_;
  std::vector<std::unique_ptr<Fenced>> fenced_;
  std::vector<ffi::AnyView> views_;
};

}  // namespace

bool ChecksWanted() {
  const char* value = std::getenv("BYOC_CHECK");
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

ffi::Function WatchSegment(ffi::Function execute, size_t outputs) {
  if (ChecksWanted()) {
    return ffi::Function::FromPacked(
        [execute = std::move(execute), outputs](ffi::PackedArgs args, ffi::Any* result) {
          if (static_cast<size_t>(args.size()) < outputs) {
            execute.CallPacked(args, result);  // it says what is missing
            return;
          }
          const auto call = std::make_shared<CheckedCall>(execute, args, outputs);
          try {
            call->Run();
          } catch (...) {  // a vendor that goes on regardless writes to the copies
            Cancellation* const cancellation = CallContext::Current().cancellation;
            if (cancellation != nullptr) cancellation->LeaveMemory(call);
            throw;
          }
        });
  }
  auto watched = std::make_shared<std::atomic<bool>>(false);
  return ffi::Function::FromPacked([execute = std::move(execute), outputs, watched](
                                       ffi::PackedArgs args, ffi::Any* result) {
    if (watched->load(std::memory_order_relaxed) || static_cast<size_t>(args.size()) < outputs) {
      execute.CallPacked(args, result);
      return;
    }
    WatchFirst(execute, args, outputs);
    watched->store(true, std::memory_order_relaxed);
  });
}

}  // namespace byoc

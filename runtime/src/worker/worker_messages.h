/// \file
/// What a program and its worker say to each other, as bytes; no sockets, no processes here.
///
///   to the worker    int64 each: number | segment | bytes of shared memory | arguments |
///                    per argument: dtype | offset | rank | dims…
///   from the worker  'R' number              ready (0), or call `number` is done
///                    'E' number kind '\0' message    it failed
///
/// An answer carries the number of its call: what a vendor's library writes to the socket by
/// mistake is not taken for one. Neither end believes the other: what makes no sense is refused,
/// never run.
#ifndef BYOC_RUNTIME_WORKER_MESSAGES_H_
#define BYOC_RUNTIME_WORKER_MESSAGES_H_

#include <tvm/ffi/any.h>
#include <tvm/ffi/function.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace byoc {

/// Bytes that a call, and an answer, may have at most.
inline constexpr size_t kMaxCall = size_t{128} << 10;
inline constexpr size_t kMaxAnswer = size_t{32} << 10;

/// Rounds bytes up to where the next tensor begins in shared memory, a multiple of kAlignment.
size_t RoundUp(size_t size);

/// Writes a call to `words` and returns the bytes that its tensors take in shared memory.
size_t EncodeCall(int64_t number, int64_t segment, tvm::ffi::PackedArgs args,
                  std::vector<int64_t>* words);

/// A call as the worker received it. It reads `words` for as long as it lives.
class WorkerCall {
 public:
  /// Decodes a call. Throws RuntimeError when it makes no sense.
  WorkerCall(const int64_t* words, size_t count);

  /// Number of the segment that is called.
  size_t segment() const { return segment_; }
  /// Bytes of shared memory; all tensors lie within.
  size_t bytes() const { return bytes_; }
  /// Calls `function` on the tensors, which lie at their offsets in `memory`.
  void Run(const tvm::ffi::Function& function, char* memory);
  /// The tensors; their data is an offset still.
  const std::vector<DLTensor>& tensors() const { return tensors_; }

 private:
  int64_t Next();

  const int64_t* words_;
  size_t left_;
  size_t segment_ = 0, bytes_ = 0;
  std::vector<DLTensor> tensors_;
};

/// What the worker answers.
struct WorkerAnswer {
  int64_t number = 0;
  bool failed = false;
  std::string kind, message;  // when it failed
};

/// Returns the answer to a call that succeeded (0: the worker is ready).
std::string EncodeDone(int64_t number);
/// Returns the answer to a call that failed; a message that is too long is cut.
std::string EncodeFailure(int64_t number, std::string_view kind, std::string_view message);
/// Decodes an answer; nothing when it is none; texts are UTF-8 afterwards, whatever came.
std::optional<WorkerAnswer> DecodeAnswer(std::string_view packet);

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKER_MESSAGES_H_

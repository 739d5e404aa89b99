/*!
 * \brief What a program and its worker say to each other, as bytes; no sockets, no processes here.
 *
 *   to the worker    int64 each: number | segment | bytes of shared memory | arguments |
 *                    per argument: dtype | offset | rank | dims…
 *   from the worker  'R' number              ready (0), or call `number` is done
 *                    'E' number kind '\0' message    it failed
 *
 * An answer carries the number of its call: what a vendor's library writes to the socket by mistake
 * is not taken for one. Neither end believes the other: what makes no sense is refused, never run.
 */
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

/*! \brief Bytes that a call, and an answer, may have at most. */
inline constexpr size_t kMaxCall = size_t{128} << 10;
inline constexpr size_t kMaxAnswer = size_t{32} << 10;

/*! \brief Bytes in shared memory: every tensor begins at a multiple of kAlignment. */
size_t RoundUp(size_t size);

/*! \brief Write a call to `words`; the bytes that its tensors take in shared memory. */
size_t EncodeCall(int64_t number, int64_t segment, tvm::ffi::PackedArgs args,
                  std::vector<int64_t>* words);

/*! \brief A call as it came; it holds on to `words`. */
class WorkerCall {
 public:
  /*! \brief Throws RuntimeError when it makes no sense. */
  WorkerCall(const int64_t* words, size_t count);

  size_t segment() const { return segment_; }
  /*! \brief Of shared memory: all tensors lie within. */
  size_t bytes() const { return bytes_; }
  void Run(const tvm::ffi::Function& function, char* memory);
  /*! \brief Tensors whose data is an offset still. */
  const std::vector<DLTensor>& tensors() const { return tensors_; }

 private:
  int64_t Next();

  const int64_t* words_;
  size_t left_;
  size_t segment_ = 0, bytes_ = 0;
  std::vector<DLTensor> tensors_;
};

/*! \brief What the worker answers. */
struct WorkerAnswer {
  int64_t number = 0;
  bool failed = false;
  std::string kind, message;  // when it failed
};

std::string EncodeDone(int64_t number);
/*! \brief A message that is too long is cut. */
std::string EncodeFailure(int64_t number, std::string_view kind, std::string_view message);
/*! \brief Nothing when it is no answer; texts are UTF-8 afterwards, whatever came. */
std::optional<WorkerAnswer> DecodeAnswer(std::string_view packet);

}  // namespace byoc

#endif  // BYOC_RUNTIME_WORKER_MESSAGES_H_

#include "worker/worker_messages.h"

#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/error.h>

#include <algorithm>
#include <cstring>

#include "core/buffer.h"
#include "core/tensors.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr size_t kAnswerHead = 1 + sizeof(int64_t);

[[noreturn]] void Refuse(const char* why) {
  TVM_FFI_THROW(RuntimeError) << "a call to the worker makes no sense: " << why;
}

std::string Head(char what, int64_t number) {
  std::string packet(kAnswerHead, what);
  std::memcpy(&packet[1], &number, sizeof(number));
  return packet;
}

/// Bytes of the UTF-8 character that `text` begins with; 0 when it is none.
size_t CharacterSize(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if (byte(i) >> 6 != 2) return 0;
  }
  const unsigned char second = byte(1);  // not too long a form, no surrogate, not beyond the last
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
      (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return size;
}

std::string Utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    const size_t size = CharacterSize(text);
    if (size == 0) {
      clean += '?';
    } else {
      clean += text.substr(0, size);
    }
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return clean;
}

}  // namespace

size_t RoundUp(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

size_t EncodeCall(int64_t number, int64_t segment, ffi::PackedArgs args,
                  std::vector<int64_t>* words) {
  words->assign({number, segment, 0, args.size()});
  size_t bytes = 0;
  for (int i = 0; i < args.size(); ++i) {
    const DLTensor* t = args[i].cast<DLTensor*>();
    words->push_back(t->dtype.code | t->dtype.bits << 8 | t->dtype.lanes << 16);
    words->push_back(static_cast<int64_t>(bytes));
    words->push_back(t->ndim);
    words->insert(words->end(), t->shape, t->shape + t->ndim);
    bytes += RoundUp(ffi::GetDataSize(*t));
  }
  (*words)[2] = static_cast<int64_t>(bytes);
  return bytes;
}

WorkerCall::WorkerCall(const int64_t* words, size_t count) : words_(words), left_(count) {
  Next();  // its number
  const int64_t segment = Next(), bytes = Next(), args = Next();
  if (segment < 0 || bytes < 0) Refuse("a number is negative");
  segment_ = static_cast<size_t>(segment);
  bytes_ = static_cast<size_t>(bytes);
  if (args < 0 || static_cast<size_t>(args) > left_ / 3) Refuse("it is cut short");
  tensors_.reserve(static_cast<size_t>(args));
  for (int64_t i = 0; i < args; ++i) {
    const int64_t type = Next(), offset = Next(), rank = Next();
    if (type < 0 || type >> 32 != 0) Refuse("a dtype is none");
    if (rank < 0 || static_cast<size_t>(rank) > left_) Refuse("it is cut short");
    DLTensor t{};
    t.dtype = {static_cast<uint8_t>(type), static_cast<uint8_t>(type >> 8),
               static_cast<uint16_t>(type >> 16)};
    t.device = {kDLCPU, 0};
    t.ndim = static_cast<int32_t>(rank);
    t.shape = const_cast<int64_t*>(words_);
    words_ += rank;
    left_ -= static_cast<size_t>(rank);
    if (NumBytes(t.shape, static_cast<size_t>(rank), t.dtype) == UINT64_MAX) {
      Refuse("a shape is none");
    }
    const auto begin = static_cast<size_t>(offset);
    if (offset < 0 || begin % kAlignment != 0 || begin > bytes_ ||
        ffi::GetDataSize(t) > bytes_ - begin) {
      Refuse("a tensor is not in shared memory");
    }
    t.data = reinterpret_cast<void*>(begin);
    tensors_.push_back(t);
  }
  if (left_ != 0) Refuse("it is too long");
}

int64_t WorkerCall::Next() {
  if (left_ == 0) Refuse("it is cut short");
  --left_;
  return *words_++;
}

void WorkerCall::Run(const ffi::Function& function, char* memory) {
  std::vector<ffi::AnyView> args;
  args.reserve(tensors_.size());
  for (DLTensor& t : tensors_) {
    t.data = memory + reinterpret_cast<uintptr_t>(t.data);
    args.emplace_back(&t);
  }
  ffi::Any result;
  function.CallPacked(args.data(), static_cast<int32_t>(args.size()), &result);
}

std::string EncodeDone(int64_t number) { return Head('R', number); }

std::string EncodeFailure(int64_t number, std::string_view kind, std::string_view message) {
  constexpr size_t kMaxKind = 256;
  std::string packet = Head('E', number);
  packet += kind.substr(0, kMaxKind);
  packet += '\0';
  packet += message.substr(0, kMaxAnswer - packet.size());
  return packet;
}

std::optional<WorkerAnswer> DecodeAnswer(std::string_view packet) {
  if (packet.size() < kAnswerHead || packet.size() > kMaxAnswer) return std::nullopt;
  WorkerAnswer answer;
  std::memcpy(&answer.number, packet.data() + 1, sizeof(answer.number));
  const std::string_view text = packet.substr(kAnswerHead);
  if (packet[0] == 'R') return text.empty() ? std::optional<WorkerAnswer>(answer) : std::nullopt;
  const size_t end = text.find('\0');
  if (packet[0] != 'E' || end == std::string_view::npos || end == 0) return std::nullopt;
  answer.failed = true;
  answer.kind = Utf8(text.substr(0, end));
  answer.message = Utf8(text.substr(end + 1));
  return answer;
}

}  // namespace byoc

/*
 * What programs and workers say to each other, forged and cut: in memory, and to a worker's loop.
 */
#include "worker/worker_messages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <tvm/ffi/container/tensor.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/buffer.h"
#include "core/descriptors.h"
#include "worker/worker_serve.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

/*! \brief Call 9 of segment 0 on a float32 [2, 3] and an int4 [3], then a float32 [2, 3]. */
std::vector<int64_t> Words() {
  static float data[6] = {1, 2, 3, 4, 5, 6};
  int64_t matrix[] = {2, 3}, row[] = {3};
  DLTensor x{data, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, matrix, nullptr, 0};
  DLTensor q{data, {kDLCPU, 0}, 1, {kDLInt, 4, 1}, row, nullptr, 0};
  const ffi::AnyView views[] = {&x, &q, &x};
  std::vector<int64_t> words;
  CHECK_EQ(EncodeCall(9, 0, ffi::PackedArgs(views, 3), &words), 3 * kAlignment);
  return words;
}

/*! \brief Whether it is refused; when it is not, all tensors must lie in the shared memory. */
bool Refused(const std::vector<int64_t>& words) {
  try {
    const WorkerCall call(words.data(), words.size());
    for (const DLTensor& t : call.tensors()) {
      const auto begin = reinterpret_cast<uintptr_t>(t.data);
      CHECK(begin <= call.bytes() && ffi::GetDataSize(t) <= call.bytes() - begin);
      CHECK(t.shape >= words.data() && t.shape + t.ndim <= words.data() + words.size());
    }
    return false;
  } catch (const ffi::Error& error) {
    CHECK(std::string(error.what()).find("makes no sense: ") != std::string::npos);
    return true;
  }
}

TEST(CallsAreRead) {
  const std::vector<int64_t> words = Words();
  const WorkerCall call(words.data(), words.size());
  CHECK_EQ(call.segment(), 0u);
  CHECK_EQ(call.bytes(), 3 * kAlignment);
  CHECK_EQ(call.tensors().size(), 3u);
  CHECK_EQ(call.tensors()[1].dtype.bits, 4);
  CHECK_EQ(reinterpret_cast<uintptr_t>(call.tensors()[2].data), 2 * kAlignment);
  CHECK_EQ(call.tensors()[2].shape[1], 3);
}

TEST(ForgedCallsAreRefused) {
  const std::vector<int64_t> good = Words();
  for (size_t size = 0; size < good.size(); ++size) {
    CHECK(Refused({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}));
  }
  std::vector<int64_t> longer = good;
  longer.push_back(0);
  CHECK(Refused(longer));
  // number segment bytes count | dtype offset rank 2 3 | dtype offset rank 3 | …
  const std::pair<size_t, int64_t> forged[] = {
      {1, -1},        {2, -1},        {2, 0},         {2, 3 * 64 - 41}, {3, -1},
      {3, 4},         {3, INT64_MAX}, {3, INT64_MIN}, {4, -1},          {4, int64_t{1} << 40},
      {5, -64},       {5, 1},         {5, 3 * 64},    {5, INT64_MAX},   {6, -1},
      {6, INT64_MAX}, {6, 1},         {6, 3},         {7, -2},          {7, INT64_MAX},
      {8, 1 << 30},   {8, -3},        {7, INT64_MIN}};
  for (const auto& [at, value] : forged) {
    std::vector<int64_t> words = good;
    words[at] = value;
    CHECK(Refused(words));
  }
  std::mt19937_64 random(0);
  size_t refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::vector<int64_t> words = good;
    for (int k = 0; k < 1 + i % 3; ++k) {
      int64_t& word = words[random() % words.size()];
      switch (random() % 3) {
        case 0:
          word ^= int64_t{1} << (random() % 63);
          break;
        case 1:
          word = static_cast<int64_t>(random());
          break;
        default:
          word += static_cast<int64_t>(random() % 9) - 4;
      }
    }
    if (random() % 4 == 0) words.resize(random() % (words.size() + 3));
    refused += Refused(words) ? 1 : 0;
  }
  CHECK(refused > 10'000 && refused < 20'000);
}

/*! \brief Strict UTF-8, after the table of the Unicode standard (3-7). */
bool IsUtf8(const std::string& text) {
  size_t i = 0;
  const auto in = [&](size_t at, int low, int high) {
    const int byte = at < text.size() ? static_cast<unsigned char>(text[at]) : -1;
    return low <= byte && byte <= high;
  };
  while (i < text.size()) {
    const bool tail1 = in(i + 1, 0x80, 0xbf), tail2 = in(i + 2, 0x80, 0xbf);
    if (in(i, 0, 0x7f)) {
      i += 1;
    } else if (in(i, 0xc2, 0xdf) && tail1) {
      i += 2;
    } else if (((in(i, 0xe0, 0xe0) && in(i + 1, 0xa0, 0xbf)) || (in(i, 0xe1, 0xec) && tail1) ||
                (in(i, 0xed, 0xed) && in(i + 1, 0x80, 0x9f)) || (in(i, 0xee, 0xef) && tail1)) &&
               tail2) {
      i += 3;
    } else if (((in(i, 0xf0, 0xf0) && in(i + 1, 0x90, 0xbf)) || (in(i, 0xf1, 0xf3) && tail1) ||
                (in(i, 0xf4, 0xf4) && in(i + 1, 0x80, 0x8f))) &&
               tail2 && in(i + 3, 0x80, 0xbf)) {
      i += 4;
    } else {
      return false;
    }
  }
  return true;
}

TEST(AnswersAreReadAndForgedOnesAreNot) {
  CHECK_EQ(DecodeAnswer(EncodeDone(5))->number, 5);
  CHECK(!DecodeAnswer(EncodeDone(5))->failed);
  const auto failure = DecodeAnswer(EncodeFailure(-3, "ValueError", "naïve … 𝄞"));
  CHECK(failure && failure->failed);
  CHECK_EQ(failure->number, -3);
  CHECK_EQ(failure->kind, std::string("ValueError"));
  CHECK_EQ(failure->message, std::string("naïve … 𝄞"));
  const auto cut =
      DecodeAnswer(EncodeFailure(1, std::string(1000, 'k'), std::string(1 << 20, 'm')));
  CHECK_EQ(cut->kind.size(), 256u);
  CHECK(cut->message.size() > 32'000);
  for (const std::string& packet :
       {std::string(), std::string("R"), std::string("E1234567"), EncodeDone(5).substr(0, 8),
        EncodeDone(5) + '\0', EncodeFailure(1, "", "nobody"), std::string(9, 'E'),
        std::string(9, 'Q'), std::string(kMaxAnswer + 1, 'E')}) {
    CHECK(!DecodeAnswer(packet));
  }
  std::mt19937 random(0);
  size_t read = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string packet = EncodeFailure(i, "Kind", "äöü … 𝄞 text");
    for (int k = 0; k < 4; ++k) {
      const size_t from = k == 0 ? 0 : 9;  // seldom the head
      const size_t at = from + random() % (packet.size() - from);
      if (at > 0) packet[at] = static_cast<char>(random());
    }
    const auto answer = DecodeAnswer(packet);
    if (!answer) continue;
    ++read;
    CHECK(IsUtf8(answer->kind) && IsUtf8(answer->message));
  }
  CHECK(read > 10'000);
}

TEST(ALoopRefusesForgedCallsAndGoesOn) {
  int pair[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  Fd mine(pair[0]);
  const Fd theirs(pair[1]), memory(memfd_create("test", MFD_CLOEXEC));
  int calls = 0;
  const ffi::Function count =
      ffi::Function::FromPacked([&calls](ffi::PackedArgs, ffi::Any*) { ++calls; });
  std::thread loop([&] { Serve({count}, theirs.get(), memory.get()); });
  std::string packet;
  const auto answer = [&] {
    packet.resize(kMaxAnswer);
    const ssize_t size = recv(mine.get(), packet.data(), packet.size(), 0);
    packet.resize(size > 0 ? static_cast<size_t>(size) : 0);
    const auto decoded = DecodeAnswer(packet);
    CHECK(decoded.has_value());
    return *decoded;
  };
  const auto ask = [&](const std::vector<int64_t>& words, size_t bytes) {
    CHECK_EQ(send(mine.get(), words.data(), bytes, 0), static_cast<ssize_t>(bytes));
    return answer();
  };
  CHECK_EQ(answer().number, 0);
  std::vector<int64_t> words = Words();
  const size_t whole = words.size() * sizeof(int64_t);
  const WorkerAnswer early = ask(words, whole);  // nobody has made room yet
  CHECK(early.failed && early.message.find("it speaks of 192 bytes") != std::string::npos);
  CHECK_EQ(ftruncate(memory.get(), 4096), 0);
  CHECK(!ask(words, whole).failed);
  CHECK_EQ(calls, 1);
  for (size_t bytes = 1; bytes < whole; ++bytes) {
    const WorkerAnswer cut = ask(words, bytes);
    CHECK(cut.failed && cut.message.find("makes no sense: it is cut short") != std::string::npos);
    CHECK_EQ(cut.number, bytes >= 8 ? 9 : 0);
  }
  words[1] = 1;
  CHECK(ask(words, whole).message.find("the worker has no segment 1") != std::string::npos);
  words[1] = 0;
  words[2] = 1 << 20;
  CHECK(ask(words, whole).message.find("of shared memory, there are 4096") != std::string::npos);
  CHECK_EQ(calls, 1);
  words[2] = 4096;
  words[0] = 77;
  const WorkerAnswer last = ask(words, whole);
  CHECK(!last.failed && last.number == 77);
  CHECK_EQ(calls, 2);
  mine = Fd();  // swapped into a temporary, closed: nobody asks any more
  loop.join();
}

}  // namespace
}  // namespace byoc

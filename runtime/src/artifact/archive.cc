#include "artifact/archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "artifact/sha256.h"
#include "core/buffer.h"
#include "core/errors.h"
#include "core/tensors.h"
#include "core/text.h"

namespace byoc {

namespace ffi = tvm::ffi;

namespace {

constexpr uint64_t kChunk = 4 << 20;    // hashed at once, so that threads share the work
constexpr uint64_t kPiece = 256 << 10;  // read at a time where nothing is kept
// Enough for terabytes of weights; read as JSON it takes twenty times as much memory.
constexpr uint64_t kMaxManifest = 64 << 20;
constexpr uint64_t kPage = 1 << 14;
constexpr size_t kLocalHeader = 30;
constexpr uint16_t kVersion = 45;  // ZIP64
constexpr uint16_t kDate = 1 << 5 | 1;
constexpr uint16_t kPaddingId = 0xD935;
const std::string kManifest = "manifest.json";
const std::string kComment = "byoc manifest sha256 ";
const std::string kSigned = " ed25519 ";
const size_t kCommentSize = kComment.size() + 64;
const size_t kSignedSize = kCommentSize + kSigned.size() + 64 + 1 + 128;

/*! \brief Little-endian numbers, one after the other. */
class Bytes {
 public:
  Bytes& U16(uint64_t n) { return Put(n, 2); }
  Bytes& U32(uint64_t n) { return Put(n, 4); }
  Bytes& U64(uint64_t n) { return Put(n, 8); }
  Bytes& Text(const std::string& text) {
    data_ += text;
    return *this;
  }
  const std::string& data() const { return data_; }

 private:
  Bytes& Put(uint64_t n, int size) {
    for (int i = 0; i < size; ++i) data_ += static_cast<char>(n >> (8 * i) & 255);
    return *this;
  }
  std::string data_;
};

uint64_t ReadNumber(const std::string& data, size_t at, int size) {
  uint64_t n = 0;
  for (int i = size; i-- > 0;) n = n << 8 | static_cast<unsigned char>(data[at + i]);
  return n;
}

struct Placed {
  const Member* member;
  std::string header;
  uint64_t header_at;
  uint64_t data_at() const { return header_at + header.size(); }
};

struct Layout {
  std::vector<Placed> placed;
  std::string tail;  // after the last member, up to the comment
  uint64_t start = 0;
};

Layout Lay(const std::vector<const Member*>& members, size_t comment_size) {
  Layout layout;
  uint64_t position = 0;
  for (const Member* m : members) {
    const uint64_t alignment = m->name == kWeightsMember ? kPage : kAlignment;
    const uint64_t bare = kLocalHeader + m->name.size() + 20 + 4;
    const uint64_t padding = (alignment - (position + bare) % alignment) % alignment;
    Bytes header;
    header.Text("PK\3\4").U16(kVersion).U16(0).U16(0).U16(0).U16(kDate).U32(m->crc32);
    header.U32(UINT32_MAX).U32(UINT32_MAX).U16(m->name.size()).U16(20 + 4 + padding);
    header.Text(m->name).U16(1).U16(16).U64(m->size).U64(m->size);
    header.U16(kPaddingId).U16(padding).Text(std::string(padding, '\0'));
    layout.placed.push_back({m, header.data(), position});
    position += header.data().size() + m->size;
  }
  layout.start = position;
  Bytes tail;
  for (const Placed& p : layout.placed) {
    tail.Text("PK\1\2").U16(3 << 8 | kVersion).U16(kVersion).U16(0).U16(0).U16(0).U16(kDate);
    tail.U32(p.member->crc32).U32(UINT32_MAX).U32(UINT32_MAX).U16(p.member->name.size()).U16(28);
    tail.U16(0).U16(0).U16(0).U32(uint64_t{0100644} << 16).U32(UINT32_MAX).Text(p.member->name);
    tail.U16(1).U16(24).U64(p.member->size).U64(p.member->size).U64(p.header_at);
  }
  const uint64_t size = tail.data().size(), count = layout.placed.size();
  tail.Text("PK\6\6").U64(44).U16(kVersion).U16(kVersion).U32(0).U32(0).U64(count).U64(count);
  tail.U64(size).U64(layout.start);
  tail.Text("PK\6\7").U32(0).U64(layout.start + size).U32(1);
  tail.Text("PK\5\6").U16(0).U16(0).U16(UINT16_MAX).U16(UINT16_MAX).U32(UINT32_MAX);
  tail.U32(UINT32_MAX).U16(comment_size);
  layout.tail = tail.data();
  return layout;
}

bool IsHex(const std::string& text, size_t begin, size_t size) {
  return std::all_of(text.begin() + begin, text.begin() + begin + size,
                     [](char c) { return ('0' <= c && c <= '9') || ('a' <= c && c <= 'f'); });
}

bool IsSignedComment(const std::string& text) {
  return text.size() == kSignedSize && text.compare(0, kComment.size(), kComment) == 0 &&
         IsHex(text, kComment.size(), 64) &&
         text.compare(kCommentSize, kSigned.size(), kSigned) == 0 &&
         IsHex(text, kCommentSize + kSigned.size(), 64) &&
         text[kCommentSize + kSigned.size() + 64] == ' ' && IsHex(text, kSignedSize - 128, 128);
}

/*! \brief The comment at the end: of a signed file, else the last bytes, whatever they are. */
std::string Comment(const ArchiveFile& file) {
  for (size_t size : {kSignedSize, kCommentSize}) {
    std::string comment = file.size() > size ? file.Read(size, file.size() - size) : "";
    if (size == kCommentSize || IsSignedComment(comment)) return comment;
  }
  return "";
}

uint64_t ChunkCount(uint64_t size) { return std::max<uint64_t>(1, (size + kChunk - 1) / kChunk); }

/*! \brief Plain: letters, digits, `_ . -`, folders; no way out. */
void CheckName(const std::string& name) {
  bool begin = true, fine = !name.empty() && name.size() <= 1024;
  for (char c : name) {
    const bool word =
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    fine = fine && (word || (!begin && (c == '.' || c == '-' || c == '/')));
    begin = c == '/';
  }
  if (!fine || begin) {
    ThrowArtifactError(Quoted(name) + " is no name for a member of an artifact");
  }
}

/*! \brief One chunk whose hash is to be compared. */
struct Chunk {
  const Member* member;
  uint64_t offset, size;
  const std::string* digest;
  char* copy;  // where its bytes are kept; null: nowhere
};

/*! \brief Read a chunk and compare it with its digest; false when it differs. */
bool ReadChunk(const ArchiveFile& file, const Chunk& chunk) {
  Sha256 hash;
  if (chunk.copy != nullptr) {
    if (file.ReadInto(chunk.copy, chunk.size, chunk.offset) != chunk.size) return false;
    hash.Update(chunk.copy, chunk.size);
    return hash.Hex() == *chunk.digest;
  }
  std::vector<char> piece(std::min(kPiece, chunk.size));
  for (uint64_t at = 0; at < chunk.size; at += kPiece) {
    const uint64_t size = std::min(kPiece, chunk.size - at);
    if (file.ReadInto(piece.data(), size, chunk.offset + at) != size) return false;
    hash.Update(piece.data(), size);
  }
  return hash.Hex() == *chunk.digest;
}

void ReadChunks(const ArchiveFile& file, const std::vector<Chunk>& chunks, int threads) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::string problem;
  const auto fail = [&](const std::string& text) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!failed.exchange(true)) problem = text;
  };
  const auto run = [&] {
    while (!failed.load()) {
      const size_t i = next.fetch_add(1);
      if (i >= chunks.size()) return;
      const std::string who = "member " + Quoted(chunks[i].member->name);
      try {
        if (ReadChunk(file, chunks[i])) continue;
        fail(who + " is damaged: its sha256 differs from the manifest's");
      } catch (const ffi::Error& error) {
        fail(who + ": " + std::string(error.message()));
      } catch (const std::exception& error) {
        fail(who + " cannot be read: " + error.what());
      }
    }
  };
  std::vector<std::thread> helpers;
  try {
    for (int i = 1; i < std::min<int>(threads, static_cast<int>(chunks.size())); ++i) {
      helpers.emplace_back(run);
    }
  } catch (const std::exception&) {  // no more threads: this one does it all
  }
  run();
  for (std::thread& helper : helpers) helper.join();
  if (failed) ThrowArtifactError(problem);
}

/*! \brief Room for a member; its pages are there when they are written. */
ffi::Tensor NewCopy(const Member& member) {
  try {
    return NewTensor(ffi::Shape({static_cast<int64_t>(member.size)}), DLDataType{kDLUInt, 8, 1});
  } catch (const std::bad_alloc&) {
    ThrowArtifactError("member " + Quoted(member.name) + " has " + std::to_string(member.size) +
                       " bytes, for which there is no memory");
  }
}

/*! \brief Whether a member is used where the file has it: large, and read once or now and then. */
bool StaysInFile(const Member& member, MappedKinds mapped) {
  if (member.size <= kCopied) return false;
  if (member.name == kWeightsMember) return mapped.weights;
  return mapped.blobs && member.name.find(kBlobFolder) != std::string::npos;
}

Members ReadData(const ArchiveFile& file, const std::vector<Placed>& placed, MappedKinds mapped,
                 int threads) {
  Members members;
  std::vector<Chunk> chunks;
  for (const Placed& p : placed) {
    const Member& member = *p.member;
    char* copy = nullptr;
    if (StaysInFile(member, mapped)) {
      members.places[member.name] = p.data_at();
    } else {
      const ffi::Tensor kept = members.copies[member.name] = NewCopy(member);
      copy = static_cast<char*>(kept.data_ptr());
    }
    for (size_t i = 0; i < member.sha256.size(); ++i) {
      const uint64_t at = i * kChunk;
      chunks.push_back({&member, p.data_at() + at, std::min(kChunk, member.size - at),
                        &member.sha256[i], copy == nullptr ? nullptr : copy + at});
    }
  }
  ReadChunks(file, chunks, threads);
  return members;
}

}  // namespace

void ThrowMisdescribed(const std::string& name) {
  ThrowArtifactError("member " + Quoted(name) + " is not described rightly in the manifest");
}

ArchiveFile::ArchiveFile(const std::string& path)
    : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), size_(0) {
  if (fd_ < 0) ThrowArtifactError("cannot read " + Printable(path) + ": " + std::strerror(errno));
  struct stat status;
  if (fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd_);
    ThrowArtifactError(Printable(path) + ": this is no regular file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

ArchiveFile::ArchiveFile(int fd) : fd_(fcntl(fd, F_DUPFD_CLOEXEC, 0)), size_(0) {
  struct stat status;
  if (fd_ < 0 || fstat(fd_, &status) != 0) {
    const int problem = errno;
    if (fd_ >= 0) close(fd_);
    ThrowArtifactError(std::string("the file cannot be read: ") + std::strerror(problem));
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

ArchiveFile::~ArchiveFile() { close(fd_); }

uint64_t ArchiveFile::ReadInto(char* data, uint64_t size, uint64_t offset) const {
  uint64_t done = 0;
  while (done < size) {
    const ssize_t got = pread(fd_, data + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      ThrowArtifactError(std::string("the file cannot be read: ") + std::strerror(errno));
    }
    if (got == 0) break;
    done += static_cast<uint64_t>(got);
  }
  return done;
}

std::string ArchiveFile::Read(uint64_t size, uint64_t offset) const {
  if (offset >= size_) return "";
  std::string data(std::min(size, size_ - offset), '\0');
  data.resize(ReadInto(data.data(), data.size(), offset));
  return data;
}

std::string ReadManifest(const ArchiveFile& file) {
  const std::string total = std::to_string(file.size());
  const std::string start = file.Read(4096, 0);
  const size_t extra_at = kLocalHeader + kManifest.size();
  if (start.compare(0, 4, "PK\3\4") != 0 || start.size() < extra_at + 12 ||
      start.compare(kLocalHeader, kManifest.size(), kManifest) != 0) {
    ThrowArtifactError("this is not a .byoc file (" + total + " bytes, it does not begin with " +
                       kManifest + ")");
  }
  const std::string tail = Comment(file);
  if (tail.compare(0, kComment.size(), kComment) != 0) {
    ThrowArtifactError(
        "the file is cut short, or was written by another tool: its end record is missing");
  }
  const uint64_t size = ReadNumber(start, extra_at + 4, 8);
  const uint64_t data_at = extra_at + ReadNumber(start, kLocalHeader - 2, 2);
  if (size > kMaxManifest || data_at + size > file.size()) {  // the first bounds the sum
    ThrowArtifactError("member 'manifest.json' is damaged: it claims " + std::to_string(size) +
                       " bytes");
  }
  std::string data = file.Read(size, data_at);
  if (Sha256Hex(data.data(), data.size()) != tail.substr(kComment.size(), 64)) {
    ThrowArtifactError("member 'manifest.json' is damaged: its sha256 differs");
  }
  return data;
}

std::optional<Signature> ReadSignature(const ArchiveFile& file) {
  const std::string comment = Comment(file);
  if (!IsSignedComment(comment)) return std::nullopt;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  const auto decode = [&](size_t at, unsigned char* to, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      to[i] = static_cast<unsigned char>(digit(comment[at + 2 * i]) << 4 |
                                         digit(comment[at + 2 * i + 1]));
    }
  };
  Signature signature;
  decode(kCommentSize + kSigned.size(), signature.public_key.data(), 32);
  decode(kSignedSize - 128, signature.value.data(), 64);
  return signature;
}

Members ReadMembers(const ArchiveFile& file, const std::string& manifest,
                    const std::vector<Member>& members, MappedKinds mapped, int threads) {
  std::set<std::string> names{kManifest};
  for (const Member& m : members) {
    if (!names.insert(m.name).second) ThrowArtifactError("the manifest lists a member twice");
  }
  uint64_t sum = 0;
  for (const Member& m : members) {
    CheckName(m.name);
    if (m.sha256.size() != ChunkCount(m.size)) {
      ThrowMisdescribed(m.name);
    }
    sum += m.size;  // sizes are below 2^48: no overflow
    if (sum > file.size()) {
      ThrowArtifactError("the file is cut short: " + std::to_string(file.size()) + " bytes");
    }
  }
  const Member head{kManifest, manifest.size(), Crc32(manifest.data(), manifest.size()), {}};
  std::vector<const Member*> all{&head};
  for (const Member& m : members) all.push_back(&m);
  const size_t comment_size = Comment(file).size();
  const Layout layout = Lay(all, comment_size);
  const uint64_t expected = layout.start + layout.tail.size() + comment_size;
  if (file.size() != expected) {
    ThrowArtifactError("the file has " + std::to_string(file.size()) + " bytes, expected " +
                       std::to_string(expected) + ": it is cut short or was changed");
  }
  for (const Placed& p : layout.placed) {
    if (file.Read(p.header.size(), p.header_at) != p.header) {
      ThrowArtifactError("member " + Quoted(p.member->name) + " is damaged: its header differs");
    }
  }
  if (file.Read(layout.tail.size(), layout.start) != layout.tail) {
    ThrowArtifactError("the zip directory at the end of the file is damaged");
  }
  std::vector<Placed> others(layout.placed.begin() + 1, layout.placed.end());
  return ReadData(file, others, mapped, threads);
}

std::vector<std::string> DigestsOf(const void* data, uint64_t size) {
  std::vector<std::string> digests;
  for (uint64_t i = 0; i < ChunkCount(size); ++i) {
    const uint64_t at = i * kChunk;
    digests.push_back(Sha256Hex(static_cast<const char*>(data) + at, std::min(kChunk, size - at)));
  }
  return digests;
}

bool HasDigests(const ArchiveFile& file, const Member& member, uint64_t offset) {
  for (size_t i = 0; i < member.sha256.size(); ++i) {
    const uint64_t at = i * kChunk;
    const std::string bytes = file.Read(std::min(kChunk, member.size - at), offset + at);
    if (Sha256Hex(bytes.data(), bytes.size()) != member.sha256[i]) return false;
  }
  return true;
}

}  // namespace byoc

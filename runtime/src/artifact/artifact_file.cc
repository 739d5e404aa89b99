#include "artifact/artifact_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "artifact/sha256.h"
#include "artifact/weights.h"
#include "core/errors.h"
#include "core/mapping.h"
#include "core/tensors.h"
#include "core/text.h"

namespace byoc {

namespace ffi = tvm::ffi;

ArtifactFile::ArtifactFile(const std::string& path) : file_(path) { Open(); }

ArtifactFile::ArtifactFile(int fd) : file_(fd) { Open(); }

void ArtifactFile::Open() {
  stamp_ = FileWatch::StampOf(file_.fd());
  text_ = ReadManifest(file_);
  digest_ = Sha256Hex(text_.data(), text_.size());
  signature_ = ReadSignature(file_);
}

void ArtifactFile::CheckSignature(const PublicKey& trusted) {
  byoc::CheckSignature(text_, signature_, trusted);
  trusted_ = true;
}

const Manifest& ArtifactFile::manifest() {
  if (!manifest_) manifest_ = ParseManifest(text_);
  return *manifest_;
}

void ArtifactFile::Verify() {
  const auto& vendors = manifest().vendors;
  const bool code = std::any_of(vendors.begin(), vendors.end(), BringsCode);
  const MappedKinds kinds{!trusted_, !trusted_ && !code};
  Members members = ReadMembers(file_, text_, manifest().members, kinds);
  for (auto& [name, bytes] : members.copies) members_[name] = std::move(bytes);
  std::vector<std::pair<Member, uint64_t>> mapped;
  for (const Member& member : manifest().members) {
    const auto place = members.places.find(member.name);
    if (place != members.places.end()) mapped.emplace_back(member, place->second);
  }
  if (!mapped.empty()) {
    const auto file = std::make_shared<const ArchiveFile>(file_.fd());
    watch_ = std::make_shared<FileWatch>(file_.fd(), stamp_, [mapped, file] {
      return std::all_of(mapped.begin(), mapped.end(), [&file](const auto& part) {
        return HasDigests(*file, part.first, part.second);
      });
    });
  }
  for (const auto& [member, offset] : mapped) {
    const ffi::Tensor bytes = Map(offset, member.size);
    NoteContent(bytes.data_ptr(), member.size, ContentName(member.sha256));
    members_[member.name] = bytes;
  }
  const auto weights = members_.find(kWeightsMember);
  if (weights == members_.end()) {
    ThrowArtifactError(std::string("member '") + kWeightsMember + "' is missing");
  }
  weights_ = std::move(weights->second);
  members_.erase(weights);
}

/*! \brief A part of the file, which need not begin at a page. */
ffi::Tensor ArtifactFile::Map(uint64_t offset, uint64_t size) {
  const uint64_t before = offset % static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  ffi::Tensor pages = MapFile(file_.fd(), static_cast<int64_t>(offset - before),
                              static_cast<int64_t>(size + before), watch_);
  if (before == 0) return pages;
  const auto length = static_cast<int64_t>(size);
  return WrapMemory(static_cast<char*>(pages.data_ptr()) + before, ffi::ShapeView(&length, 1),
                    DLDataType{kDLUInt, 8, 1}, pages);
}

ffi::Tensor ArtifactFile::Take(const std::string& name) {
  const auto member = members_.find(name);
  if (member == members_.end()) ThrowArtifactError("member " + Quoted(name) + " is missing");
  if (!member->second) ThrowArtifactError("member " + Quoted(name) + " is used twice");
  ffi::Tensor bytes = *std::move(member->second);
  member->second.reset();
  return bytes;
}

ffi::Tensor ArtifactFile::Array(size_t number) {
  const std::vector<ManifestArray>& table = manifest().arrays;
  if (number >= table.size() || !weights_) {
    ThrowArtifactError("array " + std::to_string(number) + " is not in the table of " +
                       std::to_string(table.size()));
  }
  return ViewArray(*weights_, table[number]);
}

std::string ToString(const ffi::Tensor& bytes) {
  return std::string(static_cast<const char*>(bytes.data_ptr()),
                     static_cast<size_t>(bytes.shape()[0]));
}

}  // namespace byoc

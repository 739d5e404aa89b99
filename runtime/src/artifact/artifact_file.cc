#include "artifact/artifact_file.h"

#include <algorithm>
#include <cstdint>
#include <utility>

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
  Members members = ReadMembers(file_, text_, manifest().members, trusted_);
  for (auto& [name, bytes] : members.copies) members_[name] = std::move(bytes);
  const auto copied = members_.find(kWeightsMember);
  if (copied != members_.end()) {
    weights_ = std::move(copied->second);
    members_.erase(copied);
    return;
  }
  if (!members.weights) {
    ThrowArtifactError(std::string("member '") + kWeightsMember + "' is missing");
  }
  const auto [offset, size] = *members.weights;
  const auto& all = manifest().members;
  const auto is_weights = [](const Member& m) { return m.name == kWeightsMember; };
  const Member member = *std::find_if(all.begin(), all.end(), is_weights);
  auto address = std::make_shared<const char*>(nullptr);
  watch_ = std::make_shared<FileWatch>(file_.fd(), stamp_,
                                       [member, address] { return HasDigests(member, *address); });
  weights_ = MapFile(file_.fd(), static_cast<int64_t>(offset), static_cast<int64_t>(size), watch_);
  *address = static_cast<const char*>(weights_->data_ptr());
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

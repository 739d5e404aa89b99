/*
 * Artifacts as Python reads them: the same reader as that of byoc/session.h.
 */
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/reflection/registry.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "artifact/artifact_file.h"
#include "artifact/libraries.h"
#include "artifact/machine.h"
#include "artifact/signature.h"
#include "core/tensors.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;
using ffi::Array, ffi::Bytes, ffi::Function, ffi::Map, ffi::Module, ffi::Optional, ffi::String;
using ffi::Tensor;

template <typename Bytes32>
Bytes BytesOf(const Bytes32& data) {
  return Bytes(reinterpret_cast<const char*>(data.data()), data.size());
}

void CheckSignedBy(ArtifactFile& file, const Bytes& key) {
  PublicKey trusted{};
  std::copy_n(key.data(), std::min(key.size(), trusted.size()),
              reinterpret_cast<char*>(trusted.data()));
  file.CheckSignature(trusted);
}

/*! \brief [[subject, what is wanted, problem or ""]]. */
Array<Array<String>> Fits(const Manifest& manifest, const String& tvm) {
  Array<Array<String>> rows;
  for (const Fit& fit : FitMachine(manifest, std::string(tvm))) {
    rows.push_back({fit.subject, fit.wanted, fit.problem});
  }
  return rows;
}

/*!
 * \brief An open file as functions, see `ArtifactFile`:
 *
 * text(), digest(), signature() -> [key, value] or null, check_signature(key), manifest() -> text
 * of a known format, fits(version of TVM) -> see `Fits`, verify(), take(name), array(number).
 */
Map<String, Function> OpenArtifact(int64_t fd) {
  const auto file = std::make_shared<ArtifactFile>(static_cast<int>(fd));
  const auto signature = [file]() -> Optional<Array<Bytes>> {
    const std::optional<Signature>& found = file->signature();
    if (!found) return std::nullopt;
    return Array<Bytes>{BytesOf(found->public_key), BytesOf(found->value)};
  };
  const auto manifest = [file] {
    file->manifest();
    return Bytes(file->text());
  };
  const auto take = [file](const String& name) { return file->Take(std::string(name)); };
  const auto array = [file](int64_t number) {
    return Exchange(file->Array(static_cast<size_t>(number)));
  };
  const auto fits = [file](const String& tvm) { return Fits(file->manifest(), tvm); };
  const auto check = [file](const Bytes& key) { CheckSignedBy(*file, key); };
  return {{"text", Function::FromTyped([file] { return Bytes(file->text()); })},
          {"digest", Function::FromTyped([file] { return String(file->digest()); })},
          {"signature", Function::FromTyped(signature)},
          {"check_signature", Function::FromTyped(check)},
          {"manifest", Function::FromTyped(manifest)},
          {"fits", Function::FromTyped(fits)},
          {"verify", Function::FromTyped([file] { file->Verify(); })},
          {"take", Function::FromTyped(take)},
          {"array", Function::FromTyped(array)}};
}

Optional<Array<String>> Features() {
  if (CpuFeatures().empty()) return std::nullopt;
  Array<String> features;
  for (const std::string& feature : CpuFeatures()) features.push_back(feature);
  return features;
}

TVM_FFI_STATIC_INIT_BLOCK() {
  ffi::reflection::GlobalDef()
      .def("byoc.runtime.OpenArtifact", OpenArtifact)
      .def("byoc.runtime.newest_format", [] { return kNewestFormat; })
      .def("byoc.runtime.cpu_features", Features)
      .def("byoc.runtime.read_public_key",
           [](const Bytes& path) {
             return BytesOf(ReadPublicKey(std::string(path.data(), path.size())));
           })
      .def("byoc.runtime.load_host",
           [](const Bytes& library) { return LoadHost(library.data(), library.size()); });
}

}  // namespace
}  // namespace byoc

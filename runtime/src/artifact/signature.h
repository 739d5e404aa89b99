/*! \brief Checking ed25519 signatures with the system's libcrypto: see runtime/io/signing.py. */
#ifndef BYOC_RUNTIME_SIGNATURE_H_
#define BYOC_RUNTIME_SIGNATURE_H_

#include <array>
#include <optional>
#include <string>

#include "artifact/archive.h"

namespace byoc {

using PublicKey = std::array<unsigned char, 32>;

/*! \brief The ed25519 public key in a PEM file. Throws ValueError. */
PublicKey ReadPublicKey(const std::string& path);

/*!
 * \brief Throws byoc.ArtifactError unless `manifest` was signed with the key `trusted` belongs to;
 * also where that cannot be found out because there is no libcrypto.
 */
void CheckSignature(const std::string& manifest, const std::optional<Signature>& signature,
                    const PublicKey& trusted);

}  // namespace byoc

#endif  // BYOC_RUNTIME_SIGNATURE_H_

/*!
 * \file signature.h
 * \brief Ed25519 signatures of artifacts: who wrote this file?
 *
 * The signature covers the manifest, which holds the sha256 of every other member. It stands in the
 * zip's comment, with the public key, behind the sha256 of the manifest:
 *
 * \code
 *   byoc manifest sha256 <64 hex> ed25519 <public key, 64 hex> <signature, 128 hex>
 * \endcode
 *
 * Ed25519: RFC 8032. The system's libcrypto checks it; runtime/io/signing.py signs.
 */
#ifndef BYOC_RUNTIME_SIGNATURE_H_
#define BYOC_RUNTIME_SIGNATURE_H_

#include <array>
#include <optional>
#include <string>

#include "artifact/archive.h"

namespace byoc {

using PublicKey = std::array<unsigned char, 32>;

/*!
 * \brief Read an ed25519 public key.
 * \param path A PEM file (`openssl pkey -in key.pem -pubout`).
 * \throws byoc.OptionError when it cannot be read or holds anything else.
 */
PublicKey ReadPublicKey(const std::string& path);

/*!
 * \brief Check who signed a file.
 * \param manifest The bytes of its manifest.
 * \param signature What the file holds.
 * \param trusted The key that it must be signed with.
 * \throws byoc.ArtifactError unless it is; also where that cannot be found out because there is no
 * libcrypto.
 */
void CheckSignature(const std::string& manifest, const std::optional<Signature>& signature,
                    const PublicKey& trusted);

}  // namespace byoc

#endif  // BYOC_RUNTIME_SIGNATURE_H_

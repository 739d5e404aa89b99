/*
 * libcrypto (OpenSSL 1.1.1 or 3) is opened when a signature is asked for, so programs that ask for
 * none need not have it.
 */
#include "artifact/signature.h"

#include <dlfcn.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/errors.h"
#include "core/text.h"

namespace byoc {
namespace {

constexpr int kEd25519 = 1087;                     // EVP_PKEY_ED25519
const char kContext[] = "byoc artifact manifest";  // its NUL belongs to it

/*! \brief The five functions of libcrypto's EVP interface that are needed. */
struct Crypto {
  void* (*key_new)(int type, void* engine, const unsigned char* key, size_t size);
  void (*key_free)(void* key);
  void* (*context_new)();
  void (*context_free)(void* context);
  int (*verify_init)(void* context, void** key_context, const void* digest, void* engine,
                     void* key);
  int (*verify)(void* context, const unsigned char* signature, size_t signature_size,
                const unsigned char* data, size_t size);

  static const Crypto* Get() {
    static const std::optional<Crypto> crypto = Open();
    return crypto ? &*crypto : nullptr;
  }

 private:
  static std::optional<Crypto> Open() {
    for (const char* name : {"libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"}) {
      void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) continue;
      Crypto crypto;
      const auto find = [&](const char* symbol, auto* function) {
        void* address = dlsym(library, symbol);
        std::memcpy(function, &address, sizeof(address));
        return address != nullptr;
      };
      if (find("EVP_PKEY_new_raw_public_key", &crypto.key_new) &&
          find("EVP_PKEY_free", &crypto.key_free) && find("EVP_MD_CTX_new", &crypto.context_new) &&
          find("EVP_MD_CTX_free", &crypto.context_free) &&
          find("EVP_DigestVerifyInit", &crypto.verify_init) &&
          find("EVP_DigestVerify", &crypto.verify)) {
        return crypto;
      }
      dlclose(library);
    }
    return std::nullopt;
  }
};

std::string Hex(const unsigned char* data, size_t size) {
  std::string hex;
  for (size_t i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[data[i] >> 4];
    hex += "0123456789abcdef"[data[i] & 15];
  }
  return hex;
}

/*! \brief The bytes between the lines of a PEM file; empty when there are none. */
std::string DecodePem(const std::string& text, const std::string& label) {
  const std::string begin = "-----BEGIN " + label + "-----", end = "-----END " + label + "-----";
  const size_t first = text.find(begin);
  if (first == std::string::npos) return "";
  const size_t last = text.find(end, first);
  if (last == std::string::npos) return "";
  static const std::string digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string data;
  uint32_t bits = 0;
  int count = 0;
  for (size_t i = first + begin.size(); i < last; ++i) {
    const size_t digit = digits.find(text[i]);
    if (digit == std::string::npos) {
      if (std::strchr("=\r\n \t", text[i]) != nullptr) continue;
      return "";
    }
    bits = (bits << 6 | static_cast<uint32_t>(digit)) & 0xffffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    data += static_cast<char>(bits >> count & 255);
  }
  return data;
}

bool Verifies(const Crypto& crypto, const std::string& message, const Signature& signature) {
  void* key = crypto.key_new(kEd25519, nullptr, signature.public_key.data(), 32);
  void* context = crypto.context_new();
  const bool fine =
      key != nullptr && context != nullptr &&
      crypto.verify_init(context, nullptr, nullptr, nullptr, key) == 1 &&
      crypto.verify(context, signature.value.data(), signature.value.size(),
                    reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1;
  crypto.context_free(context);
  crypto.key_free(key);
  return fine;
}

}  // namespace

PublicKey ReadPublicKey(const std::string& path) {
  std::ostringstream text;
  std::ifstream file(path, std::ios::binary);
  if (!file || !(text << file.rdbuf())) {
    ThrowOptionError("cannot read the key " + Printable(path) + ": " + std::strerror(errno));
  }
  const std::string data = DecodePem(text.str(), "PUBLIC KEY");
  if (data.empty()) {
    ThrowOptionError(Printable(path) +
                     " holds no public key in PEM form (-----BEGIN PUBLIC KEY-----)");
  }
  // RFC 8410: a fixed head, then the key.
  static const unsigned char kHead[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                        0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
  PublicKey key;
  if (data.size() != sizeof(kHead) + key.size() ||
      std::memcmp(data.data(), kHead, sizeof(kHead)) != 0) {
    ThrowOptionError(Printable(path) +
                     " holds a key of another kind, expected an ed25519 public key");
  }
  std::memcpy(key.data(), data.data() + sizeof(kHead), key.size());
  return key;
}

void CheckSignature(const std::string& manifest, const std::optional<Signature>& signature,
                    const PublicKey& trusted) {
  if (!signature) ThrowArtifactError("the file is not signed, and a signature is required");
  if (signature->public_key != trusted) {
    ThrowArtifactError(
        "the file is signed with another key: " + Hex(signature->public_key.data(), 32) +
        ", trusted is " + Hex(trusted.data(), trusted.size()));
  }
  const Crypto* crypto = Crypto::Get();
  if (crypto == nullptr) {
    ThrowArtifactError(
        "a signature is required and cannot be checked: there is no libcrypto on this machine; "
        "install OpenSSL 3 or 1.1.1");
  }
  if (!Verifies(*crypto, std::string(kContext, sizeof(kContext)) + manifest, *signature)) {
    ThrowArtifactError("the signature does not belong to this file: one of them was changed");
  }
}

}  // namespace byoc

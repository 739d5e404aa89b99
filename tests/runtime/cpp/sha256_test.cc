#include "artifact/sha256.h"

#include <string>

#include "check.h"

namespace byoc {
namespace {

TEST(Sha256OfTheStandardsExamples) {
  CHECK_EQ(Sha256Hex("", 0),
           std::string("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
  CHECK_EQ(Sha256Hex("abc", 3),
           std::string("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
  const std::string two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  CHECK_EQ(Sha256Hex(two.data(), two.size()),
           std::string("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
  const std::string million(1000000, 'a');
  CHECK_EQ(Sha256Hex(million.data(), million.size()),
           std::string("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
}

TEST(Sha256DoesNotCareHowBytesArrive) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 37);
  for (size_t size = 0; size <= text.size(); ++size) {
    const std::string whole = Sha256Hex(text.data(), size);
    for (size_t cut : {size / 3, size / 2, size}) {
      Sha256 hash;
      hash.Update(text.data(), cut);
      hash.Update(text.data() + cut, size - cut);
      CHECK_EQ(hash.Hex(), whole);
    }
  }
}

TEST(Crc32OfItsCheckValue) { CHECK_EQ(Crc32("123456789", 9), 0xcbf43926u); }

}  // namespace
}  // namespace byoc

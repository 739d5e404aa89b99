#include "ops/table.h"

#include <algorithm>
#include <string>

#include "check.h"

namespace byoc::onednn {
namespace {

TEST(TableFindsKindsByTheirWholeName) {
  const OpKind* kind = FindOpKind("convolution");
  CHECK(kind != nullptr);
  CHECK_EQ(std::string(kind->name), "convolution");
  CHECK(kind->build == BuildConvolution);
  CHECK(kind->Has(kFusesPostOps) && kind->Has(kLeadsLayout) && !kind->Has(kJoinsInputs));
  CHECK_EQ(kind->inputs.least, 2);
  CHECK_EQ(kind->inputs.most, 3);
  for (const char* name : {"", "conv", "convolution2", "Convolution", "cos"}) {
    CHECK(FindOpKind(name) == nullptr);
  }
}

TEST(TableHasSoundRecords) {
  std::string names = LegalKinds();
  for (size_t begin = 0, end; begin < names.size(); begin = end + 2) {
    end = std::min(names.find(", ", begin), names.size());
    const OpKind* kind = FindOpKind(names.substr(begin, end - begin));
    CHECK(kind != nullptr && kind->build != nullptr);
    for (const CountRange& range : {kind->inputs, kind->outputs}) {
      CHECK(1 <= range.least && range.least <= range.most && range.most <= kAny);
    }
  }
}

}  // namespace
}  // namespace byoc::onednn

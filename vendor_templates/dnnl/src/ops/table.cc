#include "table.h"

#include <algorithm>
#include <iterator>

namespace byoc::onednn {
namespace {

constexpr OpKind kTable[] = {
#define OP(kind, least_inputs, most_inputs, least_outputs, most_outputs, build, traits) \
  {#kind, {least_inputs, most_inputs}, {least_outputs, most_outputs}, build, traits},
#include "table.def"
#undef OP
};

}  // namespace

const OpKind* FindOpKind(std::string_view name) {
  const OpKind* found = std::find_if(std::begin(kTable), std::end(kTable),
                                     [&](const OpKind& kind) { return name == kind.name; });
  return found == std::end(kTable) ? nullptr : found;
}

std::string LegalKinds() {
  std::string names;
  for (const OpKind& kind : kTable) names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

}  // namespace byoc::onednn

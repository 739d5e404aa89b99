#include "values.h"

#include "error.h"

namespace byoc::onednn {

Values::Values(const Program& program, const Bindings& bindings)
    : program_(program), bindings_(bindings), facts_(program.values.size()) {
  for (size_t v = 0; v < facts_.size(); ++v) {
    Dims shape = Evaluate(program.values[v].shape, bindings);
    constexpr int64_t kMaxBytes = int64_t{1} << 46;
    if (Volume(shape) > kMaxBytes) {
      Fail("value ", v, " of shape ", ToString(shape), " is too large");
    }
    facts_[v].shape = std::move(shape);
  }
  for (const Op& op : program.ops) {
    ForEachRead(op, [&](int value) {
      facts_[value].users.push_back(&op);
      ++facts_[value].reads_left;
    });
    for (int value : op.outputs) facts_[value].producer = &op;
  }
  for (size_t i = program.outputs.size(); i-- > 0;) {
    facts_[program.outputs[i]].output_position = static_cast<int>(i);
  }
}

const Op* Values::OnlyUser(int value) const {
  return Users(value).size() == 1 && !IsOutput(value) ? Users(value)[0] : nullptr;
}

void Values::Consume(const Op& op) {
  ForEachRead(op, [&](int value) { --facts_[value].reads_left; });
}

}  // namespace byoc::onednn

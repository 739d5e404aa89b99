/*!
 * Concat in place: inputs that their producers wrote into their windows of the result (see
 * Builder::Placed) need nothing more; the others are copied into theirs.
 *
 *   result  [ conv writes here | pool writes here | copied ]
 */
#include <algorithm>

#include "ops.h"
#include "post_ops.h"

namespace byoc::onednn {
namespace {

/*! \brief The layout most elements of the inputs have, if windows of every input fit into it. */
Desc ChooseLayout(const Builder& b, const Op& op, int64_t axis) {
  int y = op.outputs[0];
  const Dims& shape = b.Shape(y);
  Desc plain = PlainDesc(shape, b.Type(y));
  std::vector<std::pair<int64_t, Desc>> votes;
  for (int x : op.inputs) {
    std::optional<Desc> family = WithShape(b.Get(x).desc, shape);
    if (!family) family = plain;
    auto it = std::find_if(votes.begin(), votes.end(),
                           [&](const auto& vote) { return vote.second == *family; });
    if (it == votes.end()) {
      votes.push_back({0, *family});
      it = votes.end() - 1;
    }
    it->first += Volume(b.Shape(x));
  }
  std::stable_sort(votes.begin(), votes.end(),
                   [](const auto& p, const auto& q) { return p.first > q.first; });
  for (const auto& [weight, desc] : votes) {
    Dims begin(shape.size(), 0);
    bool fits = true;
    for (int x : op.inputs) {
      fits = fits && (Volume(b.Shape(x)) == 0 ||
                      !IsEmpty(desc.submemory_desc(b.Shape(x), begin, /*allow_empty=*/true)));
      begin[axis] += b.Shape(x)[axis];
    }
    if (fits) return desc;
  }
  return plain;
}

}  // namespace

void BuildConcat(Builder& b, const Op& op) {
  int y = op.outputs[0];
  int64_t axis = op.attrs.Int("axis");
  const Dims& shape = b.Shape(y);
  Expect(axis >= 0 && axis < b.Rank(y), "axis ", axis, " is out of range for shape ",
         ToString(shape));
  int64_t total = 0;
  for (int x : op.inputs) {
    Expect(b.Rank(x) == b.Rank(y) && b.Type(x) == b.Type(y), "input of ", ToString(b.Type(x)),
           ToString(b.Shape(x)));
    Dims expected = shape;
    expected[axis] = b.Shape(x)[axis];
    Expect(b.Shape(x) == expected, "input has shape ", ToString(b.Shape(x)), ", expected ",
           ToString(expected));
    total += b.Shape(x)[axis];
  }
  Expect(total == shape[axis], "inputs have ", total, " along the axis, the output ", shape[axis]);

  Tensor host = b.ConcatResult(y, [&] { return ChooseLayout(b, op, axis); });
  Dims begin(shape.size(), 0);
  for (int x : op.inputs) {
    const Dims& part = b.Shape(x);
    if (Volume(part) == 0) continue;
    Desc window = host.desc.submemory_desc(part, begin, /*allow_empty=*/true);
    Expect(!IsEmpty(window), "no window for an input in layout ", Describe(host.desc));
    Tensor target{window, host.dtype, host.buffer, host.offset};
    const Tensor& lies = b.Get(x);
    bool there = lies.buffer == target.buffer && lies.Begin() == target.Begin() &&
                 SameLayout(lies.desc, target.desc);
    if (!there) b.Copy(lies, target);
    begin[axis] += part[axis];
  }
  b.Set(y, host);
}

}  // namespace byoc::onednn

/// \file checks.h
/// \brief What build functions refuse: each check throws a ProgramError that says what was
/// expected.
///
/// Programs are read from files, so a build function checks all it relies on: ranks, shapes, dtypes
/// and attribute values. The caller adds the op's name, its source and its shapes to the message.
#ifndef BYOC_DNNL_OPS_CHECKS_H_
#define BYOC_DNNL_OPS_CHECKS_H_

#include <vector>

#include "../builder.h"
#include "../error.h"
#include "table.h"

namespace byoc::onednn {

/// Throw unless the condition holds; the parts, written one after another, are the message.
template <typename... Parts>
void Expect(bool condition, const Parts&... parts) {
  if (!condition) Fail(parts...);
}

/// Throw unless `found`, the shape of the op's output, is the one that its operands give.
inline void ExpectShape(const Dims& found, const Dims& expected) {
  Expect(found == expected, "output has shape ", ToString(found), ", expected ",
         ToString(expected));
}

/// Throw unless every value is float32.
void ExpectFloat(const Builder& b, const std::vector<int>& values);

/// Throw unless every value is float32 or bfloat16.
void ExpectReal(const Builder& b, const std::vector<int>& values);

/// What a product computes with: bfloat16 where its attribute `bf16` allows it and the CPU can.
/// Throws unless operands and results are reals.
DType ProductType(const Builder& b, const Op& op);

/// The shape of a numpy broadcast of two shapes, whose ranks may differ. Throws when they do not
/// fit.
Dims BroadcastShape(const Dims& a, const Dims& b);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_CHECKS_H_

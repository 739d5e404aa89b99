/// \file table.h
/// \brief Every kind of op as one record; table.def holds the records, one line each.
///
///   reader    checks kind and number of operands          FindOpKind, inputs, outputs
///   builder   calls the function that makes the steps     build
///   post-ops  asks who may take them in                   kFusesPostOps
///   buffers   asks what an op does with memory            the other traits
///
/// So a new op is a line in table.def and a file in ops/: no list of kinds is repeated elsewhere.
#ifndef BYOC_DNNL_OPS_TABLE_H_
#define BYOC_DNNL_OPS_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace byoc::onednn {

struct Builder;
struct Op;

/// Turns one op into steps: asks for operands, adds steps, says where the results lie.
///
/// Throws ProgramError where shapes, dtypes or attributes do not fit or oneDNN refuses; the caller
/// puts the op's name and shapes in front of the message.
///
/// \return How many of the op's post-ops the steps apply, from the first on. The builder applies
/// the rest, for every kind: a build function neither does so nor can forget it.
using BuildFunction = size_t (*)(Builder& b, const Op& op);

/// What the rest of the library may assume of a kind, beyond that it can be built.
enum OpTrait : uint32_t {
  /// The build function may take post-ops into its own steps; others take none.
  kFusesPostOps = 1u << 0,
  /// The result is faster in a layout of the op's own choice: others adapt to it in a concat.
  kLeadsLayout = 1u << 1,
  /// Inputs may be written by their producers straight into windows of the output (attribute
  /// `axis`).
  kJoinsInputs = 1u << 2,
  /// The output is the input's bytes, in row-major order, under another shape.
  kKeepsBytes = 1u << 3,
  /// The output is the input with its axes in another order (attribute `axes`).
  kPermutesAxes = 1u << 4,
};

/// A count that lies between two bounds, both included.
struct CountRange {
  int least, most;
};

/// The upper bound of a count that has none.
inline constexpr int kAny = 1 << 20;

/// One kind of op: a line of table.def.
struct OpKind {
  const char* name;    ///< how programs spell it
  CountRange inputs;   ///< how many operands an op of this kind may have
  CountRange outputs;  ///< how many results
  BuildFunction build;
  uint32_t traits;  ///< OpTrait flags

  /// True when the kind has this trait.
  bool Has(OpTrait trait) const { return (traits & trait) != 0; }
};

/// The record of a kind, or null when no line of the table has this name.
const OpKind* FindOpKind(std::string_view name);

/// All names, in the table's order, separated by commas: for messages.
std::string LegalKinds();

#define OP(kind, least_inputs, most_inputs, least_outputs, most_outputs, build, traits) \
  size_t build(Builder& b, const Op& op);
#include "table.def"
#undef OP

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_OPS_TABLE_H_

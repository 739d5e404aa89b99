/// \file program.h
/// \brief The program a segment's blob holds (see program.md), as typed and checked values.
///
///     blob (JSON) ──ReadProgram──▶ Program ──BuildSteps, per set of shapes──▶ StepList
///
/// A program says what is computed: no layouts, no primitives, no memory. It is read once and never
/// changed; shapes may hold variables, which get their values from the inputs of a call.
#ifndef BYOC_DNNL_PROGRAM_H_
#define BYOC_DNNL_PROGRAM_H_

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dims.h"

namespace byoc::onednn {

struct OpKind;  // ops/table.h

/// Element type of a value.
enum class DType : uint8_t { kFloat32, kInt32, kInt64, kUInt8, kInt8, kBool, kBFloat16 };

/// True for the two dtypes that hold reals.
inline bool IsFloat(DType dtype) { return dtype == DType::kFloat32 || dtype == DType::kBFloat16; }

/// Whether this CPU computes with bfloat16; programs that store some are read as float32 elsewhere.
bool HasBFloat16();

/// The name that programs and messages use, for example "float32".
const char* ToString(DType dtype);

/// Bytes of one element in memory; a bool takes one.
int64_t SizeOf(DType dtype);

/// Type of a value: shape (perhaps symbolic) and dtype.
struct ValueType {
  std::vector<DimExpr> shape;
  DType dtype = DType::kFloat32;
};

/// Attributes of an op, read by name and type.
///
/// Each reader throws ProgramError where the attribute is missing or of another type, so that a
/// build function may ask for what it needs without checking first.
class Attrs {
 public:
  using Value = std::variant<bool, int64_t, double, std::string, std::vector<DimExpr>>;

  /// Store an attribute; a later one of the same name replaces it.
  void Set(std::string name, Value value) { values_[std::move(name)] = std::move(value); }

  /// True when the program gives this attribute.
  bool Has(std::string_view name) const { return values_.find(name) != values_.end(); }

  /// A bool, an integer, or a string: exactly of that type.
  bool Bool(std::string_view name) const;
  int64_t Int(std::string_view name) const;
  const std::string& String(std::string_view name) const;

  /// A number; integers count too.
  float Float(std::string_view name) const;

  /// A list of dimensions, evaluated: entries may be expressions over the program's variables.
  Dims Ints(std::string_view name, const Bindings& bindings) const;

 private:
  const Value& Find(std::string_view name) const;
  std::map<std::string, Value, std::less<>> values_;
};

/// A step fused behind an op: an element-wise function, a binary op with a value, or rounding as a
/// quantised value would be rounded ("requantize").
///
/// The fields that count depend on which of the three it is; program.md has the formulas.
struct PostOp {
  bool is_binary = false;
  bool is_requantize = false;
  std::string alg;            ///< name of the function or binary op; "" for requantize
  float alpha = 0, beta = 0;  ///< eltwise: its parameters; requantize: least and largest integer
  int value = -1;             ///< binary: the right operand's value id
  float scale = 1;            ///< quant params of requantize, and of a binary's int8 operand
  int zero = 0;
};

/// One op of a program.
struct Op {
  const OpKind* kind = nullptr;  ///< never null in a program that was read
  std::vector<int> inputs;       ///< value ids
  std::vector<int> outputs;      ///< value ids, each written by this op alone
  Attrs attrs;
  std::vector<PostOp> post;  ///< in the order they apply, to the only output
  std::string source;        ///< name of the op in the user's model; may be ""
};

/// Where a program's variable gets its value: a dim of an input.
struct VariableSource {
  int input;  ///< position in Program::inputs
  int axis;
};

/// A whole program. Values are numbered from 0; every op reads only values made before it.
struct Program {
  bool bf16 = false;  ///< heavy ops may round their operands to bfloat16
  int instances = 8;  ///< of a program with variables: how many built ones are kept
  std::vector<ValueType> values;
  std::vector<int> inputs, outputs;  ///< value ids, in the caller's order
  std::vector<int> constants;        ///< per value: index into the artifact's constants, or -1
  std::vector<Op> ops;
  Variables variables;
  std::vector<VariableSource> variable_sources;  ///< per variable

  /// True when no shape holds a variable: one instance serves every call.
  bool IsStatic() const { return variables.Count() == 0; }
};

/// Read and check a blob, which may be damaged or hostile.
///
/// Checked here: JSON, version, every id, kind and arity of every op, every value written once and
/// before it is read, every variable bound by an input. Left to the build functions: shapes, dtypes
/// and attributes.
///
/// \param blob UTF-8 JSON; not kept.
/// \param constant_count Number of constants the artifact has.
/// \throw ProgramError naming the op and what is wrong with it.
Program ReadProgram(std::string_view blob, int constant_count);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_PROGRAM_H_

/*!
 * \file program.h
 * \brief The program a segment's blob holds (see program.md), as typed and checked values.
 */
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

enum class DType : uint8_t { kFloat32, kInt32, kInt64, kUInt8, kInt8, kBool };

/*! \brief "float32". */
const char* ToString(DType dtype);
/*! \brief Bytes of one element. */
int64_t SizeOf(DType dtype);

/*! \brief Type of a value: shape (perhaps symbolic) and dtype. */
struct ValueType {
  std::vector<DimExpr> shape;
  DType dtype = DType::kFloat32;
};

/*! \brief Attributes of an op, read by name and type; a missing or mistyped one is an error. */
class Attrs {
 public:
  using Value = std::variant<bool, int64_t, double, std::string, std::vector<DimExpr>>;

  void Set(std::string name, Value value) { values_[std::move(name)] = std::move(value); }
  bool Has(std::string_view name) const { return values_.find(name) != values_.end(); }
  bool Bool(std::string_view name) const;
  int64_t Int(std::string_view name) const;
  float Float(std::string_view name) const;
  const std::string& String(std::string_view name) const;
  Dims Ints(std::string_view name, const Bindings& bindings) const;

 private:
  const Value& Find(std::string_view name) const;
  std::map<std::string, Value, std::less<>> values_;
};

/*!
 * \brief A step fused behind an op: an element-wise function, a binary op with a value, or rounding
 * to the grid of an int8 value ("requantize").
 */
struct PostOp {
  bool is_binary = false;
  bool is_requantize = false;
  std::string alg;
  float alpha = 0, beta = 0;  // eltwise; requantize: the least and the largest integer
  int value = -1;             // binary: the right operand
  float scale = 1;            // requantize, and binary with an int8 value
  int zero = 0;
};

struct Op {
  const OpKind* kind = nullptr;  ///< never null in a program that was read
  std::vector<int> inputs, outputs;
  Attrs attrs;
  std::vector<PostOp> post;
  std::string source;
};

/*! \brief Where a program's variable gets its value: a dim of an input. */
struct VariableSource {
  int input;  // position in Program::inputs
  int axis;
};

struct Program {
  bool bf16 = false;  // heavy ops may round their operands to bfloat16
  int instances = 8;  // of a program with variables: how many are kept
  std::vector<ValueType> values;
  std::vector<int> inputs, outputs;
  std::vector<int> constants;  // per value: index into the artifact's constants, or -1
  std::vector<Op> ops;
  Variables variables;
  std::vector<VariableSource> variable_sources;  // per variable

  bool IsStatic() const { return variables.Count() == 0; }
};

/*!
 * \brief Read and check a blob.
 * \param constant_count Number of constants the artifact has.
 *
 * Checked here: JSON, version, every id, arity of every op, every value written once and before it
 * is read, every variable bound by an input. Throws ProgramError naming the op and what is wrong.
 */
Program ReadProgram(std::string_view blob, int constant_count);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_PROGRAM_H_

// Blob → Program. The blob may come from a damaged or hostile file: everything is checked before
// it is used, and the only way out other than a Program is a ProgramError.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "error.h"
#include "ops/table.h"
#include "program.h"

namespace byoc::onednn {
namespace {

namespace ffi = tvm::ffi;
namespace json = tvm::ffi::json;

constexpr int64_t kProgramVersion = 1;
constexpr int kMaxRank = 12;  // oneDNN's limit

/// Typed access to JSON; each error carries `where`.
class Reader {
 public:
  Reader(std::string_view blob, int constant_count) : constant_count_(constant_count) {
    CheckNesting(blob);
    ffi::String error;
    json::Value root = json::Parse(ffi::String(blob.data(), blob.size()), &error);
    if (error.size() != 0) Fail("program is no JSON: ", std::string(error));
    root_ = Object(root, "program");
  }

  Program Read() {
    int64_t version = Int(Get(root_, "version", "program"), "version");
    if (version != kProgramVersion) {
      Fail("program has version ", version, ", this library reads version ", kProgramVersion,
           "; compile the model again with this release of byoc");
    }
    ReadOptions();
    for (const json::Value& value : Array(Get(root_, "values", "program"), "values")) {
      program_.values.push_back(ReadValue(value));
    }
    program_.inputs = Ids(Get(root_, "inputs", "program"), "inputs");
    program_.outputs = Ids(Get(root_, "outputs", "program"), "outputs");
    ReadConstants();
    BindVariables();
    for (const json::Value& op : Array(Get(root_, "ops", "program"), "ops")) {
      program_.ops.push_back(ReadOp(op));
    }
    CheckFlow();
    return std::move(program_);
  }

 private:
  // The JSON parser recurses; a blob of brackets alone must not reach the end of the stack.
  static void CheckNesting(std::string_view blob) {
    constexpr int kMaxNesting = 32;
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < blob.size(); ++i) {
      char c = blob[i];
      if (quoted) {
        if (c == '\\') ++i;
        if (c == '"') quoted = false;
      } else if (c == '"') {
        quoted = true;
      } else if (c == '[' || c == '{') {
        if (++depth > kMaxNesting) Fail("program is no JSON of ours: nested too deeply");
      } else if (c == ']' || c == '}') {
        --depth;
      }
    }
  }

  static json::Object Object(const json::Value& value, const std::string& where) {
    if (auto object = value.as<json::Object>()) return *object;
    Fail(where, " must be an object");
  }

  static json::Array Array(const json::Value& value, const std::string& where) {
    if (auto array = value.as<json::Array>()) return *array;
    Fail(where, " must be a list");
  }

  static std::optional<json::Value> Find(const json::Object& object, const char* key) {
    auto it = object.find(ffi::String(key));
    if (it == object.end()) return std::nullopt;
    return (*it).second;
  }

  static json::Value Get(const json::Object& object, const char* key, const std::string& where) {
    if (auto value = Find(object, key)) return *value;
    Fail(where, " has no '", key, "'");
  }

  static std::string String(const json::Value& value, const std::string& where) {
    if (auto text = value.as<ffi::String>()) return std::string(*text);
    Fail(where, " must be a string");
  }

  // JSON numbers may arrive as integers or as whole floats.
  static std::optional<int64_t> AsInt(const json::Value& value) {
    if (value.type_index() == ffi::TypeIndex::kTVMFFIInt) return value.cast<int64_t>();
    if (value.type_index() == ffi::TypeIndex::kTVMFFIFloat) {
      double number = value.cast<double>();
      if (number == std::floor(number) && std::abs(number) < 9e15) {
        return static_cast<int64_t>(number);
      }
    }
    return std::nullopt;
  }

  static int64_t Int(const json::Value& value, const std::string& where) {
    if (auto number = AsInt(value)) return *number;
    Fail(where, " must be an integer");
  }

  static float Float(const json::Value& value, const std::string& where) {
    if (auto number = AsInt(value)) return static_cast<float>(*number);
    if (value.type_index() == ffi::TypeIndex::kTVMFFIFloat) {
      return static_cast<float>(value.cast<double>());
    }
    Fail(where, " must be a number");
  }

  DimExpr Dim(const json::Value& value, const std::string& where) {
    if (auto number = AsInt(value)) return DimExpr(*number);
    if (auto text = value.as<ffi::String>()) {
      return DimExpr::Parse(std::string_view(text->data(), text->size()), &program_.variables);
    }
    Fail(where, ": a dimension must be an integer or an expression");
  }

  std::vector<DimExpr> DimList(const json::Array& list, const std::string& where) {
    std::vector<DimExpr> dims;
    for (const json::Value& value : list) dims.push_back(Dim(value, where));
    return dims;
  }

  int Id(const json::Value& value, const std::string& where) {
    int64_t id = Int(value, where);
    int64_t count = static_cast<int64_t>(program_.values.size());
    if (id < 0 || id >= count) {
      Fail(where, " names value ", id, ", the program has values 0 to ", count - 1);
    }
    return static_cast<int>(id);
  }

  std::vector<int> Ids(const json::Value& value, const std::string& where) {
    std::vector<int> ids;
    for (const json::Value& id : Array(value, where)) ids.push_back(Id(id, where));
    return ids;
  }

  void ReadOptions() {
    if (auto fpmath = Find(root_, "fpmath")) {
      std::string mode = String(*fpmath, "fpmath");
      if (mode != "strict" && mode != "bf16") {
        Fail("fpmath is '", mode, "'; legal: strict, bf16");
      }
      program_.bf16 = mode == "bf16";
    }
    if (auto instances = Find(root_, "instances")) {
      int64_t count = Int(*instances, "instances");
      if (count < 1 || count > 1024) Fail("instances is ", count, ", expected 1 to 1024");
      program_.instances = static_cast<int>(count);
    }
  }

  ValueType ReadValue(const json::Value& json_value) {
    std::string where = "value " + std::to_string(program_.values.size());
    json::Object object = Object(json_value, where);
    ValueType type;
    type.shape = DimList(Array(Get(object, "shape", where), where + ".shape"), where + ".shape");
    if (type.shape.size() > kMaxRank) {
      Fail(where, " has ", type.shape.size(), " dimensions, at most ", kMaxRank, " are supported");
    }
    std::string dtype = String(Get(object, "dtype", where), where + ".dtype");
    constexpr DType kAll[] = {DType::kFloat32, DType::kInt32, DType::kInt64,   DType::kUInt8,
                              DType::kInt8,    DType::kBool,  DType::kBFloat16};
    auto it = std::find_if(std::begin(kAll), std::end(kAll),
                           [&](DType d) { return dtype == ToString(d); });
    if (it == std::end(kAll)) {
      Fail(where, " has dtype '", dtype,
           "'; legal: float32, int32, int64, uint8, int8, bool, bfloat16");
    }
    type.dtype = *it == DType::kBFloat16 && !HasBFloat16() ? DType::kFloat32 : *it;
    return type;
  }

  void ReadConstants() {
    program_.constants.assign(program_.values.size(), -1);
    json::Object table = Object(Get(root_, "constants", "program"), "constants");
    for (const auto& [key, index_value] : table) {
      std::string name = String(key, "a key of constants");
      bool is_number =
          !name.empty() && name.size() < 10 &&
          std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (!is_number) Fail("constants: key '", name, "' is no value id");
      int id = Id(json::Value(static_cast<int64_t>(std::stol(name))), "constants");
      int64_t index = Int(index_value, "constants." + name);
      if (index < 0 || index >= constant_count_) {
        Fail("constants.", name, " is ", index, ", the artifact has ", constant_count_,
             " constants");
      }
      program_.constants[id] = static_cast<int>(index);
    }
  }

  void BindVariables() {
    for (size_t i = 0; i < program_.inputs.size(); ++i) {
      const auto& shape = program_.values[program_.inputs[i]].shape;
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        int variable = shape[axis].BareVariable();
        if (variable < 0) continue;
        if (variable >= static_cast<int>(program_.variable_sources.size())) {
          program_.variable_sources.resize(variable + 1, {-1, -1});
        }
        VariableSource& source = program_.variable_sources[variable];
        if (source.input < 0) source = {static_cast<int>(i), static_cast<int>(axis)};
      }
    }
  }

  PostOp ReadPost(const json::Value& value, const std::string& where) {
    json::Object object = Object(value, where);
    PostOp post;
    std::string kind = String(Get(object, "post", where), where + ".post");
    if (kind == "requantize") {
      post.is_requantize = true;
      post.alpha = Float(Get(object, "low", where), where + ".low");
      post.beta = Float(Get(object, "high", where), where + ".high");
      ReadQuantParams(object, where, &post);
      return post;
    }
    post.alg = String(Get(object, "alg", where), where + ".alg");
    if (kind == "binary") {
      post.is_binary = true;
      post.value = Id(Get(object, "value", where), where + ".value");
      DType dtype = program_.values[post.value].dtype;
      if (dtype == DType::kInt8 || dtype == DType::kUInt8) ReadQuantParams(object, where, &post);
    } else if (kind == "eltwise") {
      if (auto alpha = Find(object, "alpha")) post.alpha = Float(*alpha, where + ".alpha");
      if (auto beta = Find(object, "beta")) post.beta = Float(*beta, where + ".beta");
    } else {
      Fail(where, ": post-op '", kind, "' is unknown; legal: eltwise, binary, requantize");
    }
    return post;
  }

  void ReadQuantParams(const json::Object& object, const std::string& where, PostOp* post) {
    post->scale = Float(Get(object, "scale", where), where + ".scale");
    if (!(post->scale > 0) || !std::isfinite(post->scale)) {
      Fail(where, ".scale is ", post->scale, ", expected a positive number");
    }
    int64_t zero = Int(Get(object, "zero", where), where + ".zero");
    if (zero < -128 || zero > 255) Fail(where, ".zero is ", zero, ", expected -128 to 255");
    post->zero = static_cast<int>(zero);
  }

  Attrs::Value ReadAttr(const json::Value& value, const std::string& where) {
    if (value.type_index() == ffi::TypeIndex::kTVMFFIBool) return value.cast<bool>();
    if (value.type_index() == ffi::TypeIndex::kTVMFFIInt) return value.cast<int64_t>();
    if (value.type_index() == ffi::TypeIndex::kTVMFFIFloat) return value.cast<double>();
    if (auto text = value.as<ffi::String>()) return std::string(*text);
    if (auto list = value.as<json::Array>()) return DimList(*list, where);
    Fail(where, " must be a bool, a number, a string or a list of dimensions");
  }

  Op ReadOp(const json::Value& value) {
    std::string where = "op " + std::to_string(program_.ops.size());
    json::Object object = Object(value, where);
    Op op;
    std::string kind = String(Get(object, "kind", where), where + ".kind");
    if (auto source = Find(object, "source")) op.source = String(*source, where + ".source");
    where += " (" + kind + (op.source.empty() ? "" : " '" + op.source + "'") + ")";
    op.kind = FindOpKind(kind);
    if (op.kind == nullptr) Fail(where, ": unknown kind; legal: ", LegalKinds());
    op.inputs = Ids(Get(object, "inputs", where), where + ".inputs");
    op.outputs = Ids(Get(object, "outputs", where), where + ".outputs");
    CheckCount(where, "inputs", op.inputs.size(), op.kind->inputs);
    CheckCount(where, "outputs", op.outputs.size(), op.kind->outputs);
    if (auto attrs = Find(object, "attrs")) {
      for (const auto& [key, attr] : Object(*attrs, where + ".attrs")) {
        std::string name = String(key, where + ".attrs");
        op.attrs.Set(name, ReadAttr(attr, where + "." + name));
      }
    }
    if (auto posts = Find(object, "post")) {
      for (const json::Value& post : Array(*posts, where + ".post")) {
        op.post.push_back(ReadPost(post, where + ".post"));
      }
    }
    if (!op.post.empty() && op.outputs.size() != 1) {
      Fail(where, ": post-ops need an op with one output");
    }
    return op;
  }

  static void CheckCount(const std::string& where, const char* what, size_t found,
                         const CountRange& range) {
    auto [low, high] = range;
    if (found >= static_cast<size_t>(low) && found <= static_cast<size_t>(high)) return;
    Fail(where, " has ", found, " ", what, ", expected ",
         low == high
             ? std::to_string(low)
             : std::to_string(low) + " to " + (high == kAny ? "any number" : std::to_string(high)));
  }

  // Every value is written once, before it is read; every variable has a source.
  void CheckFlow() {
    std::vector<bool> written(program_.values.size(), false);
    auto write = [&](int value, const std::string& by) {
      if (written[value]) Fail(by, " writes value ", value, ", which has a writer already");
      written[value] = true;
    };
    for (int value : program_.inputs) write(value, "inputs");
    for (size_t v = 0; v < program_.values.size(); ++v) {
      if (program_.constants[v] >= 0) write(static_cast<int>(v), "constants");
    }
    for (size_t i = 0; i < program_.ops.size(); ++i) {
      const Op& op = program_.ops[i];
      std::string where =
          "op " + std::to_string(i) + " (" + op.kind->name + " '" + op.source + "')";
      auto read = [&](int value) {
        if (!written[value]) Fail(where, " reads value ", value, " before it is written");
      };
      for (int value : op.inputs) read(value);
      for (const PostOp& post : op.post) {
        if (post.is_binary) read(post.value);
      }
      for (int value : op.outputs) write(value, where);
    }
    for (int value : program_.outputs) {
      if (!written[value]) Fail("outputs: value ", value, " is never written");
    }
    auto& sources = program_.variable_sources;
    sources.resize(program_.variables.Count(), {-1, -1});
    for (int v = 0; v < program_.variables.Count(); ++v) {
      if (sources[v].input < 0) {
        Fail("variable '", program_.variables.Name(v),
             "' is bound by no input: no input has it as a bare dimension");
      }
    }
  }

  int constant_count_;
  json::Object root_;
  Program program_;
};

}  // namespace

Program ReadProgram(std::string_view blob, int constant_count) {
  return Reader(blob, constant_count).Read();
}

}  // namespace byoc::onednn

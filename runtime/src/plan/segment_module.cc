/*
 * Bytes of a "byoc.segment" module, all numbers u64 little-endian, strings as length + bytes:
 *
 *   version | symbol | vendor | options | blob | count | count x { dtype | rank | dims | data }
 */
#include "plan/segment_module.h"

#include <tvm/ffi/cast.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "byoc/vendor.h"
#include "core/buffer.h"
#include "core/errors.h"
#include "core/tensors.h"

namespace byoc {
namespace {

namespace ffi = tvm::ffi;

constexpr uint64_t kVersion = 1;

class Writer {
 public:
  void Number(uint64_t n) { out_.append(reinterpret_cast<const char*>(&n), sizeof(n)); }
  void Bytes(const char* data, size_t size) {
    Number(size);
    out_.append(data, size);
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  Reader(const char* data, size_t size) : data_(data), left_(size) {}
  uint64_t Number() {
    uint64_t n;
    std::memcpy(&n, Raw(sizeof(n)), sizeof(n));
    return n;
  }
  std::string Bytes() {
    const uint64_t size = Number();
    return std::string(Raw(size), size);
  }
  const char* Raw(uint64_t size) {
    if (size > left_) ThrowArtifactError("segment module: truncated");
    const char* at = data_;
    data_ += size;
    left_ -= size;
    return at;
  }

 private:
  const char* data_;
  uint64_t left_;
};

class FunctionModuleObj : public ffi::ModuleObj {
 public:
  explicit FunctionModuleObj(ffi::Map<ffi::String, ffi::Function> functions)
      : functions_(std::move(functions)) {}
  const char* kind() const final { return "byoc.functions"; }
  int GetPropertyMask() const final { return ffi::Module::kRunnable; }
  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    return functions_.Get(name);
  }

 private:
  ffi::Map<ffi::String, ffi::Function> functions_;
};

class SegmentModuleObj : public ffi::ModuleObj {
 public:
  SegmentModuleObj(std::string symbol, std::string vendor, std::string options, ffi::Bytes blob,
                   ffi::Array<ffi::Tensor> constants)
      : symbol_(std::move(symbol)),
        vendor_(std::move(vendor)),
        options_(std::move(options)),
        blob_(std::move(blob)),
        constants_(std::move(constants)) {}

  const char* kind() const final { return "byoc.segment"; }
  int GetPropertyMask() const final {
    return ffi::Module::kBinarySerializable | ffi::Module::kRunnable;
  }

  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    if (std::string(name) != symbol_) return std::nullopt;
    auto self = ffi::GetObjectPtr<SegmentModuleObj>(this);
    return ffi::Function::FromPacked([self](ffi::PackedArgs args, ffi::Any* result) {
      try {
        self->Execute().CallPacked(args, result);
      } catch (const ffi::Error&) {
        throw;
      } catch (...) {  // TVM's own code lets nothing else pass
        TVM_FFI_THROW(RuntimeError) << "vendor '" << self->vendor_ << "', segment '"
                                    << self->symbol_ << "': " << details::CurrentException();
      }
    });
  }

  ffi::Bytes SaveToBytes() const final {
    Writer out;
    out.Number(kVersion);
    for (const std::string* text : {&symbol_, &vendor_, &options_}) {
      out.Bytes(text->data(), text->size());
    }
    out.Bytes(blob_.data(), blob_.size());
    out.Number(constants_.size());
    for (const ffi::Tensor& tensor : constants_) {
      const DLTensor& t = *tensor.GetDLTensorPtr();
      const std::string dtype(ffi::DLDataTypeToString(t.dtype));
      out.Bytes(dtype.data(), dtype.size());
      out.Number(static_cast<uint64_t>(t.ndim));
      for (int i = 0; i < t.ndim; ++i) out.Number(static_cast<uint64_t>(t.shape[i]));
      out.Bytes(static_cast<const char*>(t.data) + t.byte_offset, ffi::GetDataSize(t));
    }
    return ffi::Bytes(out.Take());
  }

 private:
  const ffi::Function& Execute() {
    std::call_once(once_, [this] {
      const std::string name = "byoc.vendor." + vendor_ + ".init";
      auto init = ffi::Function::GetGlobal(name);
      if (!init) {  // Python knows where installed vendors keep their libraries
        if (auto load = ffi::Function::GetGlobal("byoc.load_vendor")) {
          (*load)(ffi::String(vendor_));
          init = ffi::Function::GetGlobal(name);
        }
      }
      if (!init) {
        TVM_FFI_THROW(RuntimeError) << "segment '" << symbol_ << "' needs vendor '" << vendor_
                                    << "', whose runtime is not loaded (no function '" << name
                                    << "'); import byoc and the vendor's package first";
      }
      execute_ = (*init)(blob_, constants_, ffi::String(options_)).cast<ffi::Function>();
      // Kept: a module that has run can still be exported.
    });
    return execute_;
  }

  const std::string symbol_, vendor_, options_;
  const ffi::Bytes blob_;
  const ffi::Array<ffi::Tensor> constants_;
  std::once_flag once_;
  ffi::Function execute_;
};

}  // namespace

ffi::Module FunctionModule(ffi::Map<ffi::String, ffi::Function> functions) {
  return ffi::Module(ffi::make_object<FunctionModuleObj>(std::move(functions)));
}

ffi::Module SegmentModule(ffi::String symbol, ffi::String vendor, ffi::Bytes blob,
                          ffi::Array<ffi::Tensor> constants, ffi::String options) {
  for (const ffi::Tensor& t : constants) {
    if (!t.IsContiguous() || t.device().device_type != kDLCPU) {
      TVM_FFI_THROW(ValueError) << "segment '" << symbol
                                << "': constants must be dense, on the CPU";
    }
  }
  return ffi::Module(ffi::make_object<SegmentModuleObj>(std::string(symbol), std::string(vendor),
                                                        std::string(options), std::move(blob),
                                                        std::move(constants)));
}

ffi::Module LoadSegmentModule(const ffi::Bytes& bytes) {
  Reader in(bytes.data(), bytes.size());
  const uint64_t version = in.Number();
  if (version != kVersion) {
    ThrowArtifactError("segment module has version " + std::to_string(version) +
                       ", this byoc reads version " + std::to_string(kVersion));
  }
  ffi::String symbol = in.Bytes(), vendor = in.Bytes(), options = in.Bytes();
  ffi::Bytes blob = in.Bytes();
  ffi::Array<ffi::Tensor> constants;
  for (uint64_t count = in.Number(); count > 0; --count) {
    const DLDataType dtype = ffi::StringToDLDataType(in.Bytes());
    constexpr uint64_t kMaxRank = 64;
    const uint64_t rank = in.Number();
    if (rank > kMaxRank)
      ThrowArtifactError("segment module: constant of rank " + std::to_string(rank));
    std::vector<int64_t> shape;
    for (uint64_t i = 0; i < rank; ++i) shape.push_back(static_cast<int64_t>(in.Number()));
    const uint64_t size = in.Number();
    const char* data = in.Raw(size);
    if (NumBytes(shape.data(), shape.size(), dtype) != size) {
      ThrowArtifactError("segment module: a constant's size does not match its shape");
    }
    ffi::Tensor tensor = NewTensor(ffi::ShapeView(shape.data(), shape.size()), dtype);
    std::memcpy(tensor.data_ptr(), data, size);
    constants.push_back(std::move(tensor));
  }
  return SegmentModule(symbol, vendor, blob, constants, options);
}

}  // namespace byoc

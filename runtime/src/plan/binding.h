/// \file
/// From a vendor's `init` to a segment that runs, and the memory that it holds.
#ifndef BYOC_RUNTIME_BINDING_H_
#define BYOC_RUNTIME_BINDING_H_

#include <tvm/ffi/any.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace byoc {

/// How many of a segment's arguments are read and written; -1: not known.
struct PortCounts {
  int64_t inputs = -1;
  int64_t outputs = -1;
};

/// A segment as its file has it, for its vendor to load.
struct SegmentSource {
  std::string vendor;
  std::string version;  // of the vendor that compiled it
  std::string processor;
  std::string options;  // JSON
  std::string name;
  tvm::ffi::Tensor blob;  // bytes, private or mapped; its pages are given back
  tvm::ffi::Array<tvm::ffi::Tensor> constants;
  PortCounts ports;
  /// [name, dtype, [dimension]] of each; empty: not known.
  tvm::ffi::Array<tvm::ffi::Any> inputs, outputs;
};

/// A segment ready to run.
struct Binding {
  tvm::ffi::Function execute;      // execute(inputs..., outputs...)
  size_t packed = 0;               // bytes the vendor holds of its own, as far as it tells
  size_t workspace = 0;            // bytes of each call, as far as it tells
  PortCounts ports;                // as the vendor tells
  size_t depth = 0;                // calls that its queue takes at a time; 0: it has none
  std::vector<size_t> in_use;      // constants it goes on reading where they are
  std::set<const void*> released;  // constants that `init` gave the pages back of
};

/// Asks the vendor whether it can load the segment, and calls its `init(blob, constants, options)`,
/// both on the thread of the processor: libraries divide their work by the number of threads there.
/// Pages of blob and constants that are mapped are given back afterwards. What it executes is
/// watched (segment_check.h), and is let go on that thread.
///
/// Throws ValueError where the vendor tells other ports, or has a queue and runs on "cpu";
/// byoc.VendorError where it cannot load it.
Binding BindSegment(const tvm::ffi::Function& init, const SegmentSource& source);

/// Returns `function`, whose last holder may be on any thread; what it holds goes on the thread of
/// a processor, after `close`, which may be null.
tvm::ffi::Function LetGoOn(const std::string& processor, tvm::ffi::Function function,
                           std::function<void()> close = nullptr);

/// What the segment that is being bound on this thread has beside its artifact, by the keys of
/// byoc/segment_init.h; null when none is.
tvm::ffi::Any SegmentContext();

/// The segment that is being bound on this thread; null when none is.
const SegmentSource* SegmentAtHand();

/// The ports of the segment that is being bound on this thread; not known when none is.
PortCounts PortsAtHand();

/// Returns the processors of a vendor's devices: `processor` where there is one, else "npu:0",
/// "npu:1" and so on, which `processor` stands for from then on. A processor that is a device
/// itself ("npu:1") is returned as it is.
///
/// \param count how many devices there are; below 0: the vendor's library tells (one, if not).
/// Throws byoc.VendorError where there is none, or the processor names none of them.
std::vector<std::string> DevicesOf(const std::string& vendor, const std::string& processor,
                                   int64_t count);

/// Returns a function that calls the one of the device that the calling run has: see `CallContext`.
tvm::ffi::Function OfDevices(std::vector<tvm::ffi::Function> functions);

/// Gives back pages of a mapped constant; what a vendor releases within its `init` is noted.
void ReleasePages(int64_t address, int64_t size);

/// Notes what a vendor tells, in bytes, from within its `init`: see `SegmentRuntime::Memory`.
void TellMemory(int64_t packed, int64_t workspace);

/// Notes how many calls the vendor takes at a time, from within its `init`; its processor will have
/// as many in flight. Throws ValueError for a number that is none.
void TellDepth(int64_t depth);

/// Notes how many inputs and outputs the segment takes, from within its `init`.
void TellPorts(int64_t inputs, int64_t outputs);

}  // namespace byoc

#endif  // BYOC_RUNTIME_BINDING_H_

/// \file
/// Files mapped for reading, and giving their pages back.
///
/// Weights are mapped, read once by a vendor that packs them, and seldom needed again. Dropping the
/// pages right after packing keeps a process near one copy of its weights.
#ifndef BYOC_RUNTIME_MAPPING_H_
#define BYOC_RUNTIME_MAPPING_H_

#include <tvm/ffi/container/tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace byoc {

/// A file that must stay as it was while it is mapped. Any thread may ask.
///
/// What is noticed is somebody who writes to the file in place: it has another size or time of
/// change then. A file that is replaced (a new one is renamed over it) lives on, unchanged, for who
/// has mapped it.
class FileWatch {
 public:
  /// What a file system tells of a file whenever it is written to.
  struct Stamp {
    int64_t size, seconds, nanoseconds;
    bool operator==(const Stamp& other) const {
      return size == other.size && seconds == other.seconds && nanoseconds == other.nanoseconds;
    }
  };
  /// Returns the stamp of an open file; a size of -1 when there is none.
  static Stamp StampOf(int fd);

  /// \param fd an open file; may be closed afterwards.
  /// \param stamp of the file before its content was verified.
  /// \param verify whether the content is still the same; asked when the stamp has changed.
  FileWatch(int fd, Stamp stamp, std::function<bool()> verify);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  /// Whether the file is as it was; once it is not, it never is again.
  bool Same();
  /// Throws byoc.ExecutionError unless `Same`.
  void Check();

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

/// Maps `size` bytes at `offset` (a multiple of the page size) of an open file, read-only, as a
/// uint8 tensor that unmaps them when it goes. Throws byoc.ArtifactError.
tvm::ffi::Tensor MapFile(int64_t fd, int64_t offset, int64_t size);

/// The same of a file that is watched; `WatchesOf` finds the watch.
tvm::ffi::Tensor MapFile(int64_t fd, int64_t offset, int64_t size,
                         std::shared_ptr<FileWatch> watch);

/// Returns the watches of the files that arrays lie in, each once.
std::vector<std::shared_ptr<FileWatch>> WatchesOf(const std::vector<const void*>& arrays);

/// Notes what is known to lie in a mapped file, for `KnownContent`: a name of the bytes.
void NoteContent(const void* data, size_t size, std::string name);

/// Returns the name that was noted of exactly these bytes; "" where none was.
std::string KnownContent(const void* data, size_t size);

/// Drops the pages of [address, address + size) if they belong to a mapped file; they are read
/// again when touched. Does nothing for any other memory.
void DropPages(int64_t address, int64_t size);

/// Whether an address lies in a mapped file.
bool IsMapped(int64_t address);

}  // namespace byoc

#endif  // BYOC_RUNTIME_MAPPING_H_

/*!
 * \file engine_store.h
 * \brief Engines that vendors have built on this machine, kept between runs: a file each.
 *
 * \code
 *   <cache>/engines/<key>.engine        checksum │ sizes │ about, JSON │ padding │ engine
 *                   .<key>.<n>.part     being written, locked by its writer; renamed when whole
 *                   <key>.<n>.aside     what was damaged, or refused by its vendor
 *                   lock                byte number hash(key) is locked by who builds that engine
 * \endcode
 *
 * Readers need no lock: a file appears whole and is never written again, only removed. Locks are
 * the system's, which lets go of them when their process ends, however it ends. Nothing here is
 * worth an error: what cannot be read or written is built again.
 */
#ifndef BYOC_RUNTIME_ENGINE_STORE_H_
#define BYOC_RUNTIME_ENGINE_STORE_H_

#include <tvm/ffi/container/tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/descriptors.h"

namespace byoc {

/*! \brief A file of the store, for those who look after it. */
struct StoredEngine {
  /*! \brief Its name without the ending. */
  std::string key;
  /*! \brief JSON, as `EngineStore::Keep` was given it; empty where it cannot be read. */
  std::string about;
  /*! \brief Of the file. */
  uint64_t bytes = 0;
  /*! \brief Seconds since 1970. */
  double used = 0;
  /*! \brief What is wrong with it; empty: nothing that was looked at. */
  std::string problem;
};

/*! \brief The right to build one engine, of all processes that share a store. */
class BuildLock {
 public:
  /*! \brief Not yet taken. `folder`: the store's. */
  BuildLock(const std::string& folder, const std::string& key);
  /*!
   * \brief Take the right, unless another thread or process has it.
   * \return Also true where the file system knows no locks: then two may build the same.
   */
  bool Try();

 private:
  Fd file_;
  int64_t place_;
};

/*! \brief The store; any number of threads and processes may use a folder at once. */
class EngineStore {
 public:
  /*! \brief `folder`: which is there, or "": then nothing is kept. */
  explicit EngineStore(std::string folder);
  /*! \brief The store of this user: see `CacheFolder`. */
  static EngineStore OfUser();

  /*!
   * \brief An engine's bytes, mapped, once all of them are known to be what was written.
   *
   * A damaged file is set aside. One that is found counts as used now.
   */
  std::optional<tvm::ffi::Tensor> Find(const std::string& key) const;

  /*!
   * \brief Keep an engine, and remove those that were not used for longest while there is too much.
   * \param about One JSON object, for people.
   * \param limit Bytes of all files together.
   * \return Why it is not kept; empty when it is.
   */
  std::string Keep(const std::string& key, const std::string& about, const void* data,
                   uint64_t size, uint64_t limit) const;

  /*! \brief Put a file out of the way, for people to look at; it is removed as others are. */
  void SetAside(const std::string& key) const;

  /*! \brief All files; `whole`: read every byte of them, and set aside what is damaged. */
  std::vector<StoredEngine> List(bool whole) const;

  /*! \brief Remove an engine, or what was set aside under its key; whether it was there. */
  bool Remove(const std::string& key) const;

  /*!
   * \brief Remove what writers that are gone have left, and files that were not used for longest
   * until the others have at most `limit` bytes.
   * \return How many engines were removed.
   */
  int64_t Prune(uint64_t limit) const;

  const std::string& folder() const { return folder_; }

 private:
  std::string Path(const std::string& key) const;

  std::string folder_;
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_ENGINE_STORE_H_

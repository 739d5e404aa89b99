#include "artifact/engine_store.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace byoc {
namespace {

constexpr uint64_t kMost = uint64_t{1} << 30;

/*! \brief A folder that is empty, and gone afterwards. */
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/byoc-engines-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() {
    EngineStore store(path_);
    for (const StoredEngine& engine : store.List(false)) store.Remove(engine.key);
    unlink((path_ + "/lock").c_str());
    rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string Content(const EngineStore& store, const std::string& key) {
  const auto found = store.Find(key);
  if (!found) return "none";
  CHECK_EQ(reinterpret_cast<uintptr_t>(found->data_ptr()) % 64, 0u);
  return std::string(static_cast<const char*>(found->data_ptr()),
                     static_cast<size_t>(found->shape()[0]));
}

TEST(EngineOfAnySizeComesBack) {
  const Folder folder;
  const EngineStore store(folder.path());
  for (size_t size : {0, 1, 7, 8, 9, 31, 32, 33, 40, 4096, 100000}) {
    for (size_t about : {2, 3000, 4088}) {
      std::string bytes;
      for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + about);
      CHECK_EQ(store.Keep("k", std::string(about, ' '), bytes.data(), size, kMost), std::string());
      CHECK_EQ(Content(store, "k"), bytes);
    }
  }
}

TEST(EngineWithAnyByteChangedIsSetAside) {
  const Folder folder;
  const EngineStore store(folder.path());
  const std::string path = folder.path() + "/k.engine";
  const std::string bytes(100, 'x');
  for (int at = 0; at < 4196; at += at < 60 || at > 4090 ? 1 : 97) {
    store.Keep("k", "{}", bytes.data(), bytes.size(), kMost);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const auto before = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(before ^ 16));
    file.close();
    CHECK_EQ(Content(store, "k"), std::string("none"));
    CHECK_EQ(access(path.c_str(), F_OK), -1);
  }
}

TEST(EnginesThatWereNotUsedForLongestGoFirst) {
  const Folder folder;
  const EngineStore store(folder.path());
  const std::string bytes(1000, 'x');
  const auto size = uint64_t{4096} + bytes.size();
  for (const char* key : {"a", "b", "c"}) {
    store.Keep(key, "{}", bytes.data(), bytes.size(), 3 * size);
    usleep(20000);
  }
  CHECK_EQ(Content(store, "a"), bytes);
  usleep(20000);
  store.Keep("d", "{}", bytes.data(), bytes.size(), 3 * size);
  CHECK_EQ(Content(store, "b"), std::string("none"));
  CHECK_EQ(Content(store, "a"), bytes);
  CHECK_EQ(store.Keep("e", "{}", bytes.data(), bytes.size(), size - 1).empty(), false);
  CHECK_EQ(store.Prune(0), 3);
  CHECK_EQ(store.List(true).size(), 0u);
}

TEST(OneOfManyHasTheRightToBuild) {
  const Folder folder;
  std::atomic<int> inside{0}, most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) {
        BuildLock lock(folder.path(), "k");
        if (!lock.Try()) continue;
        const int now = ++inside;
        if (now > most) most = now;
        BuildLock other(folder.path(), "another");
        other.Try();
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(most.load(), 1);
}

TEST(ThreadsMayUseAStoreAtOnce) {
  const Folder folder;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const EngineStore store(folder.path());
      for (int k = 0; k < 40; ++k) {
        const std::string key(1, static_cast<char>('a' + k % 3));
        const std::string bytes(500, key[0]);
        if (i % 2 == 0) store.Keep(key, "{}", bytes.data(), bytes.size(), 10000);
        const std::string found = Content(store, key);
        if (found != "none" && found != bytes) ++wrong;
        if (i == 3) store.List(true);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

TEST(NoFolderNoEngine) {
  const EngineStore store("");
  CHECK_EQ(store.Keep("k", "{}", "x", 1, kMost).empty(), false);
  CHECK_EQ(Content(store, "k"), std::string("none"));
  CHECK_EQ(store.List(true).size(), 0u);
  CHECK_EQ(store.Remove("k"), false);
  CHECK_EQ(BuildLock("", "k").Try(), true);
}

}  // namespace
}  // namespace byoc

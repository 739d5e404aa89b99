#include "byoc/session.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"

namespace {

using byoc::BufferOf, byoc::Session, byoc::SessionError;

std::string Artifact(const std::string& name) {
  const char* folder = std::getenv("BYOC_TEST_ARTIFACTS");
  if (folder == nullptr) check::Fail(__FILE__, __LINE__, "BYOC_TEST_ARTIFACTS is not set");
  return std::string(folder) + "/" + name;
}

std::vector<float> Floats(const std::string& name, size_t count) {
  std::vector<float> values(count);
  std::ifstream file(Artifact(name), std::ios::binary);
  const auto bytes = static_cast<std::streamsize>(count * sizeof(float));
  if (!file.read(reinterpret_cast<char*>(values.data()), bytes)) {
    check::Fail(__FILE__, __LINE__, "cannot read " + name);
  }
  return values;
}

constexpr size_t kIn = 3 * 20 * 20, kOut = 32;

std::vector<float> Run(Session& session) {
  static const std::vector<float> x = Floats("x.bin", kIn);
  std::vector<float> y(kOut);
  session.Run({BufferOf(x)}, {BufferOf(y)});
  return y;
}

void CheckAnswer(const std::string& name, const std::vector<float>& y, float tolerance = 1e-5f) {
  const std::vector<float> expected = Floats(name + ".y", kOut);
  for (size_t i = 0; i < kOut; ++i) {
    if (std::fabs(y[i] - expected[i]) <= 1e-6f + tolerance * std::fabs(expected[i])) continue;
    check::Fail(__FILE__, __LINE__,
                name + ": output " + std::to_string(i) + " is " + std::to_string(y[i]) +
                    ", Python gives " + std::to_string(expected[i]));
  }
}

/*! \brief Opening must fail with this status and a text that holds `part`. */
void CheckRefused(const std::string& path, byoc_options options, byoc_status status,
                  const std::string& part) {
  options.size = sizeof(options);
  byoc_session* session = reinterpret_cast<byoc_session*>(1);
  const byoc_status found = byoc_open(path.c_str(), &options, &session);
  const std::string text = byoc_last_error();
  if (found == BYOC_OK) check::Fail(__FILE__, __LINE__, path + " is not refused");
  CHECK(session == nullptr);
  if ((status != BYOC_OK && found != status) || text.find(part) == std::string::npos) {
    check::Fail(
        __FILE__, __LINE__,
        path + ": expected \"" + part + "\" in \"" + text + "\" (" + std::to_string(found) + ")");
  }
}

/*! \brief Address ranges that are mapped from files whose path ends in `suffix`. */
size_t Mappings(const std::string& suffix) {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.size() >= suffix.size() &&
        line.compare(line.size() - suffix.size(), suffix.size(), suffix) == 0) {
      ++count;
    }
  }
  return count;
}

TEST(AnswersAreThoseOfPython) {
  for (const char* name : {"host", "dnnl", "mixed"}) {
    Session session(Artifact(std::string(name) + ".byoc"));
    CHECK_EQ(session.name(), std::string("net"));
    CHECK_EQ(session.inputs().size(), 1u);
    CHECK_EQ(session.inputs()[0].name, std::string("x"));
    CHECK_EQ(session.inputs()[0].dtype, std::string("float32"));
    CHECK(session.inputs()[0].shape == (std::vector<int64_t>{1, 3, 20, 20}));
    CHECK_EQ(session.outputs()[0].bytes, kOut * sizeof(float));
    for (int i = 0; i < 3; ++i) CheckAnswer(name, Run(session));
    const byoc_memory m = session.memory();
    CHECK_EQ(m.ports, (kIn + kOut) * sizeof(float));
    CHECK(m.weights + m.packed > 16 * 32 * 9 * sizeof(float));
    CHECK(m.workspace > 16 * 20 * 20 * sizeof(float));
    CHECK_EQ(m.peak, m.weights + m.packed + m.workspace + m.ports + m.code);
  }
}

TEST(RefusalsAreThoseOfPython) {
  std::ifstream list(Artifact("refused.tsv"));
  size_t count = 0;
  for (std::string line; std::getline(list, line); ++count) {
    const size_t first = line.find('\t'), second = line.find('\t', first + 1);
    const std::string key = line.substr(first + 1, second - first - 1);
    const std::string key_path = Artifact(key);
    byoc_options options{};
    if (!key.empty()) options.require_signature = key_path.c_str();
    CheckRefused(Artifact(line.substr(0, first)), options, BYOC_ERROR_ARTIFACT,
                 line.substr(second + 1));
  }
  CHECK(count > 200);
}

TEST(WhatNeedsPythonIsRefusedByName) {
  CheckRefused(Artifact("python.byoc"), {}, BYOC_ERROR_VENDOR,
               "vendor 'onnxruntime' runs in Python");
  CheckRefused(Artifact("dynamic.byoc"), {}, BYOC_ERROR_ARTIFACT, "runs on TVM's VM");
  CheckRefused(Artifact("isolated.byoc"), {}, BYOC_ERROR_VENDOR,
               "vendor 'dnnl' is to run in a process of its own");
  byoc_options options{};
  options.no_isolation = 1;
  Session session(Artifact("isolated.byoc"), options);
  CheckAnswer("isolated", Run(session));
}

TEST(AMissingVendorIsNamed) {
  CheckRefused(
      Artifact("nosuch.vendor"), {}, BYOC_ERROR_VENDOR,
      "vendor 'nosuch': library libbyoc_nosuch.so (package 'nosuch') is missing; searched");
  CheckRefused(Artifact("evil.vendor"), {}, BYOC_ERROR_VENDOR,
               "'../../evil' is no name of a library");
}

TEST(FilesThatAreNone) {
  CheckRefused(Artifact("nothing.byoc"), {}, BYOC_ERROR_ARTIFACT, "No such file or directory");
  CheckRefused(Artifact(""), {}, BYOC_ERROR_ARTIFACT, "this is no regular file");
  const std::string key = Artifact("x.bin"), none = Artifact("none.pem");
  byoc_options options{};
  options.require_signature = key.c_str();
  CheckRefused(Artifact("signed.byoc"), options, BYOC_ERROR_ARGUMENT,
               "holds no public key in PEM form");
  options.require_signature = none.c_str();
  CheckRefused(Artifact("signed.byoc"), options, BYOC_ERROR_ARGUMENT, "cannot read the key");
  const std::string mine = Artifact("mine.pem");
  options.require_signature = mine.c_str();
  Session session(Artifact("signed.byoc"), options);
  CheckAnswer("dnnl", Run(session));
}

/*!
 * \brief While somebody writes to the file in place: the answer that the file was made for, or an
 * error; never what nobody has verified.
 */
TEST(AWriterWhileTheFileIsLoaded) {
  std::ifstream source(Artifact("mixed.byoc"), std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(source)), {});
  const std::string path = Artifact("written.byoc");
  std::ofstream(path, std::ios::binary) << good;
  // The header of the host library's code, and a number of the plan.
  const size_t host = good.find("\177ELF"), plan = good.find("\"arena_bytes\":") + 15;
  CHECK(host != std::string::npos && plan > 15 && plan < good.size());
  const int fd = open(path.c_str(), O_WRONLY);
  CHECK(fd >= 0);
  const auto put = [&](size_t at, const std::string& bytes) {
    CHECK_EQ(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at)),
             static_cast<ssize_t>(bytes.size()));
  };
  const std::string text = good.substr(host, 64);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      put(host, std::string(64, '\0')), put(plan, "9");
      put(host, text), put(plan, good.substr(plan, 1));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  int right = 0, refused = 0;
  for (int i = 0; i < 60; ++i) {
    try {
      Session session(path);
      CheckAnswer("mixed", Run(session));
      ++right;
    } catch (const SessionError& error) {
      CHECK_EQ(error.status(), BYOC_ERROR_ARTIFACT);
      CHECK(std::string(error.what()).find("is damaged: its sha256 differs") != std::string::npos);
      ++refused;
    }
  }
  stop = true;
  writer.join();
  close(fd);
  std::remove(path.c_str());
  CHECK_EQ(right + refused, 60);
}

/*! \brief Once a file is loaded, whoever writes to it changes no answer, and ends no process. */
TEST(AWriterWhileTheFileIsUsed) {
  for (const char* name : {"host", "dnnl", "signed"}) {
    std::ifstream source(Artifact(std::string(name) + ".byoc"), std::ios::binary);
    const std::string good((std::istreambuf_iterator<char>(source)), {});
    const std::string path = Artifact("used.byoc"), mine = Artifact("mine.pem");
    std::ofstream(path, std::ios::binary) << good;
    byoc_options options{};
    if (std::string(name) == "signed") options.require_signature = mine.c_str();
    Session session(path, options);
    std::ofstream(path, std::ios::binary) << std::string(good.size(), '\0');
    CheckAnswer(name == std::string("signed") ? "dnnl" : name, Run(session));
    CHECK_EQ(truncate(path.c_str(), 100), 0);
    CheckAnswer(name == std::string("signed") ? "dnnl" : name, Run(session));
    std::ofstream(path, std::ios::binary) << good;
    Session again(path, options);
    CheckAnswer(name == std::string("signed") ? "dnnl" : name, Run(again));
    std::remove(path.c_str());
  }
}

TEST(CallsThatDoNotFit) {
  Session session(Artifact("dnnl.byoc"));
  byoc_session* handle = session.handle();
  std::vector<float> x(kIn + 1), y(kOut);
  const byoc_buffer in = {x.data(), kIn * sizeof(float)}, out = BufferOf(y);
  const auto fails = [](byoc_status found, byoc_status expected, const char* part) {
    const std::string text = byoc_last_error();
    if (found != expected || text.find(part) == std::string::npos) {
      check::Fail(__FILE__, __LINE__, std::string(part) + " not in " + text);
    }
  };
  byoc_buffer wrong = in;
  wrong.bytes = 12;
  fails(byoc_run(handle, &wrong, 1, &out, 1), BYOC_ERROR_INPUT,
        "input 'x' has 12 bytes, expected 4800 (float32[1, 3, 20, 20])");
  wrong = {nullptr, in.bytes};
  fails(byoc_run(handle, &wrong, 1, &out, 1), BYOC_ERROR_INPUT, "input 'x' is a null pointer");
  wrong = {reinterpret_cast<char*>(x.data()) + 1, in.bytes};
  fails(byoc_run(handle, &wrong, 1, &out, 1), BYOC_ERROR_INPUT, "is not aligned to its elements");
  fails(byoc_run(handle, &in, 2, &out, 1), BYOC_ERROR_INPUT, "the model has 1 inputs, got 2");
  fails(byoc_run(handle, &in, 1, &out, 0), BYOC_ERROR_INPUT, "the model has 1 outputs, got 0");
  fails(byoc_run(handle, nullptr, 1, &out, 1), BYOC_ERROR_ARGUMENT, "null pointer");
  fails(byoc_run(nullptr, &in, 1, &out, 1), BYOC_ERROR_ARGUMENT, "session is a null pointer");
  byoc_port port;
  fails(byoc_input(handle, 1, &port), BYOC_ERROR_ARGUMENT, "input 1 of 1");
  fails(byoc_output(handle, 0, nullptr), BYOC_ERROR_ARGUMENT, "port is a null pointer");
  fails(byoc_get_memory(handle, nullptr), BYOC_ERROR_ARGUMENT, "memory is a null pointer");
  fails(byoc_set_num_threads(0), BYOC_ERROR_ARGUMENT, "must be from 1 to 1024");
  byoc_session* opened = nullptr;
  fails(byoc_open(nullptr, nullptr, &opened), BYOC_ERROR_ARGUMENT, "path is a null pointer");
  fails(byoc_open("x", nullptr, nullptr), BYOC_ERROR_ARGUMENT, "session is a null pointer");
  byoc_options options{};
  fails(byoc_open("x", &options, &opened), BYOC_ERROR_ARGUMENT, "size is not set");
  options.size = 1000;
  fails(byoc_open("x", &options, &opened), BYOC_ERROR_ARGUMENT, "of a later byoc");
  byoc_close(nullptr);
  CHECK_EQ(byoc_input_count(nullptr), 0u);
  CHECK_EQ(byoc_run(handle, &in, 1, &out, 1), BYOC_OK);
  CHECK_EQ(std::string(byoc_last_error()), std::string());
  x[0] = 1;  // inputs and outputs at any element
  const byoc_buffer shifted = {x.data() + 1, in.bytes};
  CHECK_EQ(byoc_run(handle, &shifted, 1, &out, 1), BYOC_OK);
}

TEST(ErrorsBelongToTheirThread) {
  byoc_session* session = nullptr;
  CHECK(byoc_open("/nowhere", nullptr, &session) == BYOC_ERROR_ARTIFACT);
  std::string other = "?";
  std::thread([&] { other = byoc_last_error(); }).join();
  CHECK_EQ(other, std::string());
  CHECK(std::string(byoc_last_error()).find("/nowhere") != std::string::npos);
}

TEST(ManyThreadsOneSession) {
  Session session(Artifact("mixed.byoc"));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        try {
          CheckAnswer("mixed", Run(session));
        } catch (const std::exception&) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0);
}

TEST(SessionsOfOneFileShare) {
  const size_t code = Mappings("byoc.so (deleted)");
  size_t one_code = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<Session> sessions;
    for (int i = 0; i < 64; ++i) {
      sessions.emplace_back(Artifact("mixed.byoc"));
      if (i == 0) one_code = Mappings("byoc.so (deleted)");
    }
    CHECK(one_code > code);
    CHECK_EQ(Mappings("mixed.byoc"), 0u);  // small weights are copied
    CHECK_EQ(Mappings("byoc.so (deleted)"), one_code);
    for (int i = 0; i < 64; i += 16) CheckAnswer("mixed", Run(sessions[static_cast<size_t>(i)]));
    sessions.erase(sessions.begin(), sessions.end() - 1);
    CheckAnswer("mixed", Run(sessions[0]));
  }
  // The last one takes it all along.
  CHECK_EQ(Mappings("byoc.so (deleted)"), code);
}

/*! \brief 64 at once, opened and closed again and again; LeakSanitizer tells what stays behind. */
TEST(SessionsOpenedAndClosed) {
  // BYOC_STRESS_FULL: 200 times, some minutes.
  const int rounds = std::getenv("BYOC_STRESS_FULL") != nullptr ? 200 : 2;
  const char* const names[] = {"host", "dnnl", "mixed", "faulty"};
  for (int round = 0; round < rounds; ++round) {
    std::vector<Session> sessions;
    for (int i = 0; i < 64; ++i) {
      sessions.emplace_back(Artifact(std::string(names[i % 4]) + ".byoc"));
      if (i % 16 != round % 16) continue;
      // A faulty segment is answered by its twin, whose floats are rounded elsewhere.
      CheckAnswer(names[i % 4], Run(sessions.back()), i % 4 == 3 ? 1e-3f : 1e-5f);
    }
    if (round % 2 == 0) std::swap(sessions.front(), sessions.back());  // another goes last
  }
}

TEST(SessionsOpenedByManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 8; ++i) {
        const std::string name = (t + i) % 2 == 0 ? "dnnl" : "host";
        try {
          Session session(Artifact(name + ".byoc"));
          CheckAnswer(name, Run(session));
        } catch (const std::exception&) {
          ++failed;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(failed.load(), 0);
}

TEST(AFailingVendorIsHealed) {
  std::vector<std::string> faults;
  byoc_options options{};
  options.user = &faults;
  options.on_fault = [](const byoc_fault* fault, void* user) {
    static_cast<std::vector<std::string>*>(user)->push_back(
        std::string(fault->vendor) + " " + fault->kind + " " + std::to_string(fault->number) +
        ": " + fault->message);
  };
  Session session(Artifact("faulty.byoc"), options);
  // The twin rounds int8 in other places.
  for (int i = 0; i < 5; ++i) CheckAnswer("faulty", Run(session), 1e-3f);
  CHECK_EQ(faults.size(), 2u);
  CHECK(faults[0].find("npu error 1: ") == 0);
  CHECK(faults[0].find("DMA error") != std::string::npos);
  CHECK(faults[1].find("npu error 2: ") == 0);
}

TEST(WithoutATwinTheFailureIsNamed) {
  for (const char* name : {"unhealed.byoc", "faulty.byoc"}) {
    byoc_options options{};
    options.no_healing = 1;
    Session session(Artifact(name), options);
    CheckAnswer("faulty", Run(session));
    std::string text;
    try {
      Run(session);
    } catch (const SessionError& error) {
      CHECK_EQ(error.status(), BYOC_ERROR_EXECUTION);
      text = error.what();
    }
    CHECK(text.find("segment 'npu_0'") != std::string::npos);
    CHECK(text.find("of vendor 'npu' failed") != std::string::npos);
    CheckAnswer("faulty", Run(session));  // the session goes on
  }
}

TEST(SessionsMove) {
  Session a(Artifact("host.byoc"));
  Session b(std::move(a));
  CHECK(a.handle() == nullptr);
  Session c(Artifact("dnnl.byoc"));
  c = std::move(b);
  CheckAnswer("host", Run(c));
  CHECK(std::string(byoc_version()).find('.') != std::string::npos);
}

}  // namespace

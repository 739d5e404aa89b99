/*
 * Opens and runs files that somebody has spoiled: one path a line on stdin, one line of answer
 * each.
 *
 *   ok | STATUS MESSAGE
 *
 * benchmarks/loader_fuzz.py makes the files, reads the answers, and starts another process when one
 * dies. Build it with the sanitizers.
 */
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "byoc/session.h"

namespace {

constexpr size_t kMaxBytes = size_t{1} << 28;  // of a port: more is not worth the time

/*! \brief Memory of exactly this size, so that a sanitizer sees what reaches beyond. */
std::vector<byoc_buffer> Buffers(std::vector<std::vector<unsigned char>>* memory,
                                 const std::vector<byoc::SessionPort>& ports) {
  std::vector<byoc_buffer> buffers;
  for (const byoc::SessionPort& port : ports) {
    memory->emplace_back(port.bytes, static_cast<unsigned char>(1));
    buffers.push_back({memory->back().data(), port.bytes});
  }
  return buffers;
}

void OpenAndRun(const std::string& path) {
  byoc::Session session(path);
  std::vector<std::vector<unsigned char>> memory;
  for (const auto* ports : {&session.inputs(), &session.outputs()}) {
    for (const byoc::SessionPort& port : *ports) {
      if (port.bytes > kMaxBytes) return;
    }
  }
  const std::vector<byoc_buffer> inputs = Buffers(&memory, session.inputs());
  const std::vector<byoc_buffer> outputs = Buffers(&memory, session.outputs());
  for (int i = 0; i < 2; ++i) session.Run(inputs, outputs);
}

}  // namespace

int main() {
  for (std::string path; std::getline(std::cin, path);) {
    try {
      OpenAndRun(path);
      std::cout << "ok" << std::endl;
    } catch (const byoc::SessionError& error) {
      std::string text = error.what();
      for (char& c : text) c = c == '\n' ? ' ' : c;
      std::cout << error.status() << " " << text << std::endl;
    }
  }
  return 0;
}

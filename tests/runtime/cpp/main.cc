#include <cstdio>
#include <cstring>
#include <exception>

#include "check.h"

/*! \brief Run all tests, or those whose name contains the first argument. */
int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--child") == 0) return check::TheChild()(argc, argv);
  int failed = 0, run = 0;
  for (const auto& [name, body] : check::Tests()) {
    if (argc > 1 && std::strstr(name, argv[1]) == nullptr) continue;
    ++run;
    try {
      body();
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAILED %s\n  %s\n", name, error.what());
    }
  }
  std::printf("%d tests, %d failed\n", run, failed);
  return failed != 0 || run == 0;
}

// Classify with a compiled model, no Python: classify MODEL.byoc INPUT.bin [OUTPUT.bin]
//
// INPUT.bin holds the model's first input as raw float32; without one, ones are classified.
#include <byoc/session.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL.byoc [INPUT.bin [OUTPUT.bin]]\n", argv[0]);
    return 2;
  }
  try {
    byoc::Session model(argv[1]);
    for (const auto* ports : {&model.inputs(), &model.outputs()}) {
      for (const byoc::SessionPort& port : *ports) {
        if (port.dtype != "float32" || ports->size() != 1) {
          std::fprintf(stderr, "%s: one float32 input and output expected\n", argv[1]);
          return 1;
        }
      }
    }
    std::vector<float> x(model.inputs()[0].bytes / sizeof(float), 1.0f);
    std::vector<float> y(model.outputs()[0].bytes / sizeof(float));
    const auto bytes = static_cast<std::streamsize>(x.size() * sizeof(float));
    if (argc > 2) {
      std::ifstream file(argv[2], std::ios::binary);
      if (!file.read(reinterpret_cast<char*>(x.data()), bytes)) {
        std::fprintf(stderr, "%s: %zu float32 expected\n", argv[2], x.size());
        return 1;
      }
    }
    model.Run({byoc::BufferOf(x)}, {byoc::BufferOf(y)});
    if (argc > 3) {
      std::ofstream file(argv[3], std::ios::binary);
      file.write(reinterpret_cast<const char*>(y.data()),
                 static_cast<std::streamsize>(y.size() * sizeof(float)));
    }
    std::vector<size_t> best(y.size());
    std::iota(best.begin(), best.end(), 0);
    const size_t top = std::min<size_t>(5, best.size());
    std::partial_sort(best.begin(), best.begin() + top, best.end(),
                      [&](size_t a, size_t b) { return y[a] > y[b]; });
    for (size_t i = 0; i < top; ++i) std::printf("class %zu  %.6f\n", best[i], y[best[i]]);
  } catch (const byoc::SessionError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

/*!
 * \file execute.cc
 * \brief Bit-exact execution of a validated stream, one instruction after the other.
 *
 * Program order is one of the orders the units may take (validate.cc), and in a stream whose
 * tokens order every conflicting access all of them give the same result.
 */
#include <algorithm>
#include <cstring>

#include "clones.h"
#include "gemm.h"
#include "machine.h"

namespace byoc::npu {
namespace {

constexpr int64_t kPanelBytes = 256 << 10;

/*!
 * \brief The vector unit's last step: a float to an integer, rounded, moved and clamped. NaN counts
 * as the least value; what is beyond +-512 is clamped anyway (zero, lo and hi are bytes).
 */
struct Narrow {
  int32_t mode, zero, lo, hi;  // mode 0: half to even, 1: half away from zero, 2: half up, 3: down

  template <bool kEven>
  int8_t Apply(float value) const {
    value = value > -512.0F ? value : -512.0F;
    value = value < 512.0F ? value : 512.0F;
    float whole = __builtin_rintf(value);
    if (!kEven) {
      const float rest = value - whole;  // exact; halves went to the even neighbour
      const bool high = rest == 0.5F && (mode == 2 || (mode == 1 && value > 0.0F));
      const bool low = (rest == -0.5F && mode == 1 && value < 0.0F) || (rest < 0.0F && mode == 3);
      whole += (high ? 1.0F : 0.0F) - (low ? 1.0F : 0.0F);
    }
    const int32_t moved = static_cast<int32_t>(whole) + zero;
    return static_cast<int8_t>(std::min(std::max(moved, lo), hi));
  }
};

Narrow MakeNarrow(int64_t mode, int64_t zero, int64_t lo, int64_t hi) {
  return {static_cast<int32_t>(mode), static_cast<int32_t>(zero), static_cast<int32_t>(lo),
          static_cast<int32_t>(hi)};
}

void Copy(int8_t* to, const int8_t* from, int64_t planes, int64_t rows, int64_t bytes,
          int64_t to_plane, int64_t to_row, int64_t from_plane, int64_t from_row) {
  for (int64_t p = 0; p < planes; ++p) {
    for (int64_t r = 0; r < rows; ++r) {
      std::memmove(to + p * to_plane + r * to_row, from + p * from_plane + r * from_row,
                   static_cast<size_t>(bytes));
    }
  }
}

void Execute(const Load& i, const int8_t* constants, Memories* m) {
  int8_t* to = (i.space == 1 ? m->weight.data() : m->act.data()) + i.spm;
  const int8_t* from = (i.region == 0 ? constants : m->work.data()) + i.dram;
  Copy(to, from, i.planes, i.rows, i.bytes, i.spm_plane, i.spm_row, i.dram_plane, i.dram_row);
}

void Execute(const Store& i, Memories* m) {
  Copy(m->work.data() + i.dram, m->act.data() + i.spm, i.planes, i.rows, i.bytes, i.dram_plane,
       i.dram_row, i.spm_plane, i.spm_row);
}

/*! \brief to[0..count) = from + 128 as unsigned bytes. */
inline void Offset(uint8_t* to, const int8_t* from, int64_t count) {
  for (int64_t j = 0; j < count; ++j) to[j] = static_cast<uint8_t>(from[j]) ^ 0x80;
}

/*! \brief The operands of one output pixel, in the order of k, as unsigned bytes. */
void Unfold(const Conv& i, const int8_t* act, int64_t oy, int64_t ox, uint8_t* out) {
  const int64_t end = i.k_begin + i.k_count;
  int64_t tap = i.k_begin / i.channels;
  int64_t ky = tap / i.kw;
  int64_t kx = tap % i.kw;
  int64_t c = i.k_begin % i.channels;
  for (int64_t k = i.k_begin; k < end;) {
    const int64_t count = std::min(i.channels - c, end - k);
    const int64_t iy = oy * i.sh - i.pt + ky * i.dh;
    const int64_t ix = ox * i.sw - i.pl + kx * i.dw;
    if (iy >= 0 && iy < i.in_h && ix >= 0 && ix < i.in_w) {
      Offset(out, act + i.x + iy * i.x_row + ix * i.x_pix + c, count);
    } else {
      std::memset(out, static_cast<int>(i.pad_value + 128), static_cast<size_t>(count));
    }
    out += count;
    k += count;
    c = 0;
    if (++kx == i.kw) {
      kx = 0;
      ++ky;
    }
  }
}

void Execute(const Conv& i, Memories* m) {
  const int64_t groups = (i.k_count + 3) / 4;
  const int64_t blocks = (i.n + 15) / 16;
  const int64_t stride = groups * 4;
  const int64_t pixels = i.out_h * i.out_w;
  const int64_t panel = std::clamp<int64_t>(kPanelBytes / stride, 1, pixels);
  m->panel.assign(static_cast<size_t>(panel * stride), 0);  // bytes past k_count stay 0
  m->sums.resize(static_cast<size_t>(blocks * 16));
  const int8_t* weights = m->weight.data() + i.w;
  Offsets(weights, blocks, groups, m->sums.data());
  for (int64_t first = 0; first < pixels; first += panel) {
    const int64_t rows = std::min(panel, pixels - first);
    int64_t oy = first / i.out_w;
    int64_t ox = first % i.out_w;
    for (int64_t r = 0; r < rows; ++r) {
      Unfold(i, m->act.data(), oy, ox, m->panel.data() + r * stride);
      if (++ox == i.out_w) {
        ox = 0;
        ++oy;
      }
    }
    Gemm(m->panel.data(), rows, groups, weights, m->sums.data(), i.n, i.accumulate != 0,
         m->acc.data() + i.acc + first * i.n);
  }
}

BYOC_NPU_CLONES
void MultiplyAdd(const int8_t* x, const int8_t* w, int64_t n, int32_t* acc) {
  for (int64_t c = 0; c < n; ++c) {
    acc[c] = static_cast<int32_t>(static_cast<uint32_t>(acc[c]) +
                                  static_cast<uint32_t>(static_cast<int32_t>(x[c]) * w[c]));
  }
}

void Execute(const Dwconv& i, Memories* m) {
  m->line.assign(static_cast<size_t>(i.n), static_cast<int8_t>(i.pad_value));
  for (int64_t oy = 0; oy < i.out_h; ++oy) {
    for (int64_t ox = 0; ox < i.out_w; ++ox) {
      int32_t* acc = m->acc.data() + i.acc + (oy * i.out_w + ox) * i.n;
      if (!i.accumulate) std::fill(acc, acc + i.n, 0);
      for (int64_t ky = 0; ky < i.kh; ++ky) {
        for (int64_t kx = 0; kx < i.kw; ++kx) {
          const int64_t iy = oy * i.sh - i.pt + ky * i.dh;
          const int64_t ix = ox * i.sw - i.pl + kx * i.dw;
          const bool inside = iy >= 0 && iy < i.in_h && ix >= 0 && ix < i.in_w;
          const int8_t* x =
              inside ? m->act.data() + i.x + iy * i.x_row + ix * i.x_pix : m->line.data();
          MultiplyAdd(x, m->weight.data() + i.w + (ky * i.kw + kx) * i.n, i.n, acc);
        }
      }
    }
  }
}

void FetchParams(const Requant& i, Memories* m) {
  const auto n = static_cast<size_t>(i.n);
  m->bias.resize(n);
  m->scale.resize(n);
  std::memcpy(m->bias.data(), m->weight.data() + i.params, 4 * n);
  std::memcpy(m->scale.data(), m->weight.data() + i.params + 4 * i.n, 4 * n);
}

// The lines: n channels of one pixel. Results go to `line` first, so that y may lie on an operand.
// Each has one loop for rounding half to even, which is one instruction, and one for the others.

/*! \brief y[c] = narrow(value(c)) for n channels. */
template <typename F>
[[gnu::always_inline]] inline void EachChannel(const Narrow& given, int64_t n, int8_t* y,
                                               F&& value) {
  const Narrow narrow = given;
  if (narrow.mode == 0) {
    for (int64_t c = 0; c < n; ++c) y[c] = narrow.Apply<true>(value(c));
  } else {
    for (int64_t c = 0; c < n; ++c) y[c] = narrow.Apply<false>(value(c));
  }
}

BYOC_NPU_CLONES
void RequantLine(const int32_t* acc, const int32_t* bias, const float* scale, const Narrow& narrow,
                 int64_t n, int8_t* y) {
  EachChannel(narrow, n, y, [=](int64_t c) {
    const uint32_t sum = static_cast<uint32_t>(acc[c]) + static_cast<uint32_t>(bias[c]);
    return static_cast<float>(static_cast<int32_t>(sum)) * scale[c];
  });
}

/*! \brief What add and mul share. */
struct Pair {
  int32_t a_zero, b_zero;
  float m1, m2, c;
  Narrow narrow;
};

BYOC_NPU_CLONES
void AddLine(const int8_t* a, const int8_t* b, const Pair& pair, int64_t n, int8_t* y) {
  const Pair p = pair;
  EachChannel(p.narrow, n, y, [=](int64_t c) {
    const float second = __builtin_fmaf(static_cast<float>(b[c] - p.b_zero), p.m2, p.c);
    return __builtin_fmaf(static_cast<float>(a[c] - p.a_zero), p.m1, second);
  });
}

BYOC_NPU_CLONES
void MulLine(const int8_t* a, const int8_t* b, const Pair& pair, int64_t n, int8_t* y) {
  const Pair p = pair;
  EachChannel(p.narrow, n, y, [=](int64_t c) {
    return static_cast<float>((a[c] - p.a_zero) * (b[c] - p.b_zero)) * p.m1;
  });
}

void LookUp(const int8_t* x, const int8_t* table, int64_t n, int8_t* y) {
  for (int64_t c = 0; c < n; ++c) y[c] = table[x[c] + 128];
}

BYOC_NPU_CLONES
void MaxLine(const int8_t* x, int64_t n, int8_t* y) {
  for (int64_t c = 0; c < n; ++c) y[c] = std::max(y[c], x[c]);
}

BYOC_NPU_CLONES
void SumLine(const int8_t* x, int64_t n, int32_t* sums) {
  for (int64_t c = 0; c < n; ++c) sums[c] += x[c];
}

template <typename T>
void Put(const T& i, int64_t oy, int64_t ox, Memories* m) {
  std::memcpy(m->act.data() + i.y + oy * i.y_row + ox * i.y_pix, m->line.data(),
              static_cast<size_t>(i.n));
}

void Execute(const Requant& i, Memories* m) {
  m->line.resize(static_cast<size_t>(i.n));
  int8_t* line = m->line.data();
  FetchParams(i, m);
  const Narrow first = MakeNarrow(i.rounding, i.zero, i.lo, i.hi);
  Pair pair{static_cast<int32_t>(i.q_zero),
            static_cast<int32_t>(i.r_zero),
            i.m1,
            i.m2,
            i.c,
            MakeNarrow(i.rounding, i.zero2, i.lo2, i.hi2)};
  if (i.r_first) {
    std::swap(pair.a_zero, pair.b_zero);
    std::swap(pair.m1, pair.m2);
  }
  const int32_t* acc = m->acc.data() + i.acc;
  for (int64_t oy = 0; oy < i.out_h; ++oy) {
    for (int64_t ox = 0; ox < i.out_w; ++ox, acc += i.n) {
      RequantLine(acc, m->bias.data(), m->scale.data(), first, i.n, line);
      if (i.residual) {
        const int8_t* other = m->act.data() + i.r + oy * i.r_row + ox * i.r_pix;
        AddLine(i.r_first ? other : line, i.r_first ? line : other, pair, i.n, line);
      }
      if (i.table) LookUp(line, m->weight.data() + i.lut, i.n, line);
      Put(i, oy, ox, m);
    }
  }
}

template <typename T, typename F>
void ExecutePair(const T& i, float m2, float constant, F line_function, Memories* m) {
  m->line.resize(static_cast<size_t>(i.n));
  const Pair pair{static_cast<int32_t>(i.a_zero),
                  static_cast<int32_t>(i.b_zero),
                  i.m1,
                  m2,
                  constant,
                  MakeNarrow(i.rounding, i.zero, i.lo, i.hi)};
  const int8_t* act = m->act.data();
  for (int64_t oy = 0; oy < i.out_h; ++oy) {
    for (int64_t ox = 0; ox < i.out_w; ++ox) {
      line_function(act + i.a + oy * i.a_row + ox * i.a_pix,
                    act + i.b + oy * i.b_row + ox * i.b_pix, pair, i.n, m->line.data());
      Put(i, oy, ox, m);
    }
  }
}

void Execute(const Add& i, Memories* m) { ExecutePair(i, i.m2, i.c, AddLine, m); }
void Execute(const Mul& i, Memories* m) { ExecutePair(i, 0.0F, 0.0F, MulLine, m); }

void Execute(const Lookup& i, Memories* m) {
  m->line.resize(static_cast<size_t>(i.n));
  for (int64_t oy = 0; oy < i.out_h; ++oy) {
    for (int64_t ox = 0; ox < i.out_w; ++ox) {
      LookUp(m->act.data() + i.x + oy * i.x_row + ox * i.x_pix, m->weight.data() + i.lut, i.n,
             m->line.data());
      Put(i, oy, ox, m);
    }
  }
}

/*! \brief Call `take` with the n bytes of every pixel of one window that lies in the input. */
template <typename T, typename F>
void EachInWindow(const T& i, int64_t oy, int64_t ox, const int8_t* act, F&& take) {
  for (int64_t ky = 0; ky < i.kh; ++ky) {
    const int64_t iy = oy * i.sh - i.pt + ky * i.dh;
    if (iy < 0 || iy >= i.in_h) continue;
    for (int64_t kx = 0; kx < i.kw; ++kx) {
      const int64_t ix = ox * i.sw - i.pl + kx * i.dw;
      if (ix >= 0 && ix < i.in_w) take(act + i.x + iy * i.x_row + ix * i.x_pix);
    }
  }
}

void Execute(const Maxpool& i, Memories* m) {
  m->line.resize(static_cast<size_t>(i.n));
  for (int64_t oy = 0; oy < i.out_h; ++oy) {
    for (int64_t ox = 0; ox < i.out_w; ++ox) {
      std::fill(m->line.begin(), m->line.end(), static_cast<int8_t>(i.lo));
      EachInWindow(i, oy, ox, m->act.data(),
                   [&](const int8_t* x) { MaxLine(x, i.n, m->line.data()); });
      Put(i, oy, ox, m);
    }
  }
}

BYOC_NPU_CLONES
void ScaleLine(const int32_t* sums, int32_t offset, float scale, const Narrow& narrow, int64_t n,
               int8_t* y) {
  EachChannel(narrow, n, y,
              [=](int64_t c) { return static_cast<float>(sums[c] - offset) * scale; });
}

void Execute(const Avgpool& i, Memories* m) {
  m->line.resize(static_cast<size_t>(i.n));
  m->sums.resize(static_cast<size_t>(i.n));
  const Narrow narrow = MakeNarrow(i.rounding, i.zero, i.lo, i.hi);
  for (int64_t oy = 0; oy < i.out_h; ++oy) {
    for (int64_t ox = 0; ox < i.out_w; ++ox) {
      std::fill(m->sums.begin(), m->sums.end(), 0);
      int32_t count = 0;
      EachInWindow(i, oy, ox, m->act.data(), [&](const int8_t* x) {
        SumLine(x, i.n, m->sums.data());
        ++count;
      });
      ScaleLine(m->sums.data(), count * static_cast<int32_t>(i.x_zero), i.m1, narrow, i.n,
                m->line.data());
      Put(i, oy, ox, m);
    }
  }
}

}  // namespace

Memories::Memories(const Config& config, int64_t work_bytes)
    : act(static_cast<size_t>(config.act_bytes)),
      weight(static_cast<size_t>(config.weight_bytes)),
      work(static_cast<size_t>(work_bytes)),
      acc(static_cast<size_t>(config.acc_words)) {}

void Memories::Clear() {
  std::fill(act.begin(), act.end(), int8_t{0});
  std::fill(weight.begin(), weight.end(), int8_t{0});
  std::fill(acc.begin(), acc.end(), 0);
}

void Run(const Code& code, const int8_t* constants, Memories* m) {
  for (const Instruction& instruction : code) {
    const uint32_t* words = instruction.words.data();
    switch (instruction.op()) {
      case Opcode::kLoad:
        Execute(Load::Decode(words), constants, m);
        break;
      case Opcode::kStore:
        Execute(Store::Decode(words), m);
        break;
      case Opcode::kConv:
        Execute(Conv::Decode(words), m);
        break;
      case Opcode::kDwconv:
        Execute(Dwconv::Decode(words), m);
        break;
      case Opcode::kRequant:
        Execute(Requant::Decode(words), m);
        break;
      case Opcode::kAdd:
        Execute(Add::Decode(words), m);
        break;
      case Opcode::kMul:
        Execute(Mul::Decode(words), m);
        break;
      case Opcode::kLookup:
        Execute(Lookup::Decode(words), m);
        break;
      case Opcode::kMaxpool:
        Execute(Maxpool::Decode(words), m);
        break;
      case Opcode::kAvgpool:
        Execute(Avgpool::Decode(words), m);
        break;
      case Opcode::kHalt:
      case Opcode::kFence:
        break;
    }
  }
}

}  // namespace byoc::npu

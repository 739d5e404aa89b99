#include "openmp_calls.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "byoc/threads.h"
#include "error.h"

namespace byoc::onednn {
namespace {

// -- The functions, as GCC's compiled code calls them (libgomp's ABI, GOMP_1.0 and later).

/// A loop with a static schedule, of which the calling thread runs every `count`-th chunk.
struct StaticLoop {
  long start, step, chunk;   // chunk 0: one share for each thread
  int64_t iterations, next;  // in iterations; next: of the chunk that comes next
};
thread_local StaticLoop loop;

bool NextChunk(long* first, long* last) {
  const int64_t ids = threads::Count(), me = threads::Id();
  int64_t begin = 0, end = 0;
  if (loop.chunk == 0) {
    if (loop.next != 0) return false;
    loop.next = 1;
    const int64_t share = loop.iterations / ids, more = loop.iterations % ids;
    begin = me * share + std::min(me, more);
    end = begin + share + (me < more ? 1 : 0);
  } else {
    begin = (loop.next * ids + me) * loop.chunk;
    end = std::min<int64_t>(begin + loop.chunk, loop.iterations);
    ++loop.next;
  }
  if (begin >= end) return false;
  *first = loop.start + static_cast<long>(begin) * loop.step;
  *last = loop.start + static_cast<long>(end) * loop.step;
  return true;
}

bool StartLoop(long start, long end, long step, long chunk, long* first, long* last) {
  const long past = step > 0 ? step - 1 : step + 1;
  const int64_t count = (end - start + past) / step;
  loop = {start, step, chunk, std::max<int64_t>(count, 0), 0};
  return NextChunk(first, last);
}

void RunRegion(void (*body)(void*), void* data, unsigned count, unsigned /*flags*/) {
  threads::Parallel(body, data, static_cast<int>(count));
}

void BeginRegion(void (*body)(void*), void* data, unsigned count) {
  threads::Begin(body, data, static_cast<int>(count));
}

int InParallel() { return threads::InParallel() ? 1 : 0; }

void Nothing() {}

struct Served {
  std::string_view name;
  void* function;
};

template <typename Function>
void* Address(Function* function) {
  return reinterpret_cast<void*>(function);
}

const std::array<Served, 13>& Table() {
  static const std::array<Served, 13> table = {{
      {"GOMP_parallel", Address(&RunRegion)},
      {"GOMP_parallel_start", Address(&BeginRegion)},
      {"GOMP_parallel_end", Address(&threads::End)},
      {"GOMP_barrier", Address(&threads::Barrier)},
      {"GOMP_loop_static_start", Address(&StartLoop)},
      {"GOMP_loop_static_next", Address(&NextChunk)},
      {"GOMP_loop_end", Address(&threads::Barrier)},
      {"GOMP_loop_end_nowait", Address(&Nothing)},
      {"omp_get_max_threads", Address(&threads::Max)},
      {"omp_set_num_threads", Address(&threads::SetMax)},
      {"omp_get_num_threads", Address(&threads::Count)},
      {"omp_get_thread_num", Address(&threads::Id)},
      {"omp_in_parallel", Address(&InParallel)},
  }};
  return table;
}

// -- The table of a loaded library (ELF: System V ABI, "Dynamic Linking").

bool IsOpenMp(std::string_view name) {
  const auto begins = [name](std::string_view with) { return name.substr(0, with.size()) == with; };
  return begins("GOMP_") || begins("GOACC_") || begins("omp_") || begins("__kmpc_");
}

/// What the dynamic section says: where the relocations, symbols and names are.
struct Dynamic {
  explicit Dynamic(const link_map& library) : base(library.l_addr) {
    const auto at = [this](const ElfW(Dyn) & entry) {
      // The loader of glibc has added the base; that of some processors, and of musl, has not.
      return entry.d_un.d_ptr < base ? base + entry.d_un.d_ptr : entry.d_un.d_ptr;
    };
    for (const ElfW(Dyn)* entry = library.l_ld; entry->d_tag != DT_NULL; ++entry) {
      switch (entry->d_tag) {
        case DT_SYMTAB:
          symbols = reinterpret_cast<const ElfW(Sym)*>(at(*entry));
          break;
        case DT_STRTAB:
          names = reinterpret_cast<const char*>(at(*entry));
          break;
        case DT_JMPREL:
          tables[0].first = reinterpret_cast<const ElfW(Rela)*>(at(*entry));
          break;
        case DT_PLTRELSZ:
          tables[0].count = entry->d_un.d_val / sizeof(ElfW(Rela));
          break;
        case DT_RELA:
          tables[1].first = reinterpret_cast<const ElfW(Rela)*>(at(*entry));
          break;
        case DT_RELASZ:
          tables[1].count = entry->d_un.d_val / sizeof(ElfW(Rela));
          break;
        default:
          break;
      }
    }
  }

  struct Relocations {
    const ElfW(Rela) * first = nullptr;
    size_t count = 0;
  };
  const ElfW(Addr) base;
  const ElfW(Sym) * symbols = nullptr;
  const char* names = nullptr;
  std::array<Relocations, 2> tables;  // of calls, of everything else
};

/// One pointer of the table, and what it is to be.
struct Slot {
  void** place;
  void* function;
};

std::vector<Slot> FindSlots(const Dynamic& dynamic) {
  std::vector<Slot> slots;
  for (const auto& [first, count] : dynamic.tables) {
    for (size_t i = 0; i < count; ++i) {
      const auto symbol = ELF64_R_SYM(first[i].r_info);
      if (symbol == 0) continue;
      const std::string_view name = dynamic.names + dynamic.symbols[symbol].st_name;
      if (!IsOpenMp(name)) continue;
      const auto served = std::find_if(Table().begin(), Table().end(),
                                       [name](const Served& s) { return s.name == name; });
      if (served == Table().end()) {
        Fail("oneDNN calls ", name,
             " of OpenMP, which byoc's threads do not serve; install the "
             "build byoc is made for: pip install --force-reinstall onednn-cpu-gomp==2023.2.0");
      }
      slots.push_back(
          {reinterpret_cast<void**>(dynamic.base + first[i].r_offset), served->function});
    }
  }
  return slots;
}

/// The part of a library that its loader made read-only when it had filled it in.
struct ReadOnly {
  uintptr_t base, begin = 0, end = 0;
};

int FindReadOnly(dl_phdr_info* info, size_t /*size*/, void* data) {
  auto* found = static_cast<ReadOnly*>(data);
  if (info->dlpi_addr != found->base) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr) & header = info->dlpi_phdr[i];
    if (header.p_type != PT_GNU_RELRO) continue;
    found->begin = info->dlpi_addr + header.p_vaddr;
    found->end = found->begin + header.p_memsz;
  }
  return 1;
}

void Write(const Slot& slot, const ReadOnly& read_only) {
  const auto address = reinterpret_cast<uintptr_t>(slot.place);
  const uintptr_t page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t page = address / page_size * page_size;
  const bool locked = address >= read_only.begin && address < read_only.end;
  void* const start = reinterpret_cast<void*>(page);
  if (locked && mprotect(start, page_size, PROT_READ | PROT_WRITE) != 0) {
    Fail("cannot give oneDNN byoc's threads: ", std::strerror(errno));
  }
  // Threads of others may be calling through it.
  __atomic_store_n(slot.place, slot.function, __ATOMIC_RELEASE);
  if (locked) mprotect(start, page_size, PROT_READ);
}

bool Serve() {
  Dl_info info;
  link_map* library = nullptr;
  if (dladdr1(reinterpret_cast<const void*>(&dnnl_version), &info,
              reinterpret_cast<void**>(&library), RTLD_DL_LINKMAP) == 0 ||
      library == nullptr) {
    Fail("cannot find the loaded library of oneDNN");
  }
  ReadOnly read_only{library->l_addr};
  dl_iterate_phdr(&FindReadOnly, &read_only);
  for (const Slot& slot : FindSlots(Dynamic(*library))) Write(slot, read_only);
  return true;
}

}  // namespace

void ServeOpenMp() {
  static const bool served = Serve();
  static_cast<void>(served);
}

}  // namespace byoc::onednn

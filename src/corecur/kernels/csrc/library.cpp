// What the library shows to Python: which instruction set runs, whose threads, and the kernels behind both.
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <sched.h>

#include <cstddef>
#include <cstring>

#include "kernels.hpp"
#include "parallel.hpp"

// Every instruction set the library is compiled for, the best one first; CMakeLists.txt lists the same.
#if defined(__x86_64__)
#define CORECUR_ISAS(use) use(avx512) use(avx2) use(baseline)
#elif defined(__aarch64__)
#define CORECUR_ISAS(use) use(neon)
#else
#define CORECUR_ISAS(use) use(baseline)
#endif

namespace corecur {
#define CORECUR_DECLARE(isa) namespace isa { extern const CorecurKernels kernels; }
CORECUR_ISAS(CORECUR_DECLARE)

namespace {

using Region = void (*)(void (*)(void*), void*, unsigned, unsigned);
using Count = int (*)();

// The entry points of the OpenMP runtime that torch has loaded; null where none was found.
Region open_region = nullptr;
Count number_of_thread = nullptr, number_of_threads = nullptr;

struct Tasks {
  int count;
  void (*body)(void*, int);
  void* data;
};

void some_of(void* given) {
  const Tasks& tasks = *static_cast<Tasks*>(given);
  int step = number_of_threads();
  for (int task = number_of_thread(); task < tasks.count; task += step) tasks.body(tasks.data, task);
}

struct Team {
  void (*body)(void*, int, int);
  void* data;
};

void one_of(void* given) {
  const Team& team = *static_cast<Team*>(given);
  team.body(team.data, number_of_thread(), number_of_threads());
}

bool has([[maybe_unused]] const char* isa) {
#if defined(__x86_64__)
  if (!std::strcmp(isa, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
  if (!std::strcmp(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return true;
}

const CorecurKernels* const known[] = {
#define CORECUR_ADDRESS(isa) &isa::kernels,
    CORECUR_ISAS(CORECUR_ADDRESS)};

}  // namespace

void in_parallel(int tasks, int threads, void (*body)(void*, int), void* data) {
  if (threads > tasks) threads = tasks;
  if (threads > 1 && open_region != nullptr) {
    Tasks given{tasks, body, data};
    open_region(some_of, &given, static_cast<unsigned>(threads), 0);
  } else {
    for (int task = 0; task < tasks; ++task) body(data, task);
  }
}

void in_team(int threads, void (*body)(void*, int, int), void* data) {
  if (threads > 1 && open_region != nullptr) {
    Team given{body, data};
    open_region(one_of, &given, static_cast<unsigned>(threads), 0);
  } else {
    body(data, 0, 1);
  }
}

void pause_for(int times) {
  constexpr int PATIENCE = 512;  // ten microseconds or so
  if (times >= PATIENCE) {
    sched_yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace corecur

extern "C" {

#define CORECUR_PUBLIC __attribute__((visibility("default")))

// Raised by one whenever a struct or a function changes: Python refuses another library.
CORECUR_PUBLIC int corecur_version() { return 9; }

CORECUR_PUBLIC int corecur_table_size() { return static_cast<int>(sizeof(CorecurKernels)); }

// The kernels of the instruction set `name`, the best one without a name; null where the machine does not have it.
CORECUR_PUBLIC const CorecurKernels* corecur_kernels(const char* name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  const CorecurKernels* found = nullptr;
  for (const CorecurKernels* kernels : corecur::known)  // the best comes first
    if (found == nullptr && (name == nullptr || !std::strcmp(name, kernels->name)) && corecur::has(kernels->name))
      found = kernels;
  return found;
}

// The kind of processor, as far as a choice of kernels depends on it: a place in PROCESSORS of kernels/library.py.
CORECUR_PUBLIC int corecur_processor() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_is("intel")) return 1;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__builtin_cpu_is("amd") && __get_cpuid(1, &a, &b, &c, &d)) {
    const unsigned family = (a >> 8 & 15) + (a >> 20 & 255);
    if (family >= 0x1a) return 2;
  }
#endif
  return 0;
}

CORECUR_PUBLIC void corecur_use_threads_of(void* region, void* number, void* count) {
  corecur::open_region = reinterpret_cast<corecur::Region>(region);
  corecur::number_of_thread = reinterpret_cast<corecur::Count>(number);
  corecur::number_of_threads = reinterpret_cast<corecur::Count>(count);
}

}

// Gradients of weights: sums of outer products over all steps of all rows, out = aᵀ b.
//
// A tile of `out` stays in registers over a block of rows; both factors are read as they lie. Blocks are summed one by
// one and then added, which keeps the error of long sums small. Threads share the rows of
// `out`, so that the sum runs in the same order however many threads there are.
#include "kernels.hpp"
#include "parallel.hpp"
#include "tile.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Job = CorecurOuter;

constexpr int VECTORS = 4;
constexpr int HEIGHT = ACCUMULATORS / VECTORS;
constexpr Index BLOCK = 64;         // rows of both factors at a time: few pages, read again from the caches
constexpr Index AHEAD = 8;
constexpr Index TASK = HEIGHT * 8;  // rows of `out` that a thread takes at once

template <int ROWS, bool INDEXED, bool WHOLE>
void add_tile(const Job& job, Index row, Index column, Index first, Index last, const int (&counts)[VECTORS]) {
  auto read = [&](const float* from, int v) __attribute__((always_inline)) {
    return WHOLE ? load(from + v * LANES) : counts[v] > 0 ? load(from + v * LANES, counts[v]) : Vector{};
  };
  Vector held[ROWS][VECTORS];
  float* out = job.out + row * job.out_stride + column;
#pragma GCC unroll 24
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) held[r][v] = Vector{};
  for (Index n = first; n < last; ++n) {
    const float* a = job.a + n * job.a_stride + row;
    const float* b = job.b + (INDEXED ? job.rows[n] : n) * job.b_stride + column;
    Vector line[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) line[v] = read(b, v);
    __builtin_prefetch(a + AHEAD * job.a_stride);  // a new line with every row, too far apart for the processor to see
#pragma GCC unroll 24
    for (int r = 0; r < ROWS; ++r) {
      Vector factor = all(a[r]);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) held[r][v] += factor * line[v];
    }
  }
#pragma GCC unroll 24
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      float* to = out + r * job.out_stride;
      Vector total = first > 0 ? read(to, v) + held[r][v] : held[r][v];
      if (WHOLE)
        store(to + v * LANES, total);
      else if (counts[v] > 0)
        store(to + v * LANES, total, counts[v]);
    }
}

using AddTile = void (*)(const Job&, Index, Index, Index, Index, const int (&)[VECTORS]);

template <bool INDEXED, bool WHOLE, int... ROWS>
constexpr AddTile adding(int rows, std::integer_sequence<int, ROWS...>) {
  constexpr AddTile of[] = {add_tile<ROWS + 1, INDEXED, WHOLE>...};
  return of[rows - 1];
}

template <bool INDEXED>
void some_rows(const Job& job, Index start, Index end) {
  for (Index first = 0; first == 0 || first < job.count; first += BLOCK) {
    Index last = first + BLOCK < job.count ? first + BLOCK : job.count;
    for (Index column = 0; column < job.width; column += VECTORS * LANES) {
      int counts[VECTORS];
      for (int v = 0; v < VECTORS; ++v) {
        Index left = job.width - column - v * LANES;
        counts[v] = left < 0 ? 0 : left < LANES ? static_cast<int>(left) : LANES;
      }
      bool whole = counts[VECTORS - 1] == LANES;
      in_blocks(end - start, HEIGHT, [&](Index row, Index rows) {
        AddTile add = whole ? adding<INDEXED, true>(static_cast<int>(rows), std::make_integer_sequence<int, HEIGHT>{})
                            : adding<INDEXED, false>(static_cast<int>(rows), std::make_integer_sequence<int, HEIGHT>{});
        add(job, start + row, column, first, last, counts);
      });
    }
  }
}

constexpr int MOST = 8;

}  // namespace

int outer(const CorecurOuter* jobs, int count, int threads) {
  if (count > MOST) return 1;
  int tasks[MOST + 1] = {0};
  Index multiplications = 0;
  for (int n = 0; n < count; ++n) multiplications += jobs[n].count * jobs[n].height * jobs[n].width;
  for (int n = 0; n < count; ++n) tasks[n + 1] = tasks[n] + static_cast<int>((jobs[n].height + TASK - 1) / TASK);
  parallel(tasks[count], threads_for(multiplications, threads), [&](int task) {
    int n = 0;
    while (task >= tasks[n + 1]) ++n;
    const Job& job = jobs[n];
    Index start = (task - tasks[n]) * TASK, end = start + TASK < job.height ? start + TASK : job.height;
    if (job.rows)
      some_rows<true>(job, start, end);
    else
      some_rows<false>(job, start, end);
  });
  return 0;
}

}  // namespace corecur::CORECUR_ISA

// Batches whose time comes first: what recurrent kernels read and give.
#include "kernels.hpp"
#include "parallel.hpp"
#include "share.hpp"

namespace corecur::CORECUR_ISA {
namespace {

// A load and a store, from one cache and to another, take about as long as this many multiplications.
constexpr Index COST = 8;

// to (N, M, C) of from (M, N, C): what is written lies in one piece, as reads that miss wait for less.
void turn(const float* from, float* to, Index m, Index n, Index width, int threads) {
  threads = threads_for(m * n * width * COST, threads);
  parallel(threads, threads, [&](int task) {
    for (Index outer = n * task / threads; outer < n * (task + 1) / threads; ++outer)
      for (Index inner = 0; inner < m; ++inner)
        std::memcpy(to + (outer * m + inner) * width, from + (inner * n + outer) * width,
                    sizeof(float) * static_cast<std::size_t>(width));
  });
}

}  // namespace

void turn_forward(const CorecurTurn* job, int threads) {
  turn(job->x, job->y, job->first, job->second, job->width, threads);
}

void turn_backward(const CorecurTurn* job, int threads) {
  turn(job->d_y, job->d_x, job->second, job->first, job->width, threads);
}

}  // namespace corecur::CORECUR_ISA

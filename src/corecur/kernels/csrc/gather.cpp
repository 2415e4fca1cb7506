// Rows of a matrix in another order: how the real steps of a batch with padding come together, and how they come back.
#include "kernels.hpp"
#include "parallel.hpp"
#include "share.hpp"

namespace corecur::CORECUR_ISA {
namespace {

// A load and a store, from one cache and to another, take about as long as this many multiplications.
constexpr Index COST = 8;

}  // namespace

void gather(const CorecurGather* job, int threads) {
  const Index width = job->width;
  const std::size_t bytes = sizeof(float) * static_cast<std::size_t>(width);
  const int shares = threads_for(job->count * width * COST, threads);
  parallel(shares, shares, [&](int task) {
    for (Index n = job->count * task / shares; n < job->count * (task + 1) / shares; ++n) {
      const Index row = job->index[n];
      float* to = job->to + n * width;
      row < job->limit ? std::memcpy(to, job->from + row * width, bytes) : std::memset(to, 0, bytes);
    }
  });
  if (job->more == 0) return;
  // Many may be added to one row: each thread takes some columns of all.
  const int parts = threads_for(job->more * width * COST, threads);
  parallel(parts, parts, [&](int task) {
    const Index first = width * task / parts, last = width * (task + 1) / parts;
    for (Index n = 0; n < job->more; ++n) {
      float* to = job->to + job->more_to[n] * width;
      const float* from = job->from + job->more_from[n] * width;
      for (Index k = first; k < last; k += LANES) {
        const int lanes = at_most(last - k);
        store(to + k, load(to + k, lanes) + load(from + k, lanes), lanes);
      }
    }
  });
}

}  // namespace corecur::CORECUR_ISA

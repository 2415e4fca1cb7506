// A dense layer: a product, a bias and an activation, and the way back. Few rows are multiplied as they lie, since to pack
// the weights for them takes as long as the product.
#include "kernels.hpp"
#include "parallel.hpp"
#include "window.hpp"

namespace corecur::CORECUR_ISA {

void products(const CorecurProduct*, int, const float*, const float*, const float*, float*, int);

namespace {

using Job = CorecurDense;

constexpr Index FEW_ROWS = 8;
// A load, a store and a comparison take about as long as this many multiplications; a tangent about four times that.
constexpr Index COST = 8;

CorecurProduct product_of(Index rows, Index columns, Index depth) {
  CorecurProduct job{};
  job.rows = rows, job.columns = columns, job.depth = depth, job.out_row = columns, job.down = job.across = 1;
  return job;
}

// The sum of x · w over the features, in four sums that do not wait for one another.
float dot(const float* x, const float* w, Index features) {
  Vector sums[4] = {};
  Index k = 0;
  for (; k + 4 * LANES <= features; k += 4 * LANES)
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) sums[n] += load(x + k + n * LANES) * load(w + k + n * LANES);
  for (; k < features; k += LANES) {
    const int left = at_most(features - k);
    sums[0] += load(x + k, left) * load(w + k, left);
  }
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void few_rows(const Job& job, int threads) {
  threads = threads_for(job.rows * job.units * job.features, threads);
  parallel(threads, threads, [&](int task) {
    for (Index unit = job.units * task / threads; unit < job.units * (task + 1) / threads; ++unit)
      for (Index row = 0; row < job.rows; ++row)
        job.y[row * job.units + unit] =
            dot(job.x + row * job.features, job.weight + unit * job.features, job.features) + (job.bias ? job.bias[unit] : 0.0f);
  });
}

// to[n] = change(n, lanes) for a vector of numbers from n on.
template <class Change>
void over_all(const Job& job, float* to, int threads, Change&& change) {
  const Index count = job.rows * job.units;
  threads = threads_for(count * COST * (job.activation == TANH ? 4 : 1), threads);
  const Index vectors = ceiling(count, LANES);
  parallel(threads, threads, [&](int task) {
    const Index last = least(vectors * (task + 1) / threads * LANES, count);
    for (Index n = vectors * task / threads * LANES; n < last; n += LANES) {
      const int lanes = at_most(last - n);
      store(to + n, change(n, lanes), lanes);
    }
  });
}

}  // namespace

void dense_forward(const CorecurDense* given, int threads) {
  const Job& job = *given;
  if (job.rows < FEW_ROWS) {
    few_rows(job, threads);
  } else {
    CorecurProduct product = product_of(job.rows, job.units, job.features);
    product.a_row = product.b_column = job.features, product.a_depth = product.b_depth = 1;
    products(&product, 1, job.x, job.weight, job.bias, job.y, threads);
  }
  if (job.activation)
    over_all(job, job.y, threads,
             [&](Index n, int lanes) { return activated(static_cast<int>(job.activation), load(job.y + n, lanes)); });
}

void dense_backward(const CorecurDense* given, int threads) {
  const Job& job = *given;
  const float* d_z = job.d_y;
  if (job.activation) {
    over_all(job, job.d_z, threads, [&](Index n, int lanes) {
      return before(static_cast<int>(job.activation), load(job.d_y + n, lanes), load(job.y + n, lanes));
    });
    d_z = job.d_z;
  }
  if (job.d_bias) sum_rows(d_z, job.rows, job.units, job.d_bias);
  if (job.d_weight) {
    CorecurProduct product = product_of(job.units, job.features, job.rows);
    product.a_row = product.b_column = 1, product.a_depth = job.units, product.b_depth = job.features;
    products(&product, 1, d_z, job.x, nullptr, job.d_weight, threads);
  }
  if (job.d_x) {
    CorecurProduct product = product_of(job.rows, job.features, job.units);
    product.a_row = job.units, product.a_depth = product.b_column = 1, product.b_depth = job.features;
    products(&product, 1, d_z, job.weight, nullptr, job.d_x, threads);
  }
}

}  // namespace corecur::CORECUR_ISA

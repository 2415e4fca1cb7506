// A convolution as one product for each place of its kernel, with its activation and pooling, and the way back: for
// inputs hardly larger than the kernel, where most of what the kernel sees is padding.
#include "kernels.hpp"
#include "parallel.hpp"
#include "window.hpp"

namespace corecur::CORECUR_ISA {

void products(const CorecurProduct*, int, const float*, const float*, const float*, float*, int);

namespace {

using Job = CorecurConvolution;

// A load and a store take about as long as this many multiplications.
constexpr Index COST = 8;

template <class Body>
void over_rows(Index rows, Index width, int threads, Body&& body) {
  threads = threads_for(rows * width * COST, threads);
  parallel(threads, threads, [&](int task) {
    for (Index row = rows * task / threads; row < rows * (task + 1) / threads; ++row) body(row);
  });
}

void copy(float* to, const float* from, Index count) {
  std::memcpy(to, from, sizeof(float) * static_cast<std::size_t>(count));
}

void clear(float* to, Index count) { std::memset(to, 0, sizeof(float) * static_cast<std::size_t>(count)); }

Index sums_of(const Job& job) { return job.out_height * job.out_width * job.batch * job.filters; }

// Where in (H', W', B, F) the sums of one output begin.
Index at_position(const Job& job, Index row, Index column, Index sample) {
  return ((row * job.out_width + column) * job.batch + sample) * job.filters;
}

// body(where in y, lanes, where in the sums of the position, or of a window's upper left one) for every vector of y.
template <class Body>
void over_outputs(const Job& job, int threads, Body&& body) {
  const Index step = job.pool == NO_POOL ? 1 : 2;
  const Index columns = job.pooled_width, rows = job.batch * job.pooled_height * columns;
  over_rows(rows, step * step * job.filters, threads, [&](Index row) {
    const Index sample = row / (job.pooled_height * columns), down = row / columns % job.pooled_height;
    const Index from = at_position(job, step * down, step * (row % columns), sample);
    for (Index f = 0; f < job.filters; f += LANES) body(row * job.filters + f, at_most(job.filters - f), from + f);
  });
}

// The other three sums of a window, from the upper left one on.
struct Window {
  Index places[4];

  explicit Window(const Job& job)
      : places{0, job.batch * job.filters, job.out_width * job.batch * job.filters,
               (job.out_width + 1) * job.batch * job.filters} {}
};

void finish_all(const Job& job, const float* sums, int threads) {
  const Window window(job);
  over_outputs(job, threads, [&](Index at, int lanes, Index from) {
    if (job.pool == NO_POOL) {
      store(job.y + at, activated(job.activation, load(sums + from, lanes)), lanes);
      return;
    }
    Vector found[4];
    for (int n = 0; n < 4; ++n) found[n] = load(sums + from + window.places[n], lanes);
    finish(job, at, lanes, found);
  });
}

// What pooling leaves out at the end of odd sizes has no gradient.
bool leaves_out(const Job& job) {
  return job.pool != NO_POOL && (2 * job.pooled_height != job.out_height || 2 * job.pooled_width != job.out_width);
}

void spread_all(const Job& job, float* d_sums, int threads) {
  if (leaves_out(job)) clear(d_sums, sums_of(job));
  const Window window(job);
  over_outputs(job, threads, [&](Index at, int lanes, Index from) {
    if (job.pool == NO_POOL) {
      store(d_sums + from, before(job.activation, load(job.d_y + at, lanes), load(job.y + at, lanes)), lanes);
      return;
    }
    Vector found[4];
    spread(job, at, lanes, found);
    for (int n = 0; n < 4; ++n) store(d_sums + from + window.places[n], found[n], lanes);
  });
}

}  // namespace

void taps_forward(const CorecurTaps* given, int threads) {
  const Job& job = given->block;
  const Index positions = job.height * job.width, rows = job.out_height * job.out_width * job.batch;
  over_rows(positions * job.batch, job.channels, threads, [&](Index row) {
    const Index sample = row % job.batch, position = row / job.batch;
    copy(given->turned + row * job.channels, job.x + (sample * positions + position) * job.channels, job.channels);
  });
  float* sums = job.room;
  over_rows(rows, job.filters, threads, [&](Index row) {
    if (job.bias)
      copy(sums + row * job.filters, job.bias, job.filters);
    else
      clear(sums + row * job.filters, job.filters);
  });
  products(given->to_y, static_cast<int>(given->count), given->turned, job.weight, nullptr, sums, threads);
  finish_all(job, sums, threads);
}

void taps_backward(const CorecurTaps* given, int threads) {
  const Job& job = given->block;
  const int count = static_cast<int>(given->count);
  Room room{job.room};
  float* d_sums = room.take(sums_of(job));
  spread_all(job, d_sums, threads);
  if (job.d_bias) sum_rows(d_sums, job.out_height * job.out_width * job.batch, job.filters, job.d_bias);
  if (job.d_weight) {
    if (!given->every) clear(job.d_weight, job.filters * job.kernel_height * job.kernel_width * job.channels);
    products(given->to_weight, count, d_sums, given->turned, nullptr, job.d_weight, threads);
  }
  if (job.d_x) {
    const Index positions = job.height * job.width;
    float* d_turned = room.take(positions * job.batch * job.channels);
    clear(d_turned, positions * job.batch * job.channels);
    products(given->to_x, count, d_sums, job.weight, nullptr, d_turned, threads);
    over_rows(job.batch * positions, job.channels, threads, [&](Index row) {
      const Index sample = row / positions, position = row % positions;
      copy(job.d_x + row * job.channels, d_turned + (position * job.batch + sample) * job.channels, job.channels);
    });
  }
}

}  // namespace corecur::CORECUR_ISA

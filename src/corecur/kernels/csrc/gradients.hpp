// The gradients of weights, biases and inputs of a recurrence, from the gates' gradients of a few steps at a time.
//
// Each thread sums up what its own rows give, while the gates' gradients are in its cache; the threads' sums are added
// in the end. As products over all steps these gradients would come from memory again, and be shared by threads that
// wait for one another.
#pragma once

#include "outer.hpp"
#include "parallel.hpp"
#include "recurrent.hpp"
#include "share.hpp"

namespace corecur::CORECUR_ISA {

// Rows that are summed up at once: enough for the sums to be worth their way from the second cache and back, and few
// enough to stay in it. kernels/native.py makes room for them.
constexpr Index SUMMED_ROWS = 128;
constexpr int INPUT_VECTORS = 2;

// How the gates' gradients stand in a row: from `input` on those of the input's weights; from 0 on those of the
// recurrent ones, whose first gate is number `first` of the weights (GRU's columns are q, r, z, n).
struct Columns {
  Index gates, units, input, first;

  Index width() const { return gates * units; }
  Index all() const { return input + width(); }
  Index room() const { return ceiling(width(), OUTER_COLUMNS) * OUTER_COLUMNS; }
  // The row of the recurrent weights of a column.
  Index weight(Index column) const { return (column / units + first) % gates * units + column % units; }
};

// Where one thread's sums are: (C, G) and (H, G) in rows with room for whole tiles, and (D).
struct ThreadSums {
  float *input, *recurrent, *bias;

  ThreadSums(const CorecurRecurrent& job, const Columns& columns, Index share) {
    const Index weights = (job.features + job.units) * columns.room();
    input = job.sums + share * (weights + columns.input + columns.room());
    recurrent = input + job.features * columns.room();
    bias = input + weights;
  }
};

// One thread's way back over some rows.
class Gradients {
 public:
  Gradients(const CorecurRecurrent& job, const Columns& columns, Share share, Index number)
      : job(job), columns(columns), number(number), first(number * SUMMED_ROWS + 3 * share.first) {}

  // Where the gates' gradients of the next step go; those of the step after it stay where they are.
  float* place(Index rows) {
    if (steps == 0 && last >= rows) next = 0;
    return here();
  }

  // They are there: of rows from `packed` among all N, whose states lay at `before`.
  void add(Index packed, Index before, Index rows) {
    const float* d_gates = here();
    of_input[steps] = {job.x + packed * job.features, d_gates + columns.input, rows};
    of_state[steps++] = {job.h + before * job.h_stride, d_gates, rows};
    if (job.d_x != nullptr) multiply_input(d_gates + columns.input, packed, rows);
    last = next, next += rows, count += rows;
    if (count >= SUMMED_ROWS) sum_up();
  }

  void end() {
    if (steps > 0 || fresh) sum_up();
  }

 private:
  float* here() const { return job.d_gates + (first + next) * job.d_stride; }

  void sum_up() {
    const ThreadSums sums(job, columns, number);
    const Index width = columns.width(), room = columns.room();
    outer_products(of_input, steps, {job.features, job.d_stride, room}, job.features, width, sums.input, fresh);
    outer_products(of_state, steps, {job.h_stride, job.d_stride, room}, job.units, width, sums.recurrent, fresh);
    for (Index column = 0; column < columns.all(); column += LANES) {
      const int lanes = at_most(columns.all() - column);
      Vector total{};
      for (int step = 0; step < steps; ++step)
        for (Index row = 0; row < of_state[step].rows; ++row)
          total += load(of_state[step].b + row * job.d_stride + column, lanes);
      store(sums.bias + column, fresh ? total : load(sums.bias + column, lanes) + total, lanes);
    }
    fresh = false, steps = 0, count = 0;
  }

  void multiply_input(const float* d_gates, Index packed, Index rows) const {
    constexpr Index EACH = INPUT_VECTORS * LANES;
    const Index depth = columns.width();
    for (Index panel = 0; panel * EACH < job.features; ++panel)
      in_blocks(rows, ROWS_AT_ONCE<INPUT_VECTORS>, [&](Index start, Index block) {
        Tile tile;
        product<INPUT_VECTORS>(block, d_gates + start * job.d_stride, job.d_stride, job.packed_ih + panel * depth * EACH,
                               depth, tile);
        for (int v = 0; v < INPUT_VECTORS; ++v) {
          const Index column = panel * EACH + v * LANES;
          if (column >= job.features) break;
          for (Index row = 0; row < block; ++row)
            store(job.d_x + (packed + start + row) * job.features + column, tile.template at<INPUT_VECTORS>(row, v),
                  at_most(job.features - column));
        }
      });
  }

  const CorecurRecurrent& job;
  const Columns columns;
  const Index number, first;  // of the thread, and of its rows of gates' gradients
  Pieces of_input[SUMMED_ROWS], of_state[SUMMED_ROWS];  // each step has a row at least
  int steps = 0;
  Index last = 0, next = 0, count = 0;  // rows: where the last step lies, where the next may go, and how many to sum up
  bool fresh = true;
};

// packed_ih[panel][gate and unit][vector][lane] = weight_ih[gate and unit][column]
inline void pack_input(const CorecurRecurrent& job, const Columns& columns, Index panel) {
  float* to = job.packed_ih + panel * columns.width() * INPUT_VECTORS * LANES;
  for (Index row = 0; row < columns.width(); ++row)
    for (int v = 0; v < INPUT_VECTORS; ++v, to += LANES) {
      const Index column = (panel * INPUT_VECTORS + v) * LANES, left = job.features - column;
      store(to, left > 0 ? load(job.weight_ih + row * job.features + column, at_most(left)) : Vector{});
    }
}

// The sums of all threads for LANES columns from the vector `number` on, as rows of the weights' gradients.
inline void collect(const CorecurRecurrent& job, const Columns& columns, int shares, Index number) {
  const Index first = number * LANES;
  auto total = [&](float* ThreadSums::*part, Index at, int lanes) {
    Vector found{};
    for (int share = 0; share < shares; ++share) found += load(ThreadSums(job, columns, share).*part + at, lanes);
    return found;
  };
  const int all = at_most(columns.all() - first);
  store(job.d_bias + first, total(&ThreadSums::bias, first, all), all);
  if (first >= columns.width()) return;
  const int count = at_most(columns.width() - first);
  auto turn = [&](float* ThreadSums::*part, Index width, float* weights, auto&& row_of) {
    for (Index i = 0; i < width; i += LANES) {
      const int rows = at_most(width - i);
      Vector block[LANES];
      for (int row = 0; row < rows; ++row) block[row] = total(part, (i + row) * columns.room() + first, LANES);
      for (int lane = 0; lane < count; ++lane)
        for (int row = 0; row < rows; ++row) weights[row_of(first + lane) * width + i + row] = block[row][lane];
    }
  };
  turn(&ThreadSums::input, job.features, job.d_weight_ih, [](Index column) { return column; });
  turn(&ThreadSums::recurrent, job.units, job.d_weight, [&](Index column) { return columns.weight(column); });
}

// The sums over the gates' gradients as the gradients of both biases.
inline void split_biases(const CorecurRecurrent& job, const Columns& columns) {
  auto copy = [&](float* to, Index from, Index count) {
    std::memcpy(to, job.d_bias + from, sizeof(float) * static_cast<std::size_t>(count));
  };
  if (job.d_bias_ih) copy(job.d_bias_ih, columns.input, columns.width());
  if (job.d_bias_hh == nullptr) return;
  const Index leading = (columns.gates - columns.first) * columns.units;  // columns that stand before the first gate's
  copy(job.d_bias_hh + columns.first * columns.units, 0, leading);
  copy(job.d_bias_hh, leading, columns.width() - leading);
}

}  // namespace corecur::CORECUR_ISA

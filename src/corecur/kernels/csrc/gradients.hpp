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
constexpr Index FEW_ROWS = 24;  // of a step
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

// One thread's way back over some rows; or over all of them, of some columns, where threads share the units.
class Gradients {
 public:
  Gradients(const CorecurRecurrent& job, const Columns& columns, Share share, Index number, const Member& member)
      : job(job), columns(columns), member(member), number(number), first(number * SUMMED_ROWS + 3 * share.first) {}

  // Where the gates' gradients of the next step go; those of the step after it stay where they are.
  float* place(Index rows) {
    if (steps == 0 && last >= rows) next = 0;
    return here();
  }

  // They are there, those of all members: of rows from `packed` among all N, whose states lay at `before`.
  void add(Index packed, Index before, Index rows) {
    const float* d_gates = here();
    of_input[steps] = {job.x + packed * job.features, d_gates + columns.input, rows};
    of_state[steps++] = {job.h + before * job.h_stride, d_gates, rows};
    if (later())
      for (Index row = 0; row < rows; ++row) to[count + row] = packed + row;
    else if (job.d_x != nullptr)
      multiply_input(d_gates + columns.input, rows, [packed](Index row) { return packed + row; });
    last = next, next += rows, count += rows;
    if (count >= SUMMED_ROWS) sum_up();
  }

  void end() {
    if (steps > 0 || fresh) sum_up();
  }

 private:
  float* here() const { return job.d_gates + (first + next) * job.d_stride; }

  // Whether the gradients of the input come with the sums: where a step has so few rows that its weights are not worth
  // the way from the second cache, and other threads have a part of it.
  bool later() const { return job.d_x != nullptr && member.count > 1 && job.batch < FEW_ROWS; }

  void sum_up() {
    if (later()) multiply_input(of_state[0].b + columns.input, count, [this](Index row) { return to[row]; });
    const ThreadSums sums(job, columns, number);
    const Index width = columns.width(), room = columns.room();
    const Share own = part(width, OUTER_COLUMNS), own_bias = part(columns.all(), LANES);
    outer_products(of_input, steps, {job.features, job.d_stride, room}, job.features, own, sums.input, fresh);
    outer_products(of_state, steps, {job.h_stride, job.d_stride, room}, job.units, own, sums.recurrent, fresh);
    for (Index column = own_bias.first; column < own_bias.last; column += LANES) {
      const int lanes = at_most(columns.all() - column);
      Vector total{};
      for (int step = 0; step < steps; ++step)
        for (Index row = 0; row < of_state[step].rows; ++row)
          total += load(of_state[step].b + row * job.d_stride + column, lanes);
      store(sums.bias + column, fresh ? total : load(sums.bias + column, lanes) + total, lanes);
    }
    fresh = false, steps = 0, count = 0;
    member.meet();  // before the next step's gradients take the place of these
  }

  // This member's part of some columns, in whole tiles of `each`.
  Share part(Index all, Index each) const {
    const Index tiles = ceiling(all, each), last = member.last(tiles) * each;
    return {member.first(tiles) * each, last < all ? last : all};
  }

  // `place` says where among all N each row is.
  template <class Place>
  void multiply_input(const float* d_gates, Index rows, Place&& place) const {
    constexpr Index EACH = INPUT_VECTORS * LANES;
    const Index depth = columns.width();
    const Index panels = ceiling(job.features, EACH), last = member.last(panels);
    for (Index panel = member.first(panels); panel < last; ++panel)
      in_blocks(rows, ROWS_AT_ONCE<INPUT_VECTORS>, [&](Index start, Index block) {
        Tile tile;
        product<INPUT_VECTORS>(block, d_gates + start * job.d_stride, job.d_stride, job.packed_ih + panel * depth * EACH,
                               depth, tile);
        for (int v = 0; v < INPUT_VECTORS; ++v) {
          const Index column = panel * EACH + v * LANES;
          if (column >= job.features) break;
          for (Index row = 0; row < block; ++row)
            store(job.d_x + place(start + row) * job.features + column, tile.template at<INPUT_VECTORS>(row, v),
                  at_most(job.features - column));
        }
      });
  }

  const CorecurRecurrent& job;
  const Columns columns;
  const Member member;
  const Index number, first;  // of the thread, and of its rows of gates' gradients
  Pieces of_input[SUMMED_ROWS], of_state[SUMMED_ROWS];  // each step has a row at least
  Index to[SUMMED_ROWS + FEW_ROWS];                      // where the rows of the input's gradients go
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
      Vector square[LANES];
      for (int row = 0; row < LANES; ++row)
        square[row] = row < rows ? total(part, (i + row) * columns.room() + first, LANES) : Vector{};
      transpose(square);
      for (int lane = 0; lane < count; ++lane) store(weights + row_of(first + lane) * width + i, square[lane], rows);
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

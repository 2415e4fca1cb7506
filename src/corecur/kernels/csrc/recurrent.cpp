// Recurrences over a whole sequence, forward and backward, for cells whose gates need nothing but their own unit.
//
// The batch is split over threads, so that no step waits for another thread; or, where rows are few and weights many, the
// units are, and the threads meet after each step. Of each step, a tile of rows times one
// panel of the recurrent weights stays in registers; a panel holds all gates of a few units, and so the gates and the
// new state of these units follow at once.
#include <numeric>

#include "gradients.hpp"
#include "kernels.hpp"
#include "parallel.hpp"
#include "share.hpp"
#include "tile.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Job = CorecurRecurrent;

// Where one row of one step finds its numbers.
struct Place {
  const Job& job;
  Index row;     // in the batch
  Index packed;  // among all N
  Index before;  // the row of h and c that holds its state before the step
  Index after;   // and the one for that after it
  Index unit;    // the first of the units at hand
  int count;     // how many of them there are
  float* d_row;  // the gates' gradients, on the way back

  const float* old_h() const { return job.h + before * job.h_stride + unit; }
  const float* old_c() const { return job.c + (job.training ? before : row) * job.units + unit; }
  float* new_h() const { return job.h + after * job.h_stride + unit; }
  float* new_c() const { return job.c + (job.training ? after : row) * job.units + unit; }
  float* gate(int number, int gates) const { return job.gates + (packed * gates + number) * job.units + unit; }
  float* d_gate(int number) const { return d_row + number * job.units + unit; }
  Vector of(const float* at) const { return load(at, count); }
  void set(float* at, Vector value) const { store(at, value, count); }
  // Fetches what the gates will read or write, while the product before them runs: rows are too far apart for the
  // processor to see it coming.
  void fetch(int gates) const {
    for (int gate = 0; job.gates && gate < gates; ++gate) __builtin_prefetch(this->gate(gate, gates), 1);
  }
  // What stays of the old state: zeros without zoneout.
  Vector stays(const float* zoneout) const {
    return zoneout == nullptr ? Vector{} : of(zoneout + packed * job.units + unit);
  }
};

// A cell says how many gates it has, of how many vectors a panel is made, of which gate the recurrent part stands apart
// from the input's (-1: of none), and what follows from the gates' sums: `sums` of both parts, of the gate apart the
// recurrent part alone, and `apart` its input's part.

template <bool RELU>
struct SimpleRnn {
  static constexpr int GATES = 1, VECTORS = 2, APART = -1, BACK_GATES = 1;

  static CORECUR_INLINE void forward(const Place& at, const Vector* sums, Vector) {
    Vector h = RELU ? larger(sums[0], Vector{}) : tanh(sums[0]);
    if (at.job.zoneout_h) {  // without it the new state says what the gate was
      if (at.job.training) at.set(at.gate(0, 1), h);
      h = mix(h, at.of(at.old_h()), at.stays(at.job.zoneout_h));
    }
    at.set(at.new_h(), h);
  }

  static CORECUR_INLINE Vector backward(const Place& at, Vector d) {
    Vector h = at.of(at.job.zoneout_h ? at.gate(0, 1) : at.new_h()), stays = at.stays(at.job.zoneout_h);
    Vector d_new = d * (1.0f - stays);
    at.set(at.d_gate(0), RELU ? (h <= 0.0f ? Vector{} : d_new) : d_new * (1.0f - h * h));
    return stays * d;
  }
};

template <bool PEEPHOLES>
struct Lstm {
  static constexpr int GATES = 4, VECTORS = 4, APART = -1, BACK_GATES = 4;

  static CORECUR_INLINE Vector eye(const Place& at, int gate) { return at.of(at.job.peephole + gate * at.job.units + at.unit); }

  static CORECUR_INLINE void forward(const Place& at, const Vector* sums, Vector) {
    const Job& job = at.job;
    Vector old = at.of(at.old_c());
    Vector i = sums[0], f = sums[1], g = tanh(sums[2]), o = sums[3];
    if constexpr (PEEPHOLES) i += eye(at, 0) * old, f += eye(at, 1) * old;
    i = sigmoid(i), f = sigmoid(f);
    Vector c = f * old + i * g;
    if constexpr (PEEPHOLES) o += eye(at, 2) * c;
    o = sigmoid(o);
    Vector h = o * tanh(c);
    if (job.training) {
      at.set(at.gate(0, 4), i), at.set(at.gate(1, 4), f), at.set(at.gate(2, 4), g), at.set(at.gate(3, 4), o);
    }
    if (job.zoneout_h) {
      h = mix(h, at.of(at.old_h()), at.stays(job.zoneout_h));
      c = mix(c, old, at.stays(job.zoneout_c));
    }
    at.set(at.new_c(), c), at.set(at.new_h(), h);
  }

  static CORECUR_INLINE Vector backward(const Place& at, Vector d) {
    const Job& job = at.job;
    Vector i = at.of(at.gate(0, 4)), f = at.of(at.gate(1, 4)), g = at.of(at.gate(2, 4)), o = at.of(at.gate(3, 4));
    Vector old = at.of(at.old_c());
    Vector c = job.zoneout_h ? f * old + i * g : at.of(at.new_c());
    Vector stays_h = at.stays(job.zoneout_h), stays_c = at.stays(job.zoneout_h ? job.zoneout_c : nullptr);
    float* d_cell = job.d_c + at.row * job.units + at.unit;
    Vector d_c = at.of(d_cell), d_h = d * (1.0f - stays_h);
    Vector y = tanh(c);
    Vector d_o = d_h * y * o * (1.0f - o);
    Vector d_new = d_c * (1.0f - stays_c) + d_h * o * (1.0f - y * y);
    if constexpr (PEEPHOLES) d_new += d_o * eye(at, 2);
    Vector d_i = d_new * g * i * (1.0f - i), d_f = d_new * old * f * (1.0f - f);
    Vector d_old = stays_c * d_c + d_new * f;
    if constexpr (PEEPHOLES) d_old += d_i * eye(at, 0) + d_f * eye(at, 1);
    at.set(d_cell, d_old);
    at.set(at.d_gate(0), d_i), at.set(at.d_gate(1), d_f);
    at.set(at.d_gate(2), d_new * i * (1.0f - g * g)), at.set(at.d_gate(3), d_o);
    return stays_h * d;
  }
};

struct Gru {
  // The gradients' columns are q, r, z, n: q, what flows into the recurrent part of n, first, so that both the
  // recurrent weights' (q, r, z) and the input weights' (r, z, n) stand side by side.
  static constexpr int GATES = 3, VECTORS = 3, APART = 2, BACK_GATES = 3;

  static CORECUR_INLINE void forward(const Place& at, const Vector* sums, Vector apart) {
    const Job& job = at.job;
    Vector old = at.of(at.old_h());
    Vector r = sigmoid(sums[0]), z = sigmoid(sums[1]), q = sums[2];
    if (job.bias_hh) q += at.of(job.bias_hh + 2 * job.units + at.unit);
    Vector n = tanh(apart + r * q);
    if (job.training) {
      at.set(at.gate(0, 3), r), at.set(at.gate(1, 3), z), at.set(at.gate(2, 3), n);
      at.set(job.extra + at.packed * job.units + at.unit, q);
    }
    Vector h = n + z * (old - n);
    if (job.zoneout_h) h = mix(h, old, at.stays(job.zoneout_h));
    at.set(at.new_h(), h);
  }

  static CORECUR_INLINE Vector backward(const Place& at, Vector d) {
    const Job& job = at.job;
    Vector r = at.of(at.gate(0, 3)), z = at.of(at.gate(1, 3)), n = at.of(at.gate(2, 3));
    Vector q = at.of(job.extra + at.packed * job.units + at.unit), old = at.of(at.old_h());
    Vector stays = at.stays(job.zoneout_h), d_new = d * (1.0f - stays);
    Vector d_n = d_new * (1.0f - z) * (1.0f - n * n), d_q = d_n * r;
    at.set(at.d_gate(0), d_q), at.set(at.d_gate(1), d_q * q * (1.0f - r));
    at.set(at.d_gate(2), d_new * (old - n) * z * (1.0f - z)), at.set(at.d_gate(3), d_n);
    return d_new * z + stays * d;
  }
  // The rows of the recurrent weights r, z, n in the order q, r, z.
  static constexpr int BACK_ORDER[3] = {2, 0, 1};
};

template <class Cell>
constexpr int back_gate(int gate) {
  if constexpr (requires { Cell::BACK_ORDER; }) return Cell::BACK_ORDER[gate];
  return gate;
}

constexpr int BACK_VECTORS = 2;

template <class Cell>
constexpr Index UNITS = Cell::VECTORS / Cell::GATES * LANES;  // of a panel

// Rows of a panel: the biases, the depth of the input's weights and that of the recurrent ones; the last alone where the
// input's part is there already.
Index packed_depth(const Job& job) { return job.units + (job.x ? 1 + job.features : 0); }

// [row][gate][vector][lane], of weights = weight[gate][unit][k].
template <class Cell>
void pack_forward(const Job& job, Index panel) {
  constexpr int EACH = Cell::VECTORS / Cell::GATES;
  constexpr Index WIDTH = Cell::VECTORS * LANES;
  float* to = job.packed + panel * packed_depth(job) * WIDTH;
  auto pack = [&](const float* weight, Index depth) {
    for (Index k = 0; k < depth; k += LANES) {  // what is written stays in the first cache
      const int count = at_most(depth - k);
      for (int vector = 0; vector < Cell::VECTORS; ++vector) {
        const Index unit = panel * UNITS<Cell> + vector % EACH * LANES;
        const float* from = weight + (vector / EACH * job.units + unit) * depth + k;
        Vector square[LANES];
        for (int row = 0; row < LANES; ++row) square[row] = unit + row < job.units ? load(from + row * depth, count) : Vector{};
        transpose(square);
        for (int row = 0; row < count; ++row) store(to + (k + row) * WIDTH + vector * LANES, square[row]);
      }
    }
    to += depth * WIDTH;
  };
  if (job.x != nullptr) {
    for (int gate = 0; gate < Cell::GATES; ++gate)
      for (int v = 0; v < EACH; ++v, to += LANES) {
        const Index unit = panel * UNITS<Cell> + v * LANES, left = job.units - unit;
        Vector start{};
        if (job.bias != nullptr && left > 0) start += load(job.bias + gate * job.units + unit, at_most(left));
        if (job.bias_hh != nullptr && left > 0 && gate != Cell::APART)
          start += load(job.bias_hh + gate * job.units + unit, at_most(left));
        store(to, start);
      }
    pack(job.weight_ih, job.features);
  }
  pack(job.weight, job.units);
}

// packed[panel][gate · H + unit][vector][lane] = weight[gate][unit][column]
template <class Cell>
void pack_backward(const Job& job, Index panel) {
  Index depth = Cell::BACK_GATES * job.units, first = panel * BACK_VECTORS * LANES;
  float* to = job.packed + panel * depth * BACK_VECTORS * LANES;
  for (int gate = 0; gate < Cell::BACK_GATES; ++gate)
    for (Index unit = 0; unit < job.units; ++unit) {
      const float* from = job.weight + (back_gate<Cell>(gate) * job.units + unit) * job.units + first;
      for (int v = 0; v < BACK_VECTORS; ++v, to += LANES) {
        Index left = job.units - first - v * LANES;
        store(to, left > 0 ? load(from + v * LANES, left < LANES ? static_cast<int>(left) : LANES) : Vector{});
      }
    }
}

// What the rows of one block are multiplied with, and where they lie.
struct Factors {
  const float *x, *seen;  // the rows' features and states
  Index features, units, stride;
};

// The gates' sums of some rows and of the units of one panel; of the gate apart the state's part alone, the input's is put
// aside.
template <int ROWS, class Cell>
void sum_gates(const Factors& of, const float* panel, float* sums, float* aside) {
  constexpr int VECTORS = Cell::VECTORS, EACH = VECTORS / Cell::GATES, FIRST = Cell::APART * EACH;
  Vector held[ROWS][VECTORS];
#pragma GCC unroll 24
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) held[row][v] = load(panel + v * LANES);
  panel += VECTORS * LANES;
  add_products(of.x, of.features, panel, of.features, held);
  if constexpr (Cell::APART >= 0) {
#pragma GCC unroll 24
    for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
      for (int v = 0; v < EACH; ++v) {
        store(aside + (row * EACH + v) * LANES, held[row][FIRST + v]);
        held[row][FIRST + v] = Vector{};
      }
  }
  add_products(of.seen, of.stride, panel + of.features * VECTORS * LANES, of.units, held);
  store_sums(held, sums);
}

template <class Cell>
using SumGates = void (*)(const Factors&, const float*, float*, float*);

template <class Cell, int... ROWS>
constexpr SumGates<Cell> summing(int rows, std::integer_sequence<int, ROWS...>) {
  constexpr SumGates<Cell> of[] = {sum_gates<ROWS + 1, Cell>...};
  return of[rows - 1];
}

// The gates' sums of some rows and of the units of one panel, the input's part either multiplied here or found ready.
template <class Cell>
struct Sums {
  static constexpr int EACH = Cell::VECTORS / Cell::GATES;
  Tile tile;
  alignas(64) float apart[Cell::APART >= 0 ? ROWS_AT_ONCE<Cell::VECTORS> * EACH * LANES : 1];

  // `x` are the rows' features, or null.
  Sums(const Job& job, Index rows, const float* x, const float* seen, Index stride, const float* weights) {
    if (x == nullptr)
      product<Cell::VECTORS>(rows, seen, stride, weights, job.units, tile);
    else
      summing<Cell>(static_cast<int>(rows), std::make_integer_sequence<int, ROWS_AT_ONCE<Cell::VECTORS>>{})(
          {x, seen, job.features, job.units, stride}, weights, tile.sums, apart);
  }

  // Of one row and several panels, each of which takes the place of a row.
  Sums(const float* seen, const float* weights, Index apart, Index depth) {
    row_product<Cell::VECTORS>(seen, weights, apart, depth, tile);
  }

  // The sums of one row and one vector of units, as a cell takes them.
  CORECUR_INLINE Vector gather(const Place& at, Index row, int v, Vector (&own)[Cell::GATES]) const {
    Vector aside = Cell::APART >= 0 && at.job.x != nullptr ? load(apart + (row * EACH + v) * LANES) : Vector{};
    for (int gate = 0; gate < Cell::GATES; ++gate) {
      own[gate] = tile.template at<Cell::VECTORS>(row, gate * EACH + v);
      if (at.job.x != nullptr) continue;
      Vector input = at.of(at.gate(gate, Cell::GATES));
      gate == Cell::APART ? aside = input : own[gate] += input;
    }
    return aside;
  }
};

inline Share part_of(Share share, const Member& member) {
  const Index rows = share.last - share.first;
  return {share.first + member.first(rows), share.first + member.last(rows)};
}

// Some rows' states as they are given, or zeros.
inline void begin_states(const float* given, float* to, Index stride, Index units, Share share) {
  const std::size_t size = sizeof(float) * static_cast<std::size_t>(units);
  for (Index row = share.first; row < share.last; ++row)
    given ? std::memcpy(to + row * stride, given + row * units, size) : std::memset(to + row * stride, 0, size);
}

// The panels of a step, from the first to the last and in the next step from the last to the first: what was used last is
// in the second cache still, which does not hold all of them.
struct PanelOrder {
  Share panels;
  Index step;

  Index left() const { return panels.last - panels.first; }
  // The first of so many panels that come next.
  Index next(Index count) {
    if (step % 2 != 0) return panels.last -= count;
    panels.first += count;
    return panels.first - count;
  }
};

// Rows of several steps whose input is multiplied at once where threads share the units: so many that its weights are
// not read for each step, and so few that the second cache has them still when their steps come.
constexpr Index ROWS_AHEAD = 24;

// The input's part of the gates of some rows among all N, for the units of one panel whose packed weights begin here.
template <class Cell>
void multiply_ahead(const Job& job, const float* x, Share rows, Index panel, const float* weights) {
  constexpr int VECTORS = Cell::VECTORS, EACH = VECTORS / Cell::GATES;
  in_blocks(rows.last - rows.first, ROWS_AT_ONCE<VECTORS>, [&](Index start, Index count) {
    const Index first = rows.first + start;
    Tile tile;
    product<VECTORS>(count, x + first * job.features, job.features, weights + VECTORS * LANES, job.features, tile);
    for (int v = 0; v < VECTORS; ++v) {
      const Index unit = panel * UNITS<Cell> + v % EACH * LANES;
      if (unit >= job.units) continue;
      const Vector bias = load(weights + v * LANES);
      for (Index row = 0; row < count; ++row) {
        const Place at{job, 0, first + row, 0, 0, unit, at_most(job.units - unit), nullptr};
        at.set(at.gate(v / EACH, Cell::GATES), bias + tile.template at<VECTORS>(row, v));
      }
    }
  });
}

template <class Cell>
void forward_rows(const Job& given, Share share, const Member& member) {
  Job copy = given;
  const bool ahead = given.x != nullptr && given.shared > 0 && given.training;
  if (ahead) copy.x = nullptr;  // of a step: its gates hold the input's part then
  const Job job = copy;  // no store can change it, so what it says stays in registers
  constexpr int EACH = Cell::VECTORS / Cell::GATES, TOGETHER = PANELS_AT_ONCE<Cell::VECTORS>;
  const Index units = job.units, panels = ceiling(units, UNITS<Cell>);
  const Index size = packed_depth(given) * Cell::VECTORS * LANES;  // of a panel
  const float* weights = job.packed + (ahead ? (1 + job.features) * Cell::VECTORS * LANES : 0);
  const Share begun = part_of(share, member), own = {member.first(panels), member.last(panels)};
  begin_states(job.first_h, job.h, job.h_stride, units, begun);
  if (job.c) begin_states(job.first_c, job.c, units, units, begun);
  member.meet();
  Index before = share.first;  // where h holds the state before the step
  auto running = [&](Index t) {
    const Index rows = t < job.steps ? (job.sizes[t] < share.last ? job.sizes[t] : share.last) - share.first : 0;
    return rows > 0 ? rows : 0;
  };
  Index there = 0;  // rows among all N whose input's part is there
  for (Index t = 0; running(t) > 0; ++t) {
    const Index rows = running(t);
    if (ahead && job.offsets[t] == there) {
      Index until = there;
      for (Index step = t; step < job.steps && until - there < ROWS_AHEAD; ++step) until += job.sizes[step];
      for (Index panel = own.first; panel < own.last; ++panel)
        multiply_ahead<Cell>(job, given.x, {there, until}, panel, job.packed + panel * size);
      there = until;
    }
    const float* seen = job.h + before * job.h_stride;
    if (job.dropout) {
      const float* kept = job.dropout + share.first * units;
      float* masked = job.d_h + share.first * units;
      for (Index row = 0; row < rows; ++row)
        for (Index unit = 0; unit < units; ++unit)
          masked[row * units + unit] = seen[row * job.h_stride + unit] * kept[row * units + unit];
      seen = masked;
    }
    const Index stride = job.dropout ? units : job.h_stride;
    const Index packed = job.offsets[t] + share.first;
    const Index after = share.first + (job.rolling ? (before < job.batch ? job.batch : 0) : job.batch + job.offsets[t]);
    auto finish = [&](Index panel, int v, Index n, const Sums<Cell>& sums, Index place) __attribute__((always_inline)) {
      const Index unit = panel * UNITS<Cell> + v * LANES;
      Place at{job, share.first + n, packed + n, before + n, after + n, unit, at_most(units - unit), nullptr};
      Vector of_gates[Cell::GATES];
      Vector apart = sums.gather(at, place, v, of_gates);
      Cell::forward(at, of_gates, apart);
    };
    PanelOrder order{own, t};
    while (rows == 1 && job.x == nullptr && order.left() >= TOGETHER) {
      const Index panel = order.next(TOGETHER);
      Sums<Cell> sums(seen, weights + panel * size, size, units);
      for (Index p = 0; p < TOGETHER; ++p)
        for (int v = 0; v < EACH && (panel + p) * UNITS<Cell> + v * LANES < units; ++v) finish(panel + p, v, 0, sums, p);
    }
    while (order.left() > 0) {
      const Index panel = order.next(1);
      in_blocks(rows, ROWS_AT_ONCE<Cell::VECTORS>, [&](Index start, Index count) {
        const float* x = job.x ? job.x + (packed + start) * job.features : nullptr;
        if (job.training || x == nullptr)
          for (int v = 0; v < EACH; ++v)
            for (Index row = 0; row < count; ++row)
              Place{job, 0, packed + start + row, 0, 0, panel * UNITS<Cell> + v * LANES, 0, nullptr}.fetch(Cell::GATES);
        Sums<Cell> sums(job, count, x, seen + start * stride, stride, weights + panel * size);
        for (int v = 0; v < EACH && panel * UNITS<Cell> + v * LANES < units; ++v)
          for (Index row = 0; row < count; ++row) finish(panel, v, start + row, sums, row);
      });
    }
    before = after;
    member.meet();
    for (Index n = running(t + 1); job.rolling && before >= job.batch && n < rows; ++n)  // the last states stand first
      if (n % member.count == member.number)
        std::memcpy(job.h + (share.first + n) * job.h_stride, job.h + (before + n) * job.h_stride,
                    sizeof(float) * static_cast<std::size_t>(units));
  }
}

template <class Cell>
Columns columns_of(const Job& job) {
  return {Cell::GATES, job.units, Cell::APART >= 0 ? job.units : 0, back_gate<Cell>(0)};
}

template <class Cell>
void backward_rows(const Job& given, Share share, int number, const Member& member) {
  const Job job = given;
  constexpr Index EACH = BACK_VECTORS * LANES, TOGETHER = PANELS_AT_ONCE<BACK_VECTORS>;
  const Index units = job.units, depth = Cell::BACK_GATES * units, width = job.d_stride;
  const Index panels = ceiling(units, EACH);
  const Share begun = part_of(share, member), own = {member.first(panels), member.last(panels)};
  begin_states(job.d_last_h, job.d_h, units, units, begun);
  if (job.d_c) begin_states(job.d_last_c, job.d_c, units, units, begun);
  member.meet();
  Gradients gradients(given, columns_of<Cell>(given), share, number, member);
  Index later = 0;  // rows of the share that run at the step after
  const float* d_later = nullptr;
  // One more step than there are: its way back ends in the first state.
  for (Index t = job.steps - 1; t >= -1; --t) {
    Index rows = t < 0 ? later : (job.sizes[t] < share.last ? job.sizes[t] : share.last) - share.first;
    if (rows <= 0) continue;
    const Index packed = t < 0 ? 0 : job.offsets[t] + share.first;
    const Index before = t == 0 ? share.first : t < 0 ? 0 : job.batch + job.offsets[t - 1] + share.first;
    float* d_here = t < 0 ? job.d_gates : job.sums ? gradients.place(rows) : job.d_gates + packed * width;
    auto finish = [&](Index n, Index unit, Vector through) __attribute__((always_inline)) {
      Place at{job, share.first + n, packed + n, before + n, job.batch + packed + n,
               unit, at_most(units - unit), d_here + n * width};
      float* d_h = job.d_h + at.row * units + unit;
      if (job.dropout) through *= at.of(job.dropout + at.row * units + unit);
      Vector d = at.of(d_h) + through;
      if (t < 0) return at.set(d_h, d);
      if (job.d_outputs) d += at.of(job.d_outputs + at.packed * units + unit);
      at.set(d_h, Cell::backward(at, d));
    };
    auto finish_ended = [&](Index panel) {  // rows that end here
      for (Index n = later; n < rows; ++n)
        for (Index unit = panel * EACH; unit < (panel + 1) * EACH && unit < units; unit += LANES) finish(n, unit, Vector{});
    };
    PanelOrder order{own, t};
    while (later == 1 && order.left() >= TOGETHER) {
      const Index panel = order.next(TOGETHER);
      Tile tile;
      row_product<BACK_VECTORS>(d_later, job.packed + panel * depth * EACH, depth * EACH, depth, tile);
      for (Index unit = panel * EACH, p = 0; unit < units && p < TOGETHER * BACK_VECTORS; unit += LANES, ++p)
        finish(0, unit, load(tile.sums + p * LANES));
      for (Index p = 0; p < TOGETHER; ++p) finish_ended(panel + p);
    }
    while (order.left() > 0) {
      const Index panel = order.next(1);
      in_blocks(later, ROWS_AT_ONCE<BACK_VECTORS>, [&](Index start, Index count) {
        for (Index row = 0; t >= 0 && row < count; ++row)
          for (int v = 0; v < BACK_VECTORS; ++v) {
            const Index unit = panel * EACH + v * LANES, n = start + row;
            Place{job, 0, packed + n, 0, 0, unit, 0, nullptr}.fetch(Cell::GATES);
            if (job.c) __builtin_prefetch(job.c + (before + n) * units + unit);
            if (job.d_outputs) __builtin_prefetch(job.d_outputs + (packed + n) * units + unit);
            if (Cell::APART >= 0) __builtin_prefetch(job.extra + (packed + n) * units + unit);
          }
        Tile tile;
        product<BACK_VECTORS>(count, d_later + start * width, width, job.packed + panel * depth * EACH, depth, tile);
        for (int v = 0; v < BACK_VECTORS && panel * EACH + v * LANES < units; ++v)
          for (Index row = 0; row < count; ++row)
            finish(start + row, panel * EACH + v * LANES, tile.at<BACK_VECTORS>(row, v));
      });
      finish_ended(panel);
    }
    member.meet();
    if (job.sums && t >= 0) gradients.add(packed, before, rows);
    later = rows, d_later = d_here;
  }
  if (job.sums) gradients.end();
}

struct Kind {
  Index units;  // of a panel on the way there
  Index gates;
  void (*pack_forward)(const Job&, Index);
  void (*pack_backward)(const Job&, Index);
  void (*forward)(const Job&, Share, const Member&);
  void (*backward)(const Job&, Share, int, const Member&);
  Columns (*columns)(const Job&);
};

template <class Cell>
constexpr Kind kind_of() {
  return {UNITS<Cell>, Cell::GATES, pack_forward<Cell>, pack_backward<Cell>, forward_rows<Cell>,
          backward_rows<Cell>, columns_of<Cell>};
}

// In the order of KINDS in kernels/native.py.
constexpr Kind KINDS[] = {kind_of<SimpleRnn<false>>(), kind_of<SimpleRnn<true>>(), kind_of<Lstm<false>>(),
                          kind_of<Lstm<true>>(), kind_of<Gru>()};

// The row of zeros behind the states, where all of them are kept.
void end_states(const Job& job) {
  const std::size_t size = sizeof(float) * static_cast<std::size_t>(job.units);
  const Index end = job.batch + (job.steps > 0 ? job.offsets[job.steps - 1] + job.sizes[job.steps - 1] : 0);
  if (!job.rolling) std::memset(job.h + end * job.h_stride, 0, size);
  if (job.c && job.training) std::memset(job.c + end * job.units, 0, size);
}

// Into how many shares the rows of each job are divided, so that each thread has as many of them; none without a row.
int shares_of(const Job* jobs, int count, int threads) {
  Index shares = threads / std::gcd(threads, count > 0 ? count : 1);
  for (int n = 0; n < count; ++n) shares = jobs[n].batch < shares ? jobs[n].batch : shares;
  return shares > 0 ? static_cast<int>(shares) : 1;
}

template <bool BACKWARD>
int over_sequence(const CorecurRecurrent* jobs, int count, int threads) {
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  Index multiplications = 0;
  for (int n = 0; n < count; ++n) {
    const Job& job = jobs[n];
    const Index depth = job.units + (job.x ? job.features : 0);
    for (Index t = 0; t < job.steps; ++t) multiplications += job.sizes[t] * depth * job.units * KINDS[job.kind].gates;
  }
  const bool shared = count == 1 && jobs->shared > 0;  // where they are, Python found that it repays them
  // In training the other threads are awake still from the step before.
  if (!shared) threads = threads_for((count > 0 && jobs->training ? 4 : 1) * multiplications, threads);
  for (int n = 0; n < count; ++n) {
    const Job& job = jobs[n];
    const Kind& kind = KINDS[job.kind];
    Index panels = ceiling(job.units, BACKWARD ? BACK_VECTORS * LANES : kind.units);
    parallel(static_cast<int>(panels), threads,
             [&](int panel) { (BACKWARD ? kind.pack_backward : kind.pack_forward)(job, panel); });
  }
  for (int n = 0; !BACKWARD && n < count; ++n) end_states(jobs[n]);
  const int shares = shared ? 1 : shares_of(jobs, count, threads);
  for (int n = 0; BACKWARD && n < count; ++n) {
    const Job& job = jobs[n];
    if (job.sums == nullptr || job.d_x == nullptr) continue;
    parallel(static_cast<int>(ceiling(job.features, INPUT_VECTORS * LANES)), threads,
             [&](int panel) { pack_input(job, KINDS[job.kind].columns(job), panel); });
  }
  auto run = [&](const Job& job, Share share, int number, const Member& member) {
    if constexpr (BACKWARD)
      KINDS[job.kind].backward(job, share, number, member);
    else
      KINDS[job.kind].forward(job, share, member);
  };
  if (shared)
    together(jobs->shared < threads ? jobs->shared : threads,
             [&](const Member& member) { run(*jobs, {0, jobs->batch}, 0, member); });
  else
    parallel(count * shares, threads, [&](int task) {
      const Job& job = jobs[task / shares];
      Index first[MOST_THREADS + 1];
      divide(job, shares, first);
      run(job, {first[task % shares], first[task % shares + 1]}, task % shares, Member{});
    });
  for (int n = 0; BACKWARD && n < count; ++n) {
    const Job& job = jobs[n];
    if (job.sums == nullptr) continue;
    const Columns columns = KINDS[job.kind].columns(job);
    parallel(static_cast<int>(ceiling(columns.all(), LANES)), threads,
             [&](int number) { collect(job, columns, shares, number); });
    split_biases(job, columns);
  }
  return 0;
}

}  // namespace

int recurrent_forward(const CorecurRecurrent* jobs, int count, int threads) {
  return over_sequence<false>(jobs, count, threads);
}

int recurrent_backward(const CorecurRecurrent* jobs, int count, int threads) {
  return over_sequence<true>(jobs, count, threads);
}

}  // namespace corecur::CORECUR_ISA

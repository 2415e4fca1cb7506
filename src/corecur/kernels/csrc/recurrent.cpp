// Recurrences over a whole sequence, forward and backward, for cells whose gates need nothing but their own unit.
//
// The batch is split over threads, so that no step waits for another thread. Of each step, a tile of rows times one
// panel of the recurrent weights stays in registers; a panel holds all gates of a few units, and so the gates and the
// new state of these units follow at once.
#include "kernels.hpp"
#include "parallel.hpp"
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
  Index unit;    // the first of the units at hand
  int count;     // how many of them there are

  const float* state(const float* of, Index width) const { return of + before * width + unit; }
  float* fresh(float* of, Index width) const { return of + (job.batch + packed) * width + unit; }
  float* gate(int number, int gates) const { return job.gates + (packed * gates + number) * job.units + unit; }
  float* d_gate(int number, int gates) const { return job.d_gates + (packed * gates + number) * job.units + unit; }
  Vector of(const float* at) const { return load(at, count); }
  void set(float* at, Vector value) const { store(at, value, count); }
  // What stays of the old state: zeros without zoneout.
  Vector stays(const float* zoneout) const {
    return zoneout == nullptr ? Vector{} : of(zoneout + packed * job.units + unit);
  }
};

// Between the two, exactly the old value where all of it stays.
CORECUR_INLINE Vector mix(Vector fresh, Vector old, Vector stays) {
  Vector apart = old - fresh;
  return stays < 0.5f ? fresh + stays * apart : old - apart * (1.0f - stays);
}

template <bool RELU>
struct SimpleRnn {
  static constexpr int GATES = 1, VECTORS = 2, BACK_GATES = 1, D_GATES = 1;

  static CORECUR_INLINE void forward(const Place& at, const Vector* product) {
    Vector x = at.of(at.gate(0, 1)) + product[0];
    Vector h = RELU ? larger(x, Vector{}) : tanh(x);
    if (at.job.training) at.set(at.gate(0, 1), h);
    if (at.job.zoneout_h) h = mix(h, at.of(at.state(at.job.h, at.job.units)), at.stays(at.job.zoneout_h));
    at.set(at.fresh(at.job.h, at.job.units), h);
  }

  static CORECUR_INLINE Vector backward(const Place& at, Vector d) {
    Vector h = at.of(at.gate(0, 1)), stays = at.stays(at.job.zoneout_h);
    Vector d_new = d * (1.0f - stays);
    at.set(at.d_gate(0, 1), RELU ? (h <= 0.0f ? Vector{} : d_new) : d_new * (1.0f - h * h));
    return stays * d;
  }
};

template <bool PEEPHOLES>
struct Lstm {
  static constexpr int GATES = 4, VECTORS = 4, BACK_GATES = 4, D_GATES = 4;

  static CORECUR_INLINE Vector eye(const Place& at, int gate) { return at.of(at.job.peephole + gate * at.job.units + at.unit); }

  static CORECUR_INLINE void forward(const Place& at, const Vector* product) {
    const Job& job = at.job;
    Vector old = at.of(at.state(job.c, job.units));
    Vector i = at.of(at.gate(0, 4)) + product[0], f = at.of(at.gate(1, 4)) + product[1];
    Vector g = tanh(at.of(at.gate(2, 4)) + product[2]), o = at.of(at.gate(3, 4)) + product[3];
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
      h = mix(h, at.of(at.state(job.h, job.units)), at.stays(job.zoneout_h));
      c = mix(c, old, at.stays(job.zoneout_c));
    }
    at.set(at.fresh(job.c, job.units), c), at.set(at.fresh(job.h, job.units), h);
  }

  static CORECUR_INLINE Vector backward(const Place& at, Vector d) {
    const Job& job = at.job;
    Vector i = at.of(at.gate(0, 4)), f = at.of(at.gate(1, 4)), g = at.of(at.gate(2, 4)), o = at.of(at.gate(3, 4));
    Vector old = at.of(at.state(job.c, job.units));
    Vector c = job.zoneout_h ? f * old + i * g : at.of(at.fresh(job.c, job.units));
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
    at.set(at.d_gate(0, 4), d_i), at.set(at.d_gate(1, 4), d_f);
    at.set(at.d_gate(2, 4), d_new * i * (1.0f - g * g)), at.set(at.d_gate(3, 4), d_o);
    return stays_h * d;
  }
};

struct Gru {
  // The gradients' columns are q, r, z, n: q, what flows into the recurrent part of n, first, so that both the
  // recurrent weights' (q, r, z) and the input weights' (r, z, n) stand side by side.
  static constexpr int GATES = 3, VECTORS = 3, BACK_GATES = 3, D_GATES = 4;

  static CORECUR_INLINE void forward(const Place& at, const Vector* product) {
    const Job& job = at.job;
    Vector old = at.of(at.state(job.h, job.units));
    Vector r = sigmoid(at.of(at.gate(0, 3)) + product[0]), z = sigmoid(at.of(at.gate(1, 3)) + product[1]);
    Vector q = product[2];
    if (job.bias) q += at.of(job.bias + at.unit);
    Vector n = tanh(at.of(at.gate(2, 3)) + r * q);
    if (job.training) {
      at.set(at.gate(0, 3), r), at.set(at.gate(1, 3), z), at.set(at.gate(2, 3), n);
      at.set(job.extra + at.packed * job.units + at.unit, q);
    }
    Vector h = n + z * (old - n);
    if (job.zoneout_h) h = mix(h, old, at.stays(job.zoneout_h));
    at.set(at.fresh(job.h, job.units), h);
  }

  static CORECUR_INLINE Vector backward(const Place& at, Vector d) {
    const Job& job = at.job;
    Vector r = at.of(at.gate(0, 3)), z = at.of(at.gate(1, 3)), n = at.of(at.gate(2, 3));
    Vector q = at.of(job.extra + at.packed * job.units + at.unit), old = at.of(at.state(job.h, job.units));
    Vector stays = at.stays(job.zoneout_h), d_new = d * (1.0f - stays);
    Vector d_n = d_new * (1.0f - z) * (1.0f - n * n), d_q = d_n * r;
    at.set(at.d_gate(0, 4), d_q), at.set(at.d_gate(1, 4), d_q * q * (1.0f - r));
    at.set(at.d_gate(2, 4), d_new * (old - n) * z * (1.0f - z)), at.set(at.d_gate(3, 4), d_n);
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

Index ceiling(Index number, Index of) { return (number + of - 1) / of; }

template <class Cell>
constexpr Index UNITS = Cell::VECTORS / Cell::GATES * LANES;  // of a panel

// packed[panel][k][gate][vector][lane] = weight[gate][unit][k]
template <class Cell>
void pack_forward(const Job& job, Index panel) {
  constexpr int EACH = Cell::VECTORS / Cell::GATES;
  float* to = job.packed + panel * job.units * Cell::VECTORS * LANES;
  for (int gate = 0; gate < Cell::GATES; ++gate)
    for (int column = 0; column < EACH * LANES; ++column) {
      Index unit = panel * UNITS<Cell> + column;
      float* into = to + gate * EACH * LANES + column;
      const float* from = job.weight + (gate * job.units + unit) * job.units;
      for (Index k = 0; k < job.units; ++k) into[k * Cell::VECTORS * LANES] = unit < job.units ? from[k] : 0.0f;
    }
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

int at_most(Index left) { return left < LANES ? static_cast<int>(left) : LANES; }

// A range of a job's rows: what one thread does from the first step to the last.
struct Share {
  Index first, last;
};

template <class Cell>
void forward_rows(const Job& job, Share share, float* masked) {
  constexpr int EACH = Cell::VECTORS / Cell::GATES;
  const Index units = job.units, panels = ceiling(units, UNITS<Cell>);
  Index before = share.first;  // where h holds the state before the step
  for (Index t = 0; t < job.steps; ++t) {
    Index rows = (job.sizes[t] < share.last ? job.sizes[t] : share.last) - share.first;
    if (rows <= 0) break;
    const float* seen = job.h + before * units;
    if (job.dropout) {
      const float* kept = job.dropout + share.first * units;
      for (Index n = 0; n < rows * units; ++n) masked[n] = seen[n] * kept[n];
      seen = masked;
    }
    const Index packed = job.offsets[t] + share.first;
    for (Index panel = 0; panel < panels; ++panel) {
      const float* weights = job.packed + panel * units * Cell::VECTORS * LANES;
      in_blocks<ROWS_AT_ONCE<Cell::VECTORS>>(rows, [&](auto block, Index start) __attribute__((always_inline)) {
        constexpr int ROWS = decltype(block)::count;
        Vector sums[ROWS][Cell::VECTORS];
        product<ROWS, Cell::VECTORS>(seen + start * units, units, weights, units, sums);
        for (int v = 0; v < EACH; ++v) {
          Index unit = panel * UNITS<Cell> + v * LANES;
          if (unit >= units) break;
          for (int row = 0; row < ROWS; ++row) {
            Vector own[Cell::GATES];
            for (int gate = 0; gate < Cell::GATES; ++gate) own[gate] = sums[row][gate * EACH + v];
            Index n = start + row;
            Cell::forward(Place{job, share.first + n, packed + n, before + n, unit, at_most(units - unit)}, own);
          }
        }
      });
    }
    before = job.batch + packed;
  }
}

template <class Cell>
void backward_rows(const Job& job, Share share, float*) {
  const Index units = job.units, depth = Cell::BACK_GATES * units, width = Cell::D_GATES * units;
  const Index panels = ceiling(units, BACK_VECTORS * LANES);
  Index later = 0;  // rows of the share that run at the step after
  // One more step than there are: its way back ends in the first state.
  for (Index t = job.steps - 1; t >= -1; --t) {
    Index rows = t < 0 ? later : (job.sizes[t] < share.last ? job.sizes[t] : share.last) - share.first;
    if (rows <= 0) continue;
    const Index packed = t < 0 ? 0 : job.offsets[t] + share.first;
    const Index before = t == 0 ? share.first : t < 0 ? 0 : job.batch + job.offsets[t - 1] + share.first;
    const float* d_later = later > 0 ? job.d_gates + (job.offsets[t + 1] + share.first) * width : nullptr;
    for (Index panel = 0; panel < panels; ++panel) {
      const float* weights = job.packed + panel * depth * BACK_VECTORS * LANES;
      auto finish = [&](Index n, Index unit, Vector through) __attribute__((always_inline)) {
        Place at{job, share.first + n, packed + n, before + n, unit, at_most(units - unit)};
        float* d_h = job.d_h + at.row * units + unit;
        if (job.dropout) through *= at.of(job.dropout + at.row * units + unit);
        Vector d = at.of(d_h) + through;
        if (t < 0) return at.set(d_h, d);
        if (job.d_outputs) d += at.of(job.d_outputs + at.packed * units + unit);
        at.set(d_h, Cell::backward(at, d));
      };
      in_blocks<ROWS_AT_ONCE<BACK_VECTORS>>(later, [&](auto block, Index start) __attribute__((always_inline)) {
        constexpr int ROWS = decltype(block)::count;
        Vector sums[ROWS][BACK_VECTORS];
        product<ROWS, BACK_VECTORS>(d_later + start * width, width, weights, depth, sums);
        for (int v = 0; v < BACK_VECTORS; ++v) {
          Index unit = (panel * BACK_VECTORS + v) * LANES;
          if (unit >= units) break;
          for (int row = 0; row < ROWS; ++row) finish(start + row, unit, sums[row][v]);
        }
      });
      for (Index n = later; n < rows; ++n)  // rows that end here
        for (int v = 0; v < BACK_VECTORS; ++v) {
          Index unit = (panel * BACK_VECTORS + v) * LANES;
          if (unit < units) finish(n, unit, Vector{});
        }
    }
    later = rows;
  }
}

struct Kind {
  Index units;  // of a panel on the way there
  void (*pack_forward)(const Job&, Index);
  void (*pack_backward)(const Job&, Index);
  void (*forward)(const Job&, Share, float*);
  void (*backward)(const Job&, Share, float*);
};

template <class Cell>
constexpr Kind kind_of() {
  return {UNITS<Cell>, pack_forward<Cell>, pack_backward<Cell>, forward_rows<Cell>, backward_rows<Cell>};
}

// In the order of KINDS in kernels/native.py.
constexpr Kind KINDS[] = {kind_of<SimpleRnn<false>>(), kind_of<SimpleRnn<true>>(), kind_of<Lstm<false>>(),
                          kind_of<Lstm<true>>(), kind_of<Gru>()};

// The first row of each of `shares` shares, which have about the same number of steps to do.
void divide(const Job& job, int shares, Index* first) {
  Index total = 0, done = 0, t = job.steps;
  for (Index step = 0; step < job.steps; ++step) total += job.sizes[step];
  int share = 0;
  for (Index row = 0; row < job.batch; ++row) {
    while (share < shares && done * shares >= total * share) first[share++] = row;
    while (t > 0 && job.sizes[t - 1] <= row) --t;  // t steps of this row are real
    done += t;
  }
  while (share <= shares) first[share++] = job.batch;
}

constexpr int MOST_THREADS = 256;

template <bool BACKWARD>
int over_sequence(const CorecurRecurrent* jobs, int count, int threads) {
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  for (int n = 0; n < count; ++n) {
    const Job& job = jobs[n];
    if (!job.pack) continue;
    const Kind& kind = KINDS[job.kind];
    Index panels = ceiling(job.units, BACKWARD ? BACK_VECTORS * LANES : kind.units);
    parallel(static_cast<int>(panels), threads,
             [&](int panel) { (BACKWARD ? kind.pack_backward : kind.pack_forward)(job, panel); });
  }
  int shares = count < threads ? threads / count : 1;
  parallel(count * shares, threads, [&](int task) {
    const Job& job = jobs[task / shares];
    Index first[MOST_THREADS + 1];
    divide(job, shares, first);
    Share share{first[task % shares], first[task % shares + 1]};
    if (share.first >= share.last) return;
    float* masked = nullptr;
    if (!BACKWARD && job.dropout) masked = job.d_h + share.first * job.units;
    (BACKWARD ? KINDS[job.kind].backward : KINDS[job.kind].forward)(job, share, masked);
  });
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

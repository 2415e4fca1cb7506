// Recurrences whose step needs whole rows: LSTM with norms or a projection (peepholes or not), and the classic GRU.
//
// As in recurrent.cpp each thread takes some rows of the batch through all steps. Products go to a scratch that stays in
// the cache, and what follows is done row by row.
#include "kernels.hpp"
#include "parallel.hpp"
#include "share.hpp"
#include "tile.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Job = CorecurRowRecurrent;

constexpr float EPSILON = 1e-5f;  // of torch's layer norm
constexpr int VECTORS = 2;
constexpr Index COLUMNS = VECTORS * LANES;

// body(first, how many of them count) for each vector of a row.
template <class Body>
CORECUR_INLINE void along(Index width, Body&& body) {
  for (Index first = 0; first < width; first += LANES) body(first, at_most(width - first));
}

// A matrix (depth, columns) in panels.
struct Packed {
  const float* panels;
  Index depth, columns;
};

Index room(Index depth, Index columns) { return depth * ceiling(columns, COLUMNS) * COLUMNS; }

// packed[panel][k][column] = from[k · step + column · apart]
void pack(float* to, const float* from, Index depth, Index columns, Index step, Index apart, int threads) {
  parallel(static_cast<int>(ceiling(columns, COLUMNS)), threads, [&](int panel) {
    float* into = to + panel * depth * COLUMNS;
    for (Index column = 0; column < COLUMNS; ++column) {
      Index at = panel * COLUMNS + column;
      for (Index k = 0; k < depth; ++k) into[k * COLUMNS + column] = at < columns ? from[k * step + at * apart] : 0.0f;
    }
  });
}

// out = a · matrix
void multiply(const float* a, Index stride, Index rows, const Packed& matrix, float* out, Index out_stride) {
  for (Index panel = 0; panel < ceiling(matrix.columns, COLUMNS); ++panel)
    in_blocks(rows, ROWS_AT_ONCE<VECTORS>, [&](Index start, Index count) {
      Tile tile;
      product<VECTORS>(count, a + start * stride, stride, matrix.panels + panel * matrix.depth * COLUMNS, matrix.depth, tile);
      for (Index row = 0; row < count; ++row)
        for (int v = 0; v < VECTORS; ++v) {
          Index column = panel * COLUMNS + v * LANES;
          if (column < matrix.columns)
            store(out + (start + row) * out_stride + column, tile.at<VECTORS>(row, v), at_most(matrix.columns - column));
        }
    });
}

struct Moments {
  float mean, scale;
};

// The mean of a row and one over its spread.
Moments moments(const float* row, Index width) {
  Vector total{}, squares{};
  along(width, [&](Index at, int count) { total += load(row + at, count); });
  const float mean = sum(total) / static_cast<float>(width);
  along(width, [&](Index at, int count) {
    for (int lane = 0; lane < count; ++lane) squares[lane] += (row[at + lane] - mean) * (row[at + lane] - mean);
  });
  return {mean, 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(width) + EPSILON)};
}

// The gradient of a row before a norm, given that after its gain: scale (d - mean(d) - normed mean(d normed)).
void norm_backward(const float* d, const float* gain, const float* normed, float scale, Index width, float* out) {
  Vector total{}, weighted{};
  along(width, [&](Index at, int count) {
    Vector part = load(d + at, count) * load(gain + at, count);
    total += part, weighted += part * load(normed + at, count);
  });
  const float mean = sum(total) / static_cast<float>(width), along_normed = sum(weighted) / static_cast<float>(width);
  along(width, [&](Index at, int count) {
    Vector part = load(d + at, count) * load(gain + at, count);
    store(out + at, scale * (part - mean - load(normed + at, count) * along_normed), count);
  });
}

CORECUR_INLINE Vector stay(const float* zoneout, Index at, int count) {
  return zoneout == nullptr ? Vector{} : load(zoneout + at, count);
}

// What one thread holds: its rows, the packed weights, and where its scratch lies.
struct Worker {
  const Job& job;
  Share share;
  Packed recurrent, second;
  Index units, outputs, gates;
  float *wide, *narrow, *seen;  // (rows, 4 H), (rows, max(H, P)) twice

  Worker(const Job& job, Share share, const Packed& recurrent, const Packed& second)
      : job(job), share(share), recurrent(recurrent), second(second), units(job.units), outputs(job.outputs),
        gates((job.classic ? 3 : 4) * job.units) {
    const Index most = units > outputs ? units : outputs;
    float* own = job.scratch + share.first * (4 * units + 2 * most);
    const Index rows = share.last - share.first;
    wide = own, narrow = wide + rows * 4 * units, seen = narrow + rows * most;
  }

  Index running(Index t) const { return (job.sizes[t] < share.last ? job.sizes[t] : share.last) - share.first; }
  // Of the first row of the share at step t: among all N, and where h and c hold its state before.
  Index packed(Index t) const { return job.offsets[t] + share.first; }
  Index before(Index t) const { return t == 0 ? share.first : job.batch + packed(t - 1); }

  // What the recurrent weights see of the state at this row of h, for some rows from the first of the share.
  const float* after_dropout(Index before, Index rows) const {
    const float* h = job.h + before * outputs;
    if (job.dropout == nullptr) return h;
    const float* kept = job.dropout + share.first * outputs;
    along(rows * outputs, [&](Index at, int count) { store(seen + at, load(h + at, count) * load(kept + at, count), count); });
    return seen;
  }

  CORECUR_INLINE Vector bias(int gate, Index unit, int count) const {
    return job.bias ? load(job.bias + gate * units + unit, count) : Vector{};
  }

  void new_output(Index n, Index t, const float* fresh) const {
    const float* old = job.h + (before(t) + n) * outputs;
    float* h = job.h + (job.batch + packed(t) + n) * outputs;
    const Index at = (packed(t) + n) * outputs;
    along(outputs, [&](Index unit, int count) {
      Vector value = load(fresh + unit, count);
      if (job.zoneout_h) value = mix(value, load(old + unit, count), load(job.zoneout_h + at + unit, count));
      store(h + unit, value, count);
    });
  }

  void gru_step(Index t, Index rows) const {
    const float* u = after_dropout(before(t), rows);
    multiply(u, outputs, rows, recurrent, wide, 2 * units);
    float* through = job.between + packed(t) * units;
    for (Index n = 0; n < rows; ++n) {
      float* a = job.gates + (packed(t) + n) * gates;
      const float* sums = wide + n * 2 * units;
      along(units, [&](Index unit, int count) {
        Vector r = sigmoid(load(a + unit, count) + load(sums + unit, count) + bias(0, unit, count));
        Vector z = sigmoid(load(a + units + unit, count) + load(sums + units + unit, count) + bias(1, unit, count));
        store(a + unit, r, count), store(a + units + unit, z, count);
        store(through + n * units + unit, r * load(u + n * units + unit, count), count);
      });
    }
    multiply(through, units, rows, second, narrow, units);
    for (Index n = 0; n < rows; ++n) {
      float* a = job.gates + (packed(t) + n) * gates;
      const float* old = job.h + (before(t) + n) * units;
      float* own = narrow + n * units;
      along(units, [&](Index unit, int count) {
        Vector value = tanh(load(a + 2 * units + unit, count) + load(own + unit, count) + bias(2, unit, count));
        store(a + 2 * units + unit, value, count);
        store(own + unit, value + load(a + units + unit, count) * (load(old + unit, count) - value), count);
      });
      new_output(n, t, own);
    }
  }

  void lstm_row(Index t, Index n, float* sums, float* out) const {
    const Index at = packed(t) + n;
    float* a = job.gates + at * gates;
    const float* old = job.c + (before(t) + n) * units;
    float* c = job.c + (job.batch + at) * units;
    if (job.gain) {
      const Moments found = moments(sums, gates);
      float* normed = job.normed + at * gates;
      job.scales[at] = found.scale;
      along(gates, [&](Index unit, int count) {
        Vector value = (load(sums + unit, count) - found.mean) * found.scale;
        store(normed + unit, value, count);
        store(sums + unit, value * load(job.gain + unit, count), count);
      });
    }
    auto sum_of = [&](int gate, Index unit, int count) __attribute__((always_inline)) {
      const Index place = gate * units + unit;
      return load(a + place, count) + load(sums + place, count) + bias(gate, unit, count);
    };
    auto eye = [&](int gate, Index unit, int count) __attribute__((always_inline)) {
      return job.peephole ? load(job.peephole + gate * units + unit, count) : Vector{};
    };
    along(units, [&](Index unit, int count) {
      Vector was = load(old + unit, count);
      Vector i = sigmoid(sum_of(0, unit, count) + eye(0, unit, count) * was);
      Vector f = sigmoid(sum_of(1, unit, count) + eye(1, unit, count) * was);
      Vector g = tanh(sum_of(2, unit, count)), value = f * was + i * g;
      Vector o = sigmoid(sum_of(3, unit, count) + eye(2, unit, count) * value);
      store(a + unit, i, count), store(a + units + unit, f, count);
      store(a + 2 * units + unit, g, count), store(a + 3 * units + unit, o, count);
      store(c + unit, value, count);
    });
    const Moments cell = job.gain_c ? moments(c, units) : Moments{0.0f, 1.0f};
    along(units, [&](Index unit, int count) {
      Vector value = load(c + unit, count), shown = (value - cell.mean) * cell.scale;
      if (job.gain_c) shown = shown * load(job.gain_c + unit, count) + load(job.bias_c + unit, count);
      store(out + unit, load(a + 3 * units + unit, count) * tanh(shown), count);
      if (job.zoneout_c)
        store(c + unit, mix(value, load(old + unit, count), load(job.zoneout_c + at * units + unit, count)), count);
    });
  }

  void lstm_step(Index t, Index rows) const {
    multiply(after_dropout(before(t), rows), outputs, rows, recurrent, wide, gates);
    for (Index n = 0; n < rows; ++n) {
      float* out = job.projection ? job.between + (packed(t) + n) * units : narrow + n * units;
      lstm_row(t, n, wide + n * gates, out);
      if (!job.projection) new_output(n, t, out);
    }
    if (!job.projection) return;
    multiply(job.between + packed(t) * units, units, rows, second, narrow, outputs);
    for (Index n = 0; n < rows; ++n) new_output(n, t, narrow + n * outputs);
  }

  void forward() const {
    for (Index t = 0; t < job.steps; ++t) {
      const Index rows = running(t);
      if (rows <= 0) return;
      job.classic ? gru_step(t, rows) : lstm_step(t, rows);
    }
  }

  // The gradient of the state after step t that came through the recurrent product of the step after, added to d_h.
  void through_product(Index t, Index later) const {
    const float* d = (job.gain ? job.d_product : job.d_gates) + packed(t + 1) * gates;
    multiply(d, gates, later, recurrent, seen, outputs);
    for (Index n = 0; n < later; ++n) {
      const Index row = (share.first + n) * outputs;
      along(outputs, [&](Index unit, int count) {
        Vector value = load(seen + n * outputs + unit, count);
        if (job.dropout) value *= load(job.dropout + row + unit, count);
        store(job.d_h + row + unit, load(job.d_h + row + unit, count) + value, count);
      });
    }
  }

  // Splits d_h and the outputs' gradient into that of the fresh output, returned in `fresh`, and what stays in d_h.
  void split(Index t, Index rows, float* fresh) const {
    for (Index n = 0; n < rows; ++n) {
      float* d_h = job.d_h + (share.first + n) * outputs;
      const Index at = (packed(t) + n) * outputs;
      along(outputs, [&](Index unit, int count) {
        Vector d = load(d_h + unit, count);
        if (job.d_outputs) d += load(job.d_outputs + at + unit, count);
        Vector kept = stay(job.zoneout_h, at + unit, count) * d;
        store(fresh + n * outputs + unit, d * (1.0f - stay(job.zoneout_h, at + unit, count)), count);
        store(d_h + unit, kept, count);
      });
    }
  }

  void gru_back(Index t, Index rows) const {
    split(t, rows, narrow);
    float* d = job.d_gates + packed(t) * gates;
    for (Index n = 0; n < rows; ++n) {
      const float *a = job.gates + (packed(t) + n) * gates, *old = job.h + (before(t) + n) * units;
      float *d_h = job.d_h + (share.first + n) * units, *out = d + n * gates;
      along(units, [&](Index unit, int count) {
        Vector z = load(a + units + unit, count), value = load(a + 2 * units + unit, count);
        Vector fresh = load(narrow + n * units + unit, count);
        store(out + units + unit, fresh * (load(old + unit, count) - value) * z * (1.0f - z), count);
        store(out + 2 * units + unit, fresh * (1.0f - z) * (1.0f - value * value), count);
        store(d_h + unit, load(d_h + unit, count) + fresh * z, count);
      });
    }
    multiply(d + 2 * units, gates, rows, second, narrow, units);
    for (Index n = 0; n < rows; ++n) {
      const float *a = job.gates + (packed(t) + n) * gates, *old = job.h + (before(t) + n) * units;
      const Index row = (share.first + n) * units;
      along(units, [&](Index unit, int count) {
        Vector r = load(a + unit, count), d_through = load(narrow + n * units + unit, count);
        Vector kept = job.dropout ? load(job.dropout + row + unit, count) : all(1.0f);
        store(d + n * gates + unit, d_through * load(old + unit, count) * kept * r * (1.0f - r), count);
        store(job.d_h + row + unit, load(job.d_h + row + unit, count) + d_through * r * kept, count);
      });
    }
  }

  // `d` (H): the gradient of the output before a projection; `room` (4 H) of this row.
  void lstm_row_back(Index t, Index n, const float* d, float* room) const {
    const Index at = packed(t) + n;
    const float *a = job.gates + at * gates, *old = job.c + (before(t) + n) * units;
    float *d_c = job.d_c + (share.first + n) * units, *out = job.d_gates + at * gates;
    float *value = room, *d_value = room + units, *shown = room + 2 * units;
    along(units, [&](Index unit, int count) {
      Vector g = load(a + 2 * units + unit, count);
      store(value + unit, load(a + units + unit, count) * load(old + unit, count) + load(a + unit, count) * g, count);
    });
    const Moments cell = job.gain_c ? moments(value, units) : Moments{0.0f, 1.0f};
    along(units, [&](Index unit, int count) {
      Vector normed = (load(value + unit, count) - cell.mean) * cell.scale, y = normed;
      if (job.gain_c) y = y * load(job.gain_c + unit, count) + load(job.bias_c + unit, count);
      y = tanh(y);
      Vector o = load(a + 3 * units + unit, count), d_m = load(d + unit, count);
      store(out + 3 * units + unit, d_m * y * o * (1.0f - o), count);
      store(d_value + unit, d_m * o * (1.0f - y * y), count), store(shown + unit, normed, count);
    });
    if (job.gain_c) {
      std::memcpy(job.d_cell + at * units, d_value, sizeof(float) * static_cast<std::size_t>(units));
      norm_backward(job.d_cell + at * units, job.gain_c, shown, cell.scale, units, d_value);
    }
    along(units, [&](Index unit, int count) {
      Vector i = load(a + unit, count), f = load(a + units + unit, count), g = load(a + 2 * units + unit, count);
      Vector was = load(old + unit, count), d_old = load(d_c + unit, count);
      Vector stays = stay(job.zoneout_c, at * units + unit, count), kept = stays * d_old;
      Vector d_new = d_old * (1.0f - stays) + load(d_value + unit, count);
      const float* eye = job.peephole ? job.peephole + unit : nullptr;
      if (eye) d_new += load(out + 3 * units + unit, count) * load(eye + 2 * units, count);
      Vector d_i = d_new * g * i * (1.0f - i), d_f = d_new * was * f * (1.0f - f);
      kept += d_new * f;
      if (eye) kept += d_i * load(eye, count) + d_f * load(eye + units, count);
      store(d_c + unit, kept, count), store(out + unit, d_i, count), store(out + units + unit, d_f, count);
      store(out + 2 * units + unit, d_new * i * (1.0f - g * g), count);
    });
    if (job.gain)
      norm_backward(out, job.gain, job.normed + at * gates, job.scales[at], gates, job.d_product + at * gates);
  }

  void lstm_back(Index t, Index rows) const {
    float* d_out = job.projection ? job.d_between + packed(t) * outputs : narrow;
    split(t, rows, d_out);
    if (job.projection) multiply(d_out, outputs, rows, second, narrow, units);
    for (Index n = 0; n < rows; ++n) lstm_row_back(t, n, narrow + n * units, wide + n * 4 * units);
  }

  void backward() const {
    Index later = 0;
    for (Index t = job.steps - 1; t >= 0; --t) {
      const Index rows = running(t);
      if (rows <= 0) continue;
      if (later > 0) through_product(t, later);
      job.classic ? gru_back(t, rows) : lstm_back(t, rows);
      later = rows;
    }
    if (later > 0) through_product(-1, later);
  }
};

template <bool BACKWARD>
int over_rows(const Job& job, int threads) {
  const Index units = job.units, outputs = job.outputs, gates = (job.classic ? 2 : 4) * units;
  const Index depth = BACKWARD ? gates : outputs, columns = BACKWARD ? outputs : gates;
  pack(job.packed, job.weight, depth, columns, BACKWARD ? outputs : 1, BACKWARD ? 1 : outputs, threads);
  Packed recurrent{job.packed, depth, columns}, second{job.packed + room(depth, columns), 0, 0};
  // weight[row][column]: rows are its outputs on the way there, its inputs on the way back.
  auto pack_second = [&](const float* weight, Index rows, Index width) {
    second.depth = BACKWARD ? rows : width, second.columns = BACKWARD ? width : rows;
    float* to = job.packed + room(depth, columns);
    pack(to, weight, second.depth, second.columns, BACKWARD ? width : 1, BACKWARD ? 1 : width, threads);
  };
  if (job.classic) pack_second(job.weight + 2 * units * units, units, units);
  if (job.projection) pack_second(job.projection, outputs, units);
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  parallel(threads, threads, [&](int task) {
    Index first[MOST_THREADS + 1];
    divide(job, threads, first);
    Share share{first[task], first[task + 1]};
    if (share.first >= share.last) return;
    Worker worker(job, share, recurrent, second);
    BACKWARD ? worker.backward() : worker.forward();
  });
  return 0;
}

}  // namespace

int row_recurrent_forward(const CorecurRowRecurrent* job, int threads) { return over_rows<false>(*job, threads); }

int row_recurrent_backward(const CorecurRowRecurrent* job, int threads) { return over_rows<true>(*job, threads); }

}  // namespace corecur::CORECUR_ISA

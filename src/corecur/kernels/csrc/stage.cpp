// One stage for a few rows at a time: packed weights, products, gates and the new state of a few units at once.
//
// With a single row nothing is used twice, and a step takes as long as its weights take to come from the cache: the
// product then keeps several sums for each column, so that no addition waits for the one before.
#include "kernels.hpp"
#include "parallel.hpp"
#include "run_stage.hpp"
#include "simd.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Stage = CorecurStage;

// Of a few units of one row: the input's part of each gate with its bias, the recurrent part, old and new states.
struct Units {
  const Vector* a;
  const Vector* u;
  Vector old_h, old_c, own;
};

struct New {
  Vector h, c;
};

template <bool RELU>
struct SimpleRnnStep {
  static constexpr int GATES = 1, EACH = 2;
  static constexpr bool RECURRENT = true, CELL = false;
  static CORECUR_INLINE New step(const Units& at) {
    Vector x = at.a[0] + at.u[0];
    return {RELU ? larger(x, Vector{}) : tanh(x), Vector{}};
  }
};

struct LstmStep {
  static constexpr int GATES = 4, EACH = 1;
  static constexpr bool RECURRENT = true, CELL = true;
  static CORECUR_INLINE New step(const Units& at) {
    Vector i = sigmoid(at.a[0] + at.u[0]), f = sigmoid(at.a[1] + at.u[1]);
    Vector g = tanh(at.a[2] + at.u[2]), o = sigmoid(at.a[3] + at.u[3]);
    Vector c = f * at.old_c + i * g;
    return {o * tanh(c), c};
  }
};

struct GruStep {
  static constexpr int GATES = 3, EACH = 1;
  static constexpr bool RECURRENT = true, CELL = false;
  static CORECUR_INLINE New step(const Units& at) {
    Vector r = sigmoid(at.a[0] + at.u[0]), z = sigmoid(at.a[1] + at.u[1]);
    Vector n = tanh(at.a[2] + r * (at.u[2] + at.own));
    return {n + z * (at.old_h - n), Vector{}};
  }
};

enum Activation { LINEAR, RELU, TANH, SIGMOID };

template <Activation ACTIVATION>
struct Dense {
  static constexpr int GATES = 1, EACH = 2;
  static constexpr bool RECURRENT = false, CELL = false;
  static CORECUR_INLINE New step(const Units& at) {
    Vector x = at.a[0];
    if constexpr (ACTIVATION == RELU) x = larger(x, Vector{});
    if constexpr (ACTIVATION == TANH) x = tanh(x);
    if constexpr (ACTIVATION == SIGMOID) x = sigmoid(x);
    return {x, Vector{}};
  }
};

template <class Cell>
constexpr int VECTORS = Cell::GATES * Cell::EACH;
template <class Cell>
constexpr Index UNITS = Cell::EACH * LANES;  // of a panel

// Sums that a product of one row keeps side by side for each vector: 8 or more in all hide the time of an addition.
template <int COUNT>
constexpr int SPLIT = COUNT >= 4 ? 2 : COUNT == 3 ? 3 : 4;

template <int COUNT>
CORECUR_INLINE void row_product(const float* a, const float* panel, Index depth, Vector (&sums)[COUNT]) {
  constexpr int PARTS = SPLIT<COUNT>;
  Vector held[PARTS][COUNT];
#pragma GCC unroll 4
  for (int part = 0; part < PARTS; ++part)
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; ++v) held[part][v] = Vector{};
  Index k = 0;
  for (; k + PARTS <= depth; k += PARTS)
#pragma GCC unroll 4
    for (int part = 0; part < PARTS; ++part) {
      Vector factor = all(a[k + part]);
#pragma GCC unroll 4
      for (int v = 0; v < COUNT; ++v, panel += LANES) held[part][v] += factor * load(panel);
    }
  for (; k < depth; ++k)
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; ++v, panel += LANES) held[0][v] += all(a[k]) * load(panel);
#pragma GCC unroll 4
  for (int v = 0; v < COUNT; ++v) {
    sums[v] = held[0][v];
#pragma GCC unroll 4
    for (int part = 1; part < PARTS; ++part) sums[v] += held[part][v];
  }
}

// The same for several rows, each with one sum for each vector: the rows hide the time of an addition.
template <int ROWS, int COUNT>
CORECUR_INLINE void rows_product(const float* a, Index stride, const float* panel, Index depth,
                                 Vector (&sums)[ROWS][COUNT]) {
  Vector held[ROWS][COUNT];
#pragma GCC unroll 12
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; ++v) held[row][v] = Vector{};
  for (Index k = 0; k < depth; ++k, panel += COUNT * LANES) {
    Vector column[COUNT];
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; ++v) column[v] = load(panel + v * LANES);
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
      for (int v = 0; v < COUNT; ++v) held[row][v] += all(a[row * stride + k]) * column[v];
  }
#pragma GCC unroll 12
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < COUNT; ++v) sums[row][v] = held[row][v];
}

template <int COUNT>
struct RowCount {
  static constexpr int count = COUNT;
};

template <int MOST, class Body>
CORECUR_INLINE void with_rows(int count, Index first, Body& body) {
  if (count == MOST)
    body(RowCount<MOST>{}, first);
  else if constexpr (MOST > 1)
    with_rows<MOST - 1>(count, first, body);
}

// body(RowCount<count>, first row) for the rows in blocks that fit into the registers, as even as they can be.
template <int VECTORS_OF_ROW, class Body>
CORECUR_INLINE void by_rows(Index rows, Body&& body) {
  constexpr int MOST = ACCUMULATORS / VECTORS_OF_ROW;
  const Index blocks = (rows + MOST - 1) / MOST;
  for (Index block = 0; block < blocks; ++block) {
    Index first = rows * block / blocks, end = rows * (block + 1) / blocks;
    with_rows<MOST>(static_cast<int>(end - first), first, body);
  }
}

template <int ROWS, int COUNT>
CORECUR_INLINE void any_product(const float* a, Index stride, const float* panel, Index depth,
                                Vector (&sums)[ROWS][COUNT]) {
  if constexpr (ROWS == 1)
    row_product<COUNT>(a, panel, depth, sums[0]);
  else
    rows_product<ROWS, COUNT>(a, stride, panel, depth, sums);
}

Index panels_of(Index units, Index each) { return (units + each - 1) / each; }

// packed[panel][k][gate][vector][lane] = weight[gate][unit][k]
template <class Cell>
void pack(const float* weight, Index units, Index depth, float* packed, Index panel) {
  float* to = packed + panel * depth * VECTORS<Cell> * LANES;
  for (int gate = 0; gate < Cell::GATES; ++gate)
    for (int column = 0; column < UNITS<Cell>; ++column) {
      Index unit = panel * UNITS<Cell> + column;
      float* into = to + gate * UNITS<Cell> + column;
      const float* from = weight + (gate * units + unit) * depth;
      for (Index k = 0; k < depth; ++k) into[k * VECTORS<Cell> * LANES] = unit < units ? from[k] : 0.0f;
    }
}

template <class Cell>
void run(const Stage& stage, const StageRows& at, const Member& member) {
  constexpr int COUNT = VECTORS<Cell>;
  const Index units = stage.units, panels = panels_of(units, UNITS<Cell>);
  const Index depth = at.x ? stage.features : 0;
  for (Index panel = member.first(panels); panel < member.last(panels); ++panel) {
    const float* input = stage.packed_ih + panel * depth * COUNT * LANES;
    const float* recurrent = stage.packed_hh + panel * units * COUNT * LANES;
    by_rows<COUNT>(at.rows, [&](auto block, Index start) __attribute__((always_inline)) {
      constexpr int ROWS = decltype(block)::count;
      Vector a[ROWS][COUNT], u[ROWS][COUNT];
      any_product<ROWS, COUNT>(at.x + start * depth, depth, input, depth, a);
      if constexpr (Cell::RECURRENT)
        any_product<ROWS, COUNT>(at.h + start * units, units, recurrent, units, u);
      for (int v = 0; v < Cell::EACH; ++v) {
        Index unit = panel * UNITS<Cell> + v * LANES;
        if (unit >= units) break;
        int count = units - unit < LANES ? static_cast<int>(units - unit) : LANES;
        for (int row = 0; row < ROWS; ++row) {
          Index n = start + row, place = n * units + unit;
          const float* begin = (at.begins ? at.begins[n] : at.begin + n * at.begin_stride) + unit;
          Vector own_a[Cell::GATES], own_u[Cell::GATES];
          for (int gate = 0; gate < Cell::GATES; ++gate) {
            own_a[gate] = load(begin + gate * units, count) + a[row][gate * Cell::EACH + v];
            if constexpr (Cell::RECURRENT) own_u[gate] = u[row][gate * Cell::EACH + v];
          }
          Units known{own_a, own_u, Vector{}, Vector{}, Vector{}};
          if constexpr (Cell::RECURRENT) known.old_h = load(at.h + place, count);
          if constexpr (Cell::CELL) known.old_c = load(at.old_c + place, count);
          if (stage.own) known.own = load(stage.own + unit, count);
          New found = Cell::step(known);
          store(at.y + place, found.h, count);
          if constexpr (Cell::CELL) store(at.c + place, found.c, count);
        }
      }
    });
  }
}

// gates[row] = bias + weight_ih x[row], for all steps at once
template <class Cell>
void run_input(const Stage& stage, const float* x, Index rows, float* gates, const Member& member) {
  constexpr int COUNT = VECTORS<Cell>;
  const Index units = stage.units, depth = stage.features, panels = panels_of(units, UNITS<Cell>);
  for (Index panel = member.first(panels); panel < member.last(panels); ++panel) {
    const float* input = stage.packed_ih + panel * depth * COUNT * LANES;
    by_rows<COUNT>(rows, [&](auto block, Index start) __attribute__((always_inline)) {
      constexpr int ROWS = decltype(block)::count;
      Vector a[ROWS][COUNT];
      any_product<ROWS, COUNT>(x + start * depth, depth, input, depth, a);
      for (int row = 0; row < ROWS; ++row)
        for (int gate = 0; gate < Cell::GATES; ++gate)
          for (int v = 0; v < Cell::EACH; ++v) {
            Index unit = panel * UNITS<Cell> + v * LANES, column = gate * units + unit;
            if (unit >= units) break;
            int count = units - unit < LANES ? static_cast<int>(units - unit) : LANES;
            float* to = gates + (start + row) * Cell::GATES * units + column;
            store(to, load(stage.bias + column, count) + a[row][gate * Cell::EACH + v], count);
          }
    });
  }
}

struct Kind {
  Index units;  // of a panel
  int gates;
  void (*pack)(const float*, Index, Index, float*, Index);
  void (*run)(const Stage&, const StageRows&, const Member&);
  void (*run_input)(const Stage&, const float*, Index, float*, const Member&);
};

template <class Cell>
constexpr Kind kind_of() {
  return {UNITS<Cell>, Cell::GATES, pack<Cell>, run<Cell>, run_input<Cell>};
}

// In the order of STAGES in kernels/native_step.py.
constexpr Kind KINDS[] = {kind_of<SimpleRnnStep<false>>(), kind_of<SimpleRnnStep<true>>(), kind_of<LstmStep>(),
                          kind_of<GruStep>(), kind_of<Dense<LINEAR>>(), kind_of<Dense<RELU>>(),
                          kind_of<Dense<TANH>>(), kind_of<Dense<SIGMOID>>()};

// Steps whose input's part is computed at once: its weights are read once for all of them.
constexpr Index STEPS_AT_ONCE = 16;

// The steps from `first` to before `last`, those before them done; STEPS_AT_ONCE of them at most where there is room.
void run_some(const CorecurSteps& job, Index first, Index last, const Member& member) {
  const Stage& stage = *job.stage;
  const Kind& kind = KINDS[stage.kind];
  const Index width = job.rows * stage.units, inputs = job.rows * stage.features;
  const Index gates = job.rows * kind.gates * stage.units;
  if (job.gates) kind.run_input(stage, job.x + first * inputs, (last - first) * job.rows, job.gates, member);
  for (Index t = first; t < last; ++t) {
    float* y = job.y + t * width;
    StageRows at{job.rows, nullptr, stage.bias, 0, nullptr, t ? y - width : job.h, t ? job.new_c : job.c, job.new_c, y};
    if (job.gates) {
      at.begin_stride = kind.gates * stage.units;
      at.begin = job.gates + (t - first) * gates;
    } else {
      at.x = job.x + t * inputs;
    }
    kind.run(stage, at, member);
    member.meet();
  }
}

void run_steps(const CorecurSteps& job, Index first, Index last, const Member& member) {
  for (Index t = first; t < last; t += STEPS_AT_ONCE)
    run_some(job, t, t + STEPS_AT_ONCE < last ? t + STEPS_AT_ONCE : last, member);
}

// Steps that a stage goes ahead of the next one: enough for an input's part at once, and to be worth a meeting.
constexpr Index STACKED_STEPS = 4;

}  // namespace

void run_stage(const CorecurStage& stage, const StageRows& at, const Member& member) {
  KINDS[stage.kind].run(stage, at, member);
}

Index gates_of(const CorecurStage& stage) { return KINDS[stage.kind].gates * stage.units; }

int stage_pack(const CorecurStage* stage, int threads) {
  const Kind& kind = KINDS[stage->kind];
  parallel(static_cast<int>(panels_of(stage->units, kind.units)), threads, [&](int panel) {
    if (stage->packed_ih) kind.pack(stage->weight_ih, stage->units, stage->features, stage->packed_ih, panel);
    if (stage->packed_hh) kind.pack(stage->weight_hh, stage->units, stage->units, stage->packed_hh, panel);
  });
  return 0;
}

int stage_steps(const CorecurStage* stage, std::int64_t rows, std::int64_t steps, const float* x, const float* h,
                const float* c, float* y, float* new_c, float* gates, int threads) {
  const CorecurSteps job{stage, rows, steps, x, h, c, y, new_c, gates};
  together(threads, [&](const Member& member) { run_steps(job, 0, steps, member); });
  return 0;
}

int stages_at_once(const CorecurSteps* jobs, int count, int stacked, int threads) {
  if (!stacked) {
    parallel(count, threads, [&](int n) { run_steps(jobs[n], 0, jobs[n].steps, Member{}); });
    return 0;
  }
  // Stage by stage a few steps behind the one before.
  const Index steps = count > 0 ? jobs[0].steps : 0, blocks = (steps + STACKED_STEPS - 1) / STACKED_STEPS;
  for (Index wave = 0; wave < blocks + count - 1; ++wave)
    parallel(count, threads, [&](int n) {
      const Index first = (wave - n) * STACKED_STEPS;
      if (first < 0 || first >= steps) return;
      run_steps(jobs[n], first, first + STACKED_STEPS < steps ? first + STACKED_STEPS : steps, Member{});
    });
  return 0;
}

}  // namespace corecur::CORECUR_ISA

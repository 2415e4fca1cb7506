// Convolution with 3 × 3 kernels by Winograd's F(2 × 2, 3 × 3): 16 products for a window of four outputs instead of 36.
//
// Lavin & Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.1. With g a kernel, d the 4 × 4 inputs that a
// window of 2 × 2 outputs sees, and the matrices
//
//     Bᵀ = 1  0 -1  0     G = 1   0   0     Aᵀ = 1  1  1  0
//          0  1  1  0         ½   ½   ½          0  1 -1 -1
//          0 -1  1  0         ½  -½   ½
//          0  1  0 -1         0   0   1
//
// the window is Y = Aᵀ (Σ_c U ∘ V) A, U = G g Gᵀ, V = Bᵀ d B: for each of 16 places a product of (windows, C) and (C, F).
// The way back is the transpose of each step: M' = A Y' Aᵀ, d' = B (Σ_f U ∘ M') Bᵀ, g' = Gᵀ (Σ_windows V ∘ M') G.
// A window is just what 2 × 2 pooling takes together, and so what leaves the registers is pooled already.
#include "blocks.hpp"
#include "kernels.hpp"
#include "parallel.hpp"
#include "window.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Job = CorecurConvolution;

constexpr int PLACES = 16;
constexpr int ROWS = BLOCK_ROWS;
constexpr Index CHUNK_FLOATS = 64 * 1024;  // V and M of a chunk of windows: some of a usual second-level cache
constexpr Index CHUNK_MOST = 8 * ROWS;

// Whole vectors, an odd number of them: rows that stand above each other then fall into different sets of the cache.
Index stride_of(Index columns) {
  Index vectors = ceiling(columns, LANES);
  return (vectors % 2 ? vectors : vectors + 1) * LANES;
}

Index chunk_of(const Job& job) {
  Index fits = CHUNK_FLOATS / (PLACES * (stride_of(job.channels) + stride_of(job.filters)));
  fits = fits / ROWS * ROWS;
  return fits < 2 * ROWS ? 2 * ROWS : fits > CHUNK_MOST ? CHUNK_MOST : fits;
}

struct Grid {
  Index rows, columns;  // of windows in an image

  explicit Grid(const Job& job)
      : rows(job.pool ? job.pooled_height : ceiling(job.out_height, 2)),
        columns(job.pool ? job.pooled_width : ceiling(job.out_width, 2)) {}
  Index of_image() const { return rows * columns; }
};

// A window among all of the batch.
struct Place {
  Index image, row, column;

  Place(const Grid& grid, Index number)
      : image(number / grid.of_image()),
        row(number % grid.of_image() / grid.columns),
        column(number % grid.columns) {}
  void next(const Grid& grid) {
    if (++column < grid.columns) return;
    column = 0;
    if (++row < grid.rows) return;
    row = 0, ++image;
  }
};

// Over rows, then over columns: to[4 i + j] = Σ_kl transform_ik transform_jl from[4 k + l].
CORECUR_INLINE void input(const Vector (&d)[16], Vector (&v)[16]) {
  Vector t[16];
  for (int n = 0; n < 4; ++n) {
    t[n] = d[n] - d[8 + n], t[4 + n] = d[4 + n] + d[8 + n];
    t[8 + n] = d[8 + n] - d[4 + n], t[12 + n] = d[4 + n] - d[12 + n];
  }
  for (int n = 0; n < 16; n += 4) {
    v[n] = t[n] - t[n + 2], v[n + 1] = t[n + 1] + t[n + 2];
    v[n + 2] = t[n + 2] - t[n + 1], v[n + 3] = t[n + 1] - t[n + 3];
  }
}

CORECUR_INLINE void input_back(const Vector (&v)[16], Vector (&d)[16]) {
  Vector t[16];
  for (int n = 0; n < 4; ++n) {
    t[n] = v[n], t[4 + n] = v[4 + n] - v[8 + n] + v[12 + n];
    t[8 + n] = v[4 + n] + v[8 + n] - v[n], t[12 + n] = -v[12 + n];
  }
  for (int n = 0; n < 16; n += 4) {
    d[n] = t[n], d[n + 1] = t[n + 1] - t[n + 2] + t[n + 3];
    d[n + 2] = t[n + 1] + t[n + 2] - t[n], d[n + 3] = -t[n + 3];
  }
}

CORECUR_INLINE void output(const Vector (&m)[16], Vector (&y)[4]) {
  Vector t[8];
  for (int n = 0; n < 4; ++n) {
    t[n] = m[n] + m[4 + n] + m[8 + n];
    t[4 + n] = m[4 + n] - m[8 + n] - m[12 + n];
  }
  for (int n = 0; n < 2; ++n) {
    y[2 * n] = t[4 * n] + t[4 * n + 1] + t[4 * n + 2];
    y[2 * n + 1] = t[4 * n + 1] - t[4 * n + 2] - t[4 * n + 3];
  }
}

CORECUR_INLINE void output_back(const Vector (&y)[4], Vector (&m)[16]) {
  Vector t[8];
  for (int n = 0; n < 2; ++n) {
    t[n] = y[n], t[2 + n] = y[n] + y[2 + n];
    t[4 + n] = y[n] - y[2 + n], t[6 + n] = -y[2 + n];
  }
  for (int n = 0; n < 4; ++n) {
    m[4 * n] = t[2 * n], m[4 * n + 1] = t[2 * n] + t[2 * n + 1];
    m[4 * n + 2] = t[2 * n] - t[2 * n + 1], m[4 * n + 3] = -t[2 * n + 1];
  }
}

CORECUR_INLINE void kernel(const Vector (&g)[9], Vector (&u)[16]) {
  Vector t[12];
  for (int n = 0; n < 3; ++n) {
    Vector ends = g[n] + g[6 + n];
    t[n] = g[n], t[3 + n] = (ends + g[3 + n]) * 0.5f;
    t[6 + n] = (ends - g[3 + n]) * 0.5f, t[9 + n] = g[6 + n];
  }
  for (int n = 0; n < 4; ++n) {
    Vector ends = t[3 * n] + t[3 * n + 2];
    u[4 * n] = t[3 * n], u[4 * n + 1] = (ends + t[3 * n + 1]) * 0.5f;
    u[4 * n + 2] = (ends - t[3 * n + 1]) * 0.5f, u[4 * n + 3] = t[3 * n + 2];
  }
}

CORECUR_INLINE void kernel_back(const Vector (&u)[16], Vector (&g)[9]) {
  Vector t[12];
  for (int n = 0; n < 4; ++n) {
    Vector middle = (u[4 + n] + u[8 + n]) * 0.5f;
    t[n] = u[n] + middle, t[4 + n] = (u[4 + n] - u[8 + n]) * 0.5f, t[8 + n] = middle + u[12 + n];
  }
  for (int n = 0; n < 3; ++n) {
    Vector middle = (t[4 * n + 1] + t[4 * n + 2]) * 0.5f;
    g[3 * n] = t[4 * n] + middle, g[3 * n + 1] = (t[4 * n + 1] - t[4 * n + 2]) * 0.5f;
    g[3 * n + 2] = middle + t[4 * n + 3];
  }
}

// U of a vector of channels of one filter.
CORECUR_INLINE void transformed(const Job& job, Index filter, Index channel, Vector (&u)[16]) {
  Vector g[9];
  const float* from = job.weight + filter * 9 * job.channels + channel;
  for (int tap = 0; tap < 9; ++tap) g[tap] = load(from + tap * job.channels, at_most(job.channels - channel));
  kernel(g, u);
}

// packed[place][panel][c][filter of the panel] for LANES filters.
void pack_forward(const Job& job, float* packed, Index vector) {
  const Index channels = job.channels, first = vector * LANES, filters = least(LANES, job.filters - first);
  const Index width = rounded(job.filters, LANES), panel = first / PANEL * PANEL;
  const Index columns = least(PANEL, width - panel);
  float turned[PLACES][LANES][LANES] = {};
  for (Index c = 0; c < channels; c += LANES) {
    for (Index f = 0; f < filters; ++f) {
      Vector u[16];
      transformed(job, first + f, c, u);
      for (int place = 0; place < PLACES; ++place) store(turned[place][f], u[place]);
    }
    for (int place = 0; place < PLACES; ++place) {
      float* to = packed + place * width * channels + panel * channels + c * columns + (first - panel);
      for (Index lane = 0; lane < least(LANES, channels - c); ++lane, to += columns) {
        Vector row{};
        for (int f = 0; f < LANES; ++f) row[f] = turned[place][f][lane];
        store(to, row);
      }
    }
  }
}

// packed[place][panel][f][channel of the panel] for LANES channels.
void pack_backward(const Job& job, float* packed, Index vector) {
  const Index first = vector * LANES, width = rounded(job.channels, LANES), panel = first / PANEL * PANEL;
  const Index columns = least(PANEL, width - panel);
  for (Index f = 0; f < job.filters; ++f) {
    Vector u[16];
    transformed(job, f, first, u);
    for (int place = 0; place < PLACES; ++place)
      store(packed + place * width * job.filters + panel * job.filters + f * columns + (first - panel), u[place]);
  }
}

template <int VECTORS>
CORECUR_INLINE void panel_product(const float* a, Index a_stride, const float* panel, Index depth, Index rows, float* to,
                                  Index to_stride) {
  in_fixed_blocks<ROWS>(rows, [&](auto block, Index start) __attribute__((always_inline)) {
    constexpr int COUNT = decltype(block)::count;
    Vector sums[COUNT][VECTORS];
    product<COUNT, VECTORS>(a + start * a_stride, a_stride, panel, depth, sums);
    for (int row = 0; row < COUNT; ++row)
      for (int v = 0; v < VECTORS; ++v) store(to + (start + row) * to_stride + v * LANES, sums[row][v]);
  });
}

// to[place][window] = a[place][window] · packed[place] for all places.
void products(const float* a, Index a_stride, const float* packed, Index depth, Index columns, Index windows, Index chunk,
              float* to, Index to_stride) {
  const Index width = rounded(columns, LANES);
  for (int place = 0; place < PLACES; ++place) {
    const float* from = a + place * chunk * a_stride;
    float* into = to + place * chunk * to_stride;
    const float* weights = packed + place * width * depth;
    for (Index column = 0; column < width; column += PANEL)
      if (width - column > LANES)
        panel_product<2>(from, a_stride, weights + column * depth, depth, windows, into + column, to_stride);
      else
        panel_product<1>(from, a_stride, weights + column * depth, depth, windows, into + column, to_stride);
  }
}

// to[row][v] (+)= Σ_k rows[k · row_stride + row] · columns[k · column_stride + v], over the windows k; chunks are added up
// apart from each other, which rounds less than one long sum.
template <int COUNT, int VECTORS>
CORECUR_INLINE void outer(const float* rows, Index row_stride, const float* columns, Index column_stride, Index depth,
                          bool more, float* to, Index to_stride) {
  Vector held[COUNT][VECTORS];
#pragma GCC unroll 12
  for (int row = 0; row < COUNT; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) held[row][v] = Vector{};
  for (Index k = 0; k < depth; ++k) {
    Vector column[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) column[v] = load(columns + v * LANES);
#pragma GCC unroll 12
    for (int row = 0; row < COUNT; ++row) {
      Vector factor = all(rows[row]);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) held[row][v] += factor * column[v];
    }
    rows += row_stride, columns += column_stride;
  }
#pragma GCC unroll 12
  for (int row = 0; row < COUNT; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) {
      float* into = to + row * to_stride + v * LANES;
      store(into, more ? load(into) + held[row][v] : held[row][v]);
    }
}

// What a thread works in.
struct Bench {
  float *v, *m;    // [place][window][…]
  float* zeros;    // a position of the input outside the image
  float* d_u;      // [place][f][c]
  float* d_bias;   // [f]
};

struct Plan {
  const Job& job;
  Grid grid;
  Index chunk, v_stride, m_stride, c_width;

  // `most` are the windows of the largest share.
  Plan(const Job& job, Index most)
      : job(job), grid(job), chunk(least(chunk_of(job), most)), v_stride(stride_of(job.channels)),
        m_stride(stride_of(job.filters)), c_width(rounded(job.channels, LANES)) {}

  Index packed(bool back) const {
    return PLACES * (back ? rounded(job.channels, LANES) * job.filters : rounded(job.filters, LANES) * job.channels);
  }

  Bench bench(Room& room, bool back) const {
    Bench made{};
    made.v = room.take(PLACES * chunk * v_stride), made.m = room.take(PLACES * chunk * m_stride);
    made.zeros = room.take(c_width);
    if (back) made.d_u = room.take(PLACES * job.filters * c_width), made.d_bias = room.take(rounded(job.filters, LANES));
    return made;
  }

  // Where the 4 × 4 inputs of a window stand; `outside` for those that are none.
  void inputs(const Place& at, const float* image, const float* outside, const float* (&from)[16]) const {
    Index y = 2 * at.row - job.top, x = 2 * at.column - job.left;
    for (int n = 0; n < 16; ++n) {
      Index row = y + n / 4, column = x + n % 4;
      bool inside = row >= 0 && row < job.height && column >= 0 && column < job.width;
      from[n] = inside ? image + (row * job.width + column) * job.channels : outside;
    }
  }

  // V of the windows of a chunk.
  void gather(const Bench& bench, Place at, Index windows) const {
    for (Index n = 0; n < windows; ++n, at.next(grid)) {
      const float* from[16];
      inputs(at, job.x + at.image * job.height * job.width * job.channels, bench.zeros, from);
      for (Index c = 0; c < job.channels; c += LANES) {
        const int count = at_most(job.channels - c);
        Vector d[16], v[16];
        if (count == LANES)
          for (int place = 0; place < 16; ++place) d[place] = load(from[place] + c);
        else
          for (int place = 0; place < 16; ++place) d[place] = load(from[place] + c, count);
        input(d, v);
        for (int place = 0; place < 16; ++place) store(bench.v + (place * chunk + n) * v_stride + c, v[place]);
      }
    }
  }

  // Where a window's outputs stand: one if they are pooled, else those of the four that are there.
  Index pooled(const Place& at) const {
    return ((at.image * job.pooled_height + at.row) * job.pooled_width + at.column) * job.filters;
  }
  Index single(const Place& at, int n) const {
    Index row = 2 * at.row + n / 2, column = 2 * at.column + n % 2;
    if (row >= job.out_height || column >= job.out_width) return -1;
    return ((at.image * job.out_height + row) * job.out_width + column) * job.filters;
  }

  // The outputs of a chunk from M.
  void emit(const Bench& bench, Place at, Index windows) const {
    for (Index n = 0; n < windows; ++n, at.next(grid))
      for (Index f = 0; f < job.filters; f += LANES) {
        const int count = at_most(job.filters - f);
        Vector m[16], y[4];
        for (int place = 0; place < 16; ++place) m[place] = load(bench.m + (place * chunk + n) * m_stride + f);
        output(m, y);
        Vector bias = job.bias ? load(job.bias + f, count) : Vector{};
        for (int each = 0; each < 4; ++each) y[each] += bias;
        if (job.pool) {
          finish(job, pooled(at) + f, count, y);
          continue;
        }
        for (int each = 0; each < 4; ++each)
          if (Index to = single(at, each); to >= 0) store(job.y + to + f, activated(job.activation, y[each]), count);
      }
  }

  // M' of a chunk from the gradient of the outputs; the bias's gradient on the way.
  void gather_back(const Bench& bench, Place at, Index windows) const {
    for (Index n = 0; n < windows; ++n, at.next(grid))
      for (Index f = 0; f < job.filters; f += LANES) {
        const int count = at_most(job.filters - f);
        Vector y[4], m[16], total{};
        if (job.pool) {
          total = spread(job, pooled(at) + f, count, y);
        } else {
          for (int each = 0; each < 4; ++each) {
            Index from = single(at, each);
            y[each] = Vector{};
            if (from >= 0)
              y[each] = before(job.activation, load(job.d_y + from + f, count), load(job.y + from + f, count));
            total += y[each];
          }
        }
        if (job.d_bias) store(bench.d_bias + f, load(bench.d_bias + f) + total);
        output_back(y, m);
        for (int place = 0; place < 16; ++place) store(bench.m + (place * chunk + n) * m_stride + f, m[place]);
      }
  }

  // The gradient of the inputs of a chunk from that of V: windows overlap, and so it is added up in place.
  void scatter(const Bench& bench, Place at, Index windows) const {
    const Index image = job.height * job.width * job.channels;
    for (Index n = 0; n < windows; ++n, at.next(grid)) {
      float* base = job.d_x + at.image * image;
      if (at.row == 0 && at.column == 0) std::memset(base, 0, static_cast<std::size_t>(image) * sizeof(float));
      const float* to[16];
      inputs(at, base, nullptr, to);
      for (Index c = 0; c < job.channels; c += LANES) {
        const int count = at_most(job.channels - c);
        Vector v[16], d[16];
        for (int place = 0; place < 16; ++place) v[place] = load(bench.v + (place * chunk + n) * v_stride + c);
        input_back(v, d);
        for (int place = 0; place < 16; ++place)
          if (to[place] != nullptr) {
            float* into = const_cast<float*>(to[place]) + c;
            store(into, load(into, count) + d[place], count);
          }
      }
    }
  }

  // The gradient of U: Σ_windows M' ∘ V.
  void outers(const Bench& bench, Index windows, bool more) const {
    for (int place = 0; place < PLACES; ++place) {
      const float *m = bench.m + place * chunk * m_stride, *v = bench.v + place * chunk * v_stride;
      float* to = bench.d_u + place * job.filters * c_width;
      for (Index c = 0; c < c_width; c += PANEL)
        in_fixed_blocks<ROWS>(job.filters, [&](auto block, Index f) __attribute__((always_inline)) {
          constexpr int COUNT = decltype(block)::count;
          if (c_width - c > LANES)
            outer<COUNT, 2>(m + f, m_stride, v + c, v_stride, windows, more, to + f * c_width + c, c_width);
          else
            outer<COUNT, 1>(m + f, m_stride, v + c, v_stride, windows, more, to + f * c_width + c, c_width);
        });
    }
  }

  void forward(Bench bench, const float* packed, Index first, Index last) const {
    std::memset(bench.zeros, 0, static_cast<std::size_t>(c_width) * sizeof(float));
    for (Index start = first; start < last; start += chunk) {
      const Index windows = least(chunk, last - start);
      const Place at(grid, start);
      gather(bench, at, windows);
      products(bench.v, v_stride, packed, job.channels, job.filters, windows, chunk, bench.m, m_stride);
      emit(bench, at, windows);
    }
  }

  void backward(Bench bench, const float* packed, Index first, Index last) const {
    std::memset(bench.zeros, 0, static_cast<std::size_t>(c_width) * sizeof(float));
    if (job.d_bias)
      std::memset(bench.d_bias, 0, static_cast<std::size_t>(rounded(job.filters, LANES)) * sizeof(float));
    for (Index start = first; start < last; start += chunk) {
      const Index windows = least(chunk, last - start);
      const Place at(grid, start);
      gather_back(bench, at, windows);
      if (job.d_weight) {
        gather(bench, at, windows);
        outers(bench, windows, start > first);
      }
      if (job.d_x) {
        products(bench.m, m_stride, packed, job.filters, job.channels, windows, chunk, bench.v, v_stride);
        scatter(bench, at, windows);
      }
    }
  }

  // The threads' shares of a filter's gradient, added up in their order.
  void reduce(const Bench* benches, int shares, Index f) const {
    for (Index c = 0; job.d_weight && c < job.channels; c += LANES) {
      Vector u[16], g[9];
      for (int place = 0; place < PLACES; ++place) {
        u[place] = Vector{};
        for (int share = 0; share < shares; ++share)
          u[place] += load(benches[share].d_u + (place * job.filters + f) * c_width + c);
      }
      kernel_back(u, g);
      for (int tap = 0; tap < 9; ++tap)
        store(job.d_weight + (f * 9 + tap) * job.channels + c, g[tap], at_most(job.channels - c));
    }
    if (!job.d_bias) return;
    job.d_bias[f] = 0;
    for (int share = 0; share < shares; ++share) job.d_bias[f] += benches[share].d_bias[f];
  }
};

constexpr int MOST_SHARES = 256;

int shares_of(const Job& job, int threads, bool back) {
  Index most = back ? job.batch : ceiling(job.batch * Grid(job).of_image(), ROWS);
  int wanted = threads < MOST_SHARES ? threads : MOST_SHARES;
  return most < wanted ? static_cast<int>(most) : wanted;
}

Plan plan_of(const Job& job, int shares, bool back) {
  const Index windows = Grid(job).of_image();
  if (shares == 0) return {job, 0};  // of an empty batch
  return {job, back ? ceiling(job.batch, shares) * windows : ceiling(job.batch * windows, shares)};
}

}  // namespace

std::int64_t winograd_room(const Job& job, int threads, bool back) {
  const int shares = shares_of(job, threads, back);
  const Plan plan = plan_of(job, shares, back);
  Room room{nullptr};
  room.take(plan.packed(back));
  for (int share = 0; share < shares; ++share) plan.bench(room, back);
  return room.used;
}

void winograd_forward(const Job& job, int threads) {
  const int shares = shares_of(job, threads, false);
  const Plan plan = plan_of(job, shares, false);
  Room room{job.room};
  float* packed = room.take(plan.packed(false));
  Bench benches[MOST_SHARES];
  for (int share = 0; share < shares; ++share) benches[share] = plan.bench(room, false);
  parallel(static_cast<int>(ceiling(job.filters, LANES)), threads, [&](int n) { pack_forward(job, packed, n); });
  const Index windows = job.batch * plan.grid.of_image();
  parallel(shares, threads, [&](int share) {
    plan.forward(benches[share], packed, windows * share / shares, windows * (share + 1) / shares);
  });
}

void winograd_backward(const Job& job, int threads) {
  const int shares = shares_of(job, threads, true);
  const Plan plan = plan_of(job, shares, true);
  Room room{job.room};
  float* packed = room.take(plan.packed(true));
  Bench benches[MOST_SHARES];
  for (int share = 0; share < shares; ++share) benches[share] = plan.bench(room, true);
  if (job.d_x)
    parallel(static_cast<int>(ceiling(job.channels, LANES)), threads, [&](int n) { pack_backward(job, packed, n); });
  const Index windows = plan.grid.of_image();
  parallel(shares, threads, [&](int share) {
    plan.backward(benches[share], packed, job.batch * share / shares * windows,
                  job.batch * (share + 1) / shares * windows);
  });
  const Index filters = job.filters;
  parallel(shares, threads, [&](int share) {
    for (Index f = filters * share / shares; f < filters * (share + 1) / shares; ++f) plan.reduce(benches, shares, f);
  });
}

}  // namespace corecur::CORECUR_ISA

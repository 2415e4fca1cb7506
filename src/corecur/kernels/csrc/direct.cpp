// Convolution by its definition, for any kernel, stride, padding and dilation: made for few channels.
//
// Some neighbouring outputs of a row times a panel of filters stay in registers over the whole kernel. Where there is padding, an
// image is copied into a larger one of zeros first, so that no edge is special. The gradient of the inputs is the same
// sum over the outputs' gradients, spread by the stride, with the kernel turned around.
#include "blocks.hpp"
#include "kernels.hpp"
#include "parallel.hpp"
#include "window.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Job = CorecurConvolution;

constexpr int ROWS = BLOCK_ROWS;

// A sum over `high` runs of `long` floats each, which stand `apart` in memory.
struct Taps {
  Index high, length, apart, wide, step;  // rows of the kernel; floats in a run; runs in a row and what lies between them

  Index depth() const { return high * wide * length; }
};

// Neighbouring positions of a kernel's row are one run, unless dilation parts them.
Taps taps_of(Index high, Index wide, Index dilation_h, Index dilation_w, Index row, Index channels) {
  if (dilation_w == 1) return {high, wide * channels, dilation_h * row, 1, 0};
  return {high, channels, dilation_h * row, wide, dilation_w * channels};
}

// Long sums are made of parts, which rounds less.
constexpr Index PART = 128;

// sums[r] = Σ_taps a[r · stride + tap] · panel[tap]
template <int COUNT>
CORECUR_INLINE void along(const float* a, Index stride, const Taps& taps, const float* panel, Vector (&sums)[COUNT][2]) {
  Vector held[COUNT][2];
#pragma GCC unroll 12
  for (int row = 0; row < COUNT; ++row) held[row][0] = held[row][1] = sums[row][0] = sums[row][1] = Vector{};
  Index part = 0;
  for (Index y = 0; y < taps.high; ++y)
    for (Index x = 0; x < taps.wide; ++x) {
      const float* run = a + y * taps.apart + x * taps.step;
      for (Index k = 0; k < taps.length; ++k, panel += PANEL) {
        Vector left = load(panel), right = load(panel + LANES);
#pragma GCC unroll 12
        for (int row = 0; row < COUNT; ++row) {
          Vector factor = all(run[row * stride + k]);
          held[row][0] += factor * left, held[row][1] += factor * right;
        }
      }
      part += taps.length;
      if (part < PART) continue;
      part = 0;
#pragma GCC unroll 12
      for (int row = 0; row < COUNT; ++row) {
        sums[row][0] += held[row][0], sums[row][1] += held[row][1];
        held[row][0] = held[row][1] = Vector{};
      }
    }
#pragma GCC unroll 12
  for (int row = 0; row < COUNT; ++row) sums[row][0] += held[row][0], sums[row][1] += held[row][1];
}

// d[row] += Σ_n a[row][n · stride] · columns[n · column_stride], over the outputs n of some rows.
template <int COUNT>
CORECUR_INLINE void across(const float* const* a, Index stride, Index next_a, const float* columns, Index column_stride,
                           Index next_column, Index count, Index rows, float* to, Index to_stride) {
  Vector held[COUNT][2];
#pragma GCC unroll 12
  for (int row = 0; row < COUNT; ++row) {
    held[row][0] = load(to + row * to_stride);
    held[row][1] = load(to + row * to_stride + LANES);
  }
  for (Index line = 0; line < rows; ++line) {
    const float* column = columns + line * next_column;
    for (Index n = 0, offset = line * next_a; n < count; ++n, offset += stride, column += column_stride) {
      Vector left = load(column), right = load(column + LANES);
#pragma GCC unroll 12
      for (int row = 0; row < COUNT; ++row) {
        Vector factor = all(a[row][offset]);
        held[row][0] += factor * left, held[row][1] += factor * right;
      }
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < COUNT; ++row) {
    store(to + row * to_stride, held[row][0]);
    store(to + row * to_stride + LANES, held[row][1]);
  }
}

// An image with the zeros around it that the kernel looks at.
struct Frame {
  Index height, width;  // of the copy; that of the image where none is needed
  bool copied;
};

struct Bench {
  float *frame, *sums;       // the image in its frame; sums of one panel before pooling, or d of all filters
  float *spread, *d_weight;  // outputs' gradients spread by the stride; [tap][f]
  float* d_bias;
};

struct Plan {
  const Job& job;
  Index high, wide;            // rows and columns of outputs to compute for one row of results
  Index taps, panels, f_width;
  Frame frame;
  Index spread_height, spread_width;

  explicit Plan(const Job& job)
      : job(job), high(job.pool ? 2 : 1), wide(job.pool ? 2 * job.pooled_width : job.out_width),
        taps(job.kernel_height * job.kernel_width * job.channels), panels(ceiling(job.filters, PANEL)),
        f_width(panels * PANEL),
        spread_height(job.height + (job.kernel_height - 1) * job.dilation_height),
        spread_width(job.width + (job.kernel_width - 1) * job.dilation_width) {
    Index needs_h = (job.out_height - 1) * job.stride_height + (job.kernel_height - 1) * job.dilation_height + 1;
    Index needs_w = (job.out_width - 1) * job.stride_width + (job.kernel_width - 1) * job.dilation_width + 1;
    bool copied = job.top != 0 || job.left != 0 || needs_h > job.height || needs_w > job.width;
    frame = copied ? Frame{needs_h, needs_w, true} : Frame{job.height, job.width, false};
  }

  Index back_panels() const { return ceiling(job.channels, PANEL); }
  Index packed(bool back) const {
    return back ? back_panels() * PANEL * job.kernel_height * job.kernel_width * job.filters : f_width * taps;
  }

  Bench bench(Room& room, bool back) const {
    Bench made{};
    if (frame.copied) made.frame = room.take(frame.height * frame.width * job.channels);
    made.sums = room.take(high * wide * (back ? f_width : PANEL));
    if (!back) return made;  // the room does not hang on which gradients are asked for
    made.spread = room.take(spread_height * spread_width * job.filters + PANEL);
    made.d_weight = room.take(taps * f_width), made.d_bias = room.take(f_width);
    return made;
  }

  // packed[panel][tap][filter]
  void pack_forward(float* packed, Index panel) const {
    float* to = packed + panel * taps * PANEL;
    for (Index f = 0; f < PANEL; ++f) {
      Index filter = panel * PANEL + f;
      for (Index tap = 0; tap < taps; ++tap)
        to[tap * PANEL + f] = filter < job.filters ? job.weight[filter * taps + tap] : 0.0f;
    }
  }

  // packed[panel][tap of the kernel turned around][filter][channel]
  void pack_backward(float* packed, Index panel) const {
    const Index positions = job.kernel_height * job.kernel_width;
    float* to = packed + panel * positions * job.filters * PANEL;
    for (Index tap = 0; tap < positions; ++tap)
      for (Index f = 0; f < job.filters; ++f) {
        const float* from = job.weight + (f * positions + positions - 1 - tap) * job.channels;
        for (Index c = panel * PANEL; c < (panel + 1) * PANEL; ++c) *to++ = c < job.channels ? from[c] : 0.0f;
      }
  }

  Taps forward_taps() const {
    return taps_of(job.kernel_height, job.kernel_width, job.dilation_height, job.dilation_width,
                   frame.width * job.channels, job.channels);
  }
  Taps backward_taps() const {
    return taps_of(job.kernel_height, job.kernel_width, job.dilation_height, job.dilation_width,
                   spread_width * job.filters, job.filters);
  }

  // The image in its frame; the frame's zeros are made once and stay.
  const float* framed(const Bench& bench, Index image) const {
    const float* from = job.x + image * job.height * job.width * job.channels;
    if (!frame.copied) return from;
    const Index rows = least(job.height, frame.height - job.top), columns = least(job.width, frame.width - job.left);
    if (columns <= 0) return bench.frame;
    for (Index row = 0; row < rows; ++row)
      std::memcpy(bench.frame + ((row + job.top) * frame.width + job.left) * job.channels,
                  from + row * job.width * job.channels, static_cast<std::size_t>(columns * job.channels) * sizeof(float));
    return bench.frame;
  }

  void clear(const Bench& bench) const {
    if (frame.copied)
      std::memset(bench.frame, 0, static_cast<std::size_t>(frame.height * frame.width * job.channels) * sizeof(float));
  }

  // The results of one row, from an image in its frame.
  void forward_row(const Bench& bench, const float* packed, const float* image, Index number, Index row) const {
    const Taps run = forward_taps();
    const Index stride = job.stride_width * job.channels, line = job.stride_height * frame.width * job.channels;
    float* place = job.y + (number * job.pooled_height + row) * job.pooled_width * job.filters;
    for (Index panel = 0; panel < panels; ++panel) {
      const Index f = panel * PANEL;
      const float* weights = packed + panel * taps * PANEL;
      const int counts[2] = {at_most(job.filters - f), job.filters - f > LANES ? at_most(job.filters - f - LANES) : 0};
      Vector bias[2] = {};
      for (int v = 0; v < 2; ++v)
        if (job.bias && counts[v]) bias[v] = load(job.bias + f + v * LANES, counts[v]);
      for (Index each = 0; each < high; ++each) {
        const float* a = image + (row * high + each) * line;
        in_fixed_blocks<ROWS>(wide, [&](auto block, Index start) __attribute__((always_inline)) {
          constexpr int COUNT = decltype(block)::count;
          Vector sums[COUNT][2];
          along<COUNT>(a + start * stride, stride, run, weights, sums);
          for (int n = 0; n < COUNT; ++n)
            for (int v = 0; v < 2; ++v) {
              Vector z = sums[n][v] + bias[v];
              if (job.pool)
                store(bench.sums + (each * wide + start + n) * PANEL + v * LANES, z);
              else if (counts[v])
                store(place + (start + n) * job.filters + f + v * LANES, activated(job.activation, z), counts[v]);
            }
        });
      }
      if (job.pool) pool_row(bench, place - job.y + f, counts);
    }
  }

  void pool_row(const Bench& bench, Index at, const int (&counts)[2]) const {
    for (Index column = 0; column < job.pooled_width; ++column)
      for (int v = 0; v < 2 && counts[v]; ++v) {
        const float* left = bench.sums + 2 * column * PANEL + v * LANES;
        const float* below = left + wide * PANEL;
        Vector z[4] = {load(left), load(left + PANEL), load(below), load(below + PANEL)};
        finish(job, at + column * job.filters + v * LANES, counts[v], z);
      }
  }

  // The gradients before the activation of the outputs that one row of results came from: [row][column][f].
  void spread_row(const Bench& bench, Index number, Index row) const {
    for (Index column = 0; column < job.pooled_width; ++column)
      for (Index f = 0; f < job.filters; f += LANES) {
        const int count = at_most(job.filters - f);
        const Index at = ((number * job.pooled_height + row) * job.pooled_width + column) * job.filters + f;
        Vector d[4], total;
        float* to = bench.sums + (job.pool ? 2 * column : column) * f_width + f;
        if (job.pool) {
          total = spread(job, at, count, d);
          store(to, d[0]), store(to + f_width, d[1]);
          store(to + wide * f_width, d[2]), store(to + (wide + 1) * f_width, d[3]);
        } else {
          total = before(job.activation, load(job.d_y + at, count), load(job.y + at, count));
          store(to, total);
        }
        store(bench.d_bias + f, load(bench.d_bias + f) + total);
      }
  }

  // The weights' gradient from these outputs.
  void weigh_row(const Bench& bench, const float* image, Index row) const {
    const Taps run = forward_taps();
    const Index stride = job.stride_width * job.channels, line = job.stride_height * frame.width * job.channels;
    in_fixed_blocks<ROWS>(taps, [&](auto block, Index start) __attribute__((always_inline)) {
      constexpr int COUNT = decltype(block)::count;
      const float* a[COUNT];
      for (int n = 0; n < COUNT; ++n) {
        Index tap = start + n, in_row = tap % (run.wide * run.length);
        a[n] = image + row * high * line + tap / (run.wide * run.length) * run.apart + in_row / run.length * run.step +
               in_row % run.length;
      }
      for (Index panel = 0; panel < panels; ++panel)
        across<COUNT>(a, stride, line, bench.sums + panel * PANEL, f_width, wide * f_width, wide, high,
                      bench.d_weight + start * f_width + panel * PANEL, f_width);
    });
  }

  // These outputs' gradients where the sum over them is looked for: apart by the stride, zeros between and around.
  void place_row(const Bench& bench, Index row) const {
    const Index over = (job.kernel_height - 1) * job.dilation_height - job.top;
    const Index before_row = (job.kernel_width - 1) * job.dilation_width - job.left;
    for (Index each = 0; each < high; ++each) {
      const Index y = (row * high + each) * job.stride_height + over;
      if (y < 0 || y >= spread_height) continue;
      for (Index column = 0; column < wide; ++column) {
        const Index x = column * job.stride_width + before_row;
        if (x < 0 || x >= spread_width) continue;
        std::memcpy(bench.spread + (y * spread_width + x) * job.filters, bench.sums + (each * wide + column) * f_width,
                    static_cast<std::size_t>(job.filters) * sizeof(float));
      }
    }
  }

  void inputs_back(const Bench& bench, const float* packed, Index number) const {
    const Taps run = backward_taps();
    for (Index panel = 0; panel < back_panels(); ++panel) {
      const Index c = panel * PANEL;
      const float* weights = packed + panel * PANEL * run.depth();
      for (Index row = 0; row < job.height; ++row) {
        const float* a = bench.spread + row * spread_width * job.filters;
        float* to = job.d_x + (number * job.height + row) * job.width * job.channels + c;
        in_fixed_blocks<ROWS>(job.width, [&](auto block, Index start) __attribute__((always_inline)) {
          constexpr int COUNT = decltype(block)::count;
          Vector sums[COUNT][2];
          along<COUNT>(a + start * job.filters, job.filters, run, weights, sums);
          for (int n = 0; n < COUNT; ++n)
            for (int v = 0; v < 2 && job.channels - c > v * LANES; ++v)
              store(to + (start + n) * job.channels + v * LANES, sums[n][v], at_most(job.channels - c - v * LANES));
        });
      }
    }
  }

  void backward(const Bench& bench, const float* packed, Index first, Index last) const {
    clear(bench);
    std::memset(bench.d_bias, 0, static_cast<std::size_t>(f_width) * sizeof(float));
    std::memset(bench.sums, 0, static_cast<std::size_t>(high * wide * f_width) * sizeof(float));
    if (job.d_weight) std::memset(bench.d_weight, 0, static_cast<std::size_t>(taps * f_width) * sizeof(float));
    if (job.d_x)
      std::memset(bench.spread, 0,
                  static_cast<std::size_t>(spread_height * spread_width * job.filters + PANEL) * sizeof(float));
    for (Index image = first; image < last; ++image) {
      const float* x = job.d_weight ? framed(bench, image) : nullptr;
      for (Index row = 0; row < job.pooled_height; ++row) {
        spread_row(bench, image, row);
        if (job.d_weight) weigh_row(bench, x, row);
        if (job.d_x) place_row(bench, row);
      }
      if (job.d_x) inputs_back(bench, packed, image);
    }
  }
};

constexpr int MOST_SHARES = 256;

int shares_of(const Job& job, int threads, bool back) {
  Index most = back ? job.batch : job.batch * job.pooled_height;
  int wanted = threads < MOST_SHARES ? threads : MOST_SHARES;
  return most < wanted ? static_cast<int>(most) : wanted;
}

}  // namespace

std::int64_t direct_room(const Job& job, int threads, bool back) {
  Plan plan(job);
  Room room{nullptr};
  room.take(plan.packed(back));
  for (int share = 0; share < shares_of(job, threads, back); ++share) plan.bench(room, back);
  return room.used;
}

void direct_forward(const Job& job, int threads) {
  Plan plan(job);
  Room room{job.room};
  float* packed = room.take(plan.packed(false));
  const int shares = shares_of(job, threads, false);
  Bench benches[MOST_SHARES];
  for (int share = 0; share < shares; ++share) benches[share] = plan.bench(room, false);
  parallel(static_cast<int>(plan.panels), threads, [&](int panel) { plan.pack_forward(packed, panel); });
  const Index rows = job.batch * job.pooled_height;
  parallel(shares, threads, [&](int share) {
    plan.clear(benches[share]);
    const float* image = nullptr;
    for (Index row = rows * share / shares, last = rows * (share + 1) / shares, held = -1; row < last; ++row) {
      Index number = row / job.pooled_height;
      if (number != held) image = plan.framed(benches[share], held = number);
      plan.forward_row(benches[share], packed, image, number, row % job.pooled_height);
    }
  });
}

void direct_backward(const Job& job, int threads) {
  Plan plan(job);
  Room room{job.room};
  float* packed = room.take(plan.packed(true));
  const int shares = shares_of(job, threads, true);
  Bench benches[MOST_SHARES];
  for (int share = 0; share < shares; ++share) benches[share] = plan.bench(room, true);
  if (job.d_x)
    parallel(static_cast<int>(plan.back_panels()), threads, [&](int panel) { plan.pack_backward(packed, panel); });
  parallel(shares, threads, [&](int share) {
    plan.backward(benches[share], packed, job.batch * share / shares, job.batch * (share + 1) / shares);
  });
  for (Index f = 0; f < job.filters; ++f) {  // the threads' shares in their order
    for (Index tap = 0; job.d_weight && tap < plan.taps; ++tap) {
      float total = 0;
      for (int share = 0; share < shares; ++share) total += benches[share].d_weight[tap * plan.f_width + f];
      job.d_weight[f * plan.taps + tap] = total;
    }
    float total = 0;
    for (int share = 0; share < shares; ++share) total += benches[share].d_bias[f];
    if (job.d_bias) job.d_bias[f] = total;
  }
}

}  // namespace corecur::CORECUR_ISA

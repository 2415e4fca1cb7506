// Products of two matrices. Each thread takes some rows or some columns of what comes out, so that none waits for
// another; the depth is cut in pieces, whose panels of b lie packed in the first cache while many rows of a pass by.
#include "kernels.hpp"
#include "parallel.hpp"
#include "share.hpp"
#include "tile.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Job = CorecurProduct;

constexpr int VECTORS = 2, ROWS = ROWS_AT_ONCE<VECTORS>;
constexpr Index COLUMNS = VECTORS * LANES;
// Of the depth: a panel takes half of a first cache of 32 KB at most, and so many sums round little.
constexpr Index DEPTH = 128;
// Of the rows: their part of the depth stays in the second cache from one panel to the next.
constexpr Index MANY_ROWS = 512;
// Rows of a thread with which it does not matter that others pack the same panels.
constexpr Index ENOUGH_ROWS = 256;

// A part of the depth: where it begins in a and b.
struct Piece {
  Index a, b, depth;
};

// Where the sums of a tile go: `columns` of them, as the start of a sum or to be added to one.
struct Out {
  float* at;
  Index stride, columns;
  const float* bias;  // of these columns, or null
  bool fresh;
};

// out = Σ a · panel over the pieces; a row by row, or TURNED: column by column.
template <int COUNT, int WIDE, bool TURNED>
void multiply(const float* a, Index stride, const Piece* pieces, int count, const float* panel, const Out& out) {
  Vector held[COUNT][WIDE];
#pragma GCC unroll 24
  for (int row = 0; row < COUNT; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < WIDE; ++v) held[row][v] = Vector{};
  for (int piece = 0; piece < count; ++piece) {
    const float* from = a + pieces[piece].a;
    for (Index k = 0; k < pieces[piece].depth; ++k, panel += WIDE * LANES) {
      Vector column[WIDE];
#pragma GCC unroll 4
      for (int v = 0; v < WIDE; ++v) column[v] = load(panel + v * LANES);
#pragma GCC unroll 24
      for (int row = 0; row < COUNT; ++row) {
        Vector factor = all(TURNED ? from[k * stride + row] : from[row * stride + k]);
#pragma GCC unroll 4
        for (int v = 0; v < WIDE; ++v) held[row][v] += factor * column[v];
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < WIDE; ++v) {
    const int lanes = at_most(out.columns - v * LANES);
    const Vector start = out.fresh && out.bias != nullptr ? load(out.bias + v * LANES, lanes) : Vector{};
#pragma GCC unroll 24
    for (int row = 0; row < COUNT; ++row) {
      float* to = out.at + row * out.stride + v * LANES;
      store(to, held[row][v] + (out.fresh ? start : load(to, lanes)), lanes);
    }
  }
}

using Multiply = void (*)(const float*, Index, const Piece*, int, const float*, const Out&);

template <int WIDE, bool TURNED, int... COUNTS>
constexpr Multiply multiplying(Index rows, std::integer_sequence<int, COUNTS...>) {
  constexpr Multiply of[] = {multiply<COUNTS + 1, WIDE, TURNED>...};
  return of[rows - 1];
}

Multiply multiplying(Index rows, int wide, bool turned) {
  constexpr auto counts = std::make_integer_sequence<int, ROWS>{};
  if (wide == 1) return turned ? multiplying<1, true>(rows, counts) : multiplying<1, false>(rows, counts);
  return turned ? multiplying<VECTORS, true>(rows, counts) : multiplying<VECTORS, false>(rows, counts);
}

// panel[k][column] = b[k][column] for `count` columns, zeros beyond them.
void pack(const float* b, Index step, Index apart, Index depth, Index count, Index width, float* panel) {
  if (apart == 1) {
    for (Index k = 0; k < depth; ++k)
      for (Index v = 0; v < width; v += LANES)
        store(panel + k * width + v, count > v ? load(b + k * step + v, at_most(count - v)) : Vector{});
    return;
  }
  for (Index first = 0; first < width; first += LANES) {
    Index k = 0;
    for (; step == 1 && k + LANES <= depth; k += LANES) {
      Vector square[LANES];
      for (Index column = 0; column < LANES; ++column)
        square[column] = first + column < count ? load(b + (first + column) * apart + k) : Vector{};
      transpose(square);
      for (Index row = 0; row < LANES; ++row) store(panel + (k + row) * width + first, square[row]);
    }
    for (; k < depth; ++k)
      for (Index column = first; column < first + LANES; ++column)
        panel[k * width + column] = column < count ? b[k * step + column * apart] : 0.0f;
  }
}

// One product, or what one thread does of it.
class Product {
 public:
  Product(const Job& job, const float* a, const float* b, const float* bias, float* out)
      : job(job), a(a + job.a), b(b + job.b), bias(bias), out(out + job.out), turned(job.a_depth != 1),
        blocks(job.down * job.across) {}

  // Some rows of each block, and some columns.
  void part(Share rows, Share columns) const {
    for (Index top = rows.first; top < rows.last; top += MANY_ROWS) {
      const Index many = rows.last - top < MANY_ROWS ? rows.last - top : MANY_ROWS;
      Index block = 0, k = 0;  // of the depth
      for (bool fresh = !job.add; block < (job.deep ? blocks : 1); fresh = false) {
        Piece pieces[DEPTH];
        const int count = next(block, k, pieces);
        for (Index left = columns.first; left < columns.last; left += COLUMNS)
          panel({top, top + many}, {left, left + COLUMNS < columns.last ? left + COLUMNS : columns.last}, pieces, count, fresh);
      }
    }
  }

 private:
  // The next pieces of the depth; how many they are.
  int next(Index& block, Index& k, Piece* pieces) const {
    int count = 0;
    for (Index deep = 0; deep < DEPTH && block < (job.deep ? blocks : 1);) {
      const Index left = job.depth - k, taken = left < DEPTH - deep ? left : DEPTH - deep;
      const Index down = block / job.across, across = block % job.across;
      pieces[count++] = {down * job.a_down + across * job.a_across + k * job.a_depth,
                         down * job.b_down + across * job.b_across + k * job.b_depth, taken};
      deep += taken, k += taken;
      if (k == job.depth) k = 0, ++block;
    }
    return count;
  }

  void panel(Share rows, Share columns, const Piece* pieces, int count, bool fresh) const {
    alignas(64) float packed[DEPTH * COLUMNS];
    const Index wanted = columns.last - columns.first;
    const int wide = wanted <= LANES ? 1 : VECTORS;
    Index deep = 0;
    for (int piece = 0; piece < count; deep += pieces[piece++].depth)
      pack(b + pieces[piece].b + columns.first * job.b_column, job.b_depth, job.b_column, pieces[piece].depth, wanted,
           wide * LANES, packed + deep * wide * LANES);
    for (Index block = 0; block < (job.deep ? 1 : blocks); ++block) {
      const Index down = block / job.across, across = block % job.across;
      const float* from = a + down * job.a_down + across * job.a_across;
      float* to = out + down * job.out_down + across * job.out_across + columns.first;
      in_blocks(rows.last - rows.first, ROWS, [&](Index start, Index some) {
        const Index row = rows.first + start;
        multiplying(some, wide, turned)(from + row * job.a_row, turned ? job.a_depth : job.a_row, pieces, count, packed,
                                        {to + row * job.out_row, job.out_row, wanted, bias ? bias + columns.first : nullptr, fresh});
      });
    }
  }

  const Job& job;
  const float *a, *b, *bias;
  float* out;
  const bool turned;
  const Index blocks;
};

}  // namespace

void products(const CorecurProduct* jobs, int count, const float* a, const float* b, const float* bias, float* out,
              int threads) {
  Index multiplications = 0;
  for (int n = 0; n < count; ++n)
    multiplications += jobs[n].rows * jobs[n].columns * jobs[n].depth * jobs[n].down * jobs[n].across;
  threads = threads_for(multiplications, threads);
  const Index columns = jobs[0].columns, panels = ceiling(columns, COLUMNS);
  const bool by_rows = count == 1 && (jobs[0].rows >= ENOUGH_ROWS * threads || panels < threads);
  parallel(threads, threads, [&](int task) {
    auto share = [&](Index of) { return Share{of * task / threads, of * (task + 1) / threads}; };
    const Share own = share(panels);
    for (int n = 0; n < count; ++n) {
      const Product product(jobs[n], a, b, bias, out);
      if (by_rows)
        product.part(share(jobs[n].rows), {0, columns});
      else
        product.part({0, jobs[n].rows}, {own.first * COLUMNS, own.last < panels ? own.last * COLUMNS : columns});
    }
  });
}

}  // namespace corecur::CORECUR_ISA

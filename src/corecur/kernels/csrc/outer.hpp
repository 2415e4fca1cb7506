// Sums of outer products: what the rows of two matrices, a and b, give for the gradient of a weight.
//
// Rows of both come in pieces, one for each step of a sequence; the sums of a tile stay in registers over all of them.
#pragma once

#include <utility>

#include "share.hpp"
#include "tile.hpp"

namespace corecur::CORECUR_ISA {

// Some rows of a and as many of b.
struct Pieces {
  const float *a, *b;
  Index rows;
};

// Floats from row to row.
struct Strides {
  Index a, b, sums;
};

// sums[i][j] (+)= Σ a[row][i] · b[row][j] for ROWS columns of a from `i` and VECTORS vectors of b from `j`; `fresh` where
// nothing is there yet. The sum is made on its own and then added, which rounds less than one long sum.
template <int ROWS, int VECTORS>
void add_outer(const Pieces* pieces, int count, const Strides& strides, Index i, Index j, float* sums, bool fresh) {
  Vector held[ROWS][VECTORS];
#pragma GCC unroll 24
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) held[row][v] = Vector{};
  for (int piece = 0; piece < count; ++piece) {
    const float *a = pieces[piece].a + i, *b = pieces[piece].b + j;
    for (Index left = pieces[piece].rows; left > 0; --left, a += strides.a, b += strides.b) {
      Vector column[VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) column[v] = load(b + v * LANES);
#pragma GCC unroll 24
      for (int row = 0; row < ROWS; ++row) {
        Vector factor = all(a[row]);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) held[row][v] += factor * column[v];
      }
    }
  }
#pragma GCC unroll 24
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      float* to = sums + (i + row) * strides.sums + j + v * LANES;
      store(to, fresh ? held[row][v] : load(to) + held[row][v]);
    }
}

using AddOuter = void (*)(const Pieces*, int, const Strides&, Index, Index, float*, bool);

template <int VECTORS, int... ROWS>
constexpr AddOuter adding_outer(Index rows, std::integer_sequence<int, ROWS...>) {
  constexpr AddOuter of[] = {add_outer<ROWS + 1, VECTORS>...};
  return of[rows - 1];
}

constexpr int OUTER_VECTORS = 2;
constexpr Index OUTER_ROWS = ROWS_AT_ONCE<OUTER_VECTORS>, OUTER_COLUMNS = OUTER_VECTORS * LANES;

// The same for `width` columns of a and some of b, of which whole tiles are read: rows of b and of the sums have room for
// them.
inline void outer_products(const Pieces* pieces, int count, const Strides& strides, Index width, Share columns, float* sums,
                           bool fresh) {
  for (Index j = columns.first; j < columns.last; j += OUTER_COLUMNS)
    in_blocks(width, OUTER_ROWS, [&](Index i, Index rows) {
      adding_outer<OUTER_VECTORS>(rows, std::make_integer_sequence<int, OUTER_ROWS>{})(pieces, count, strides, i, j, sums,
                                                                                      fresh);
    });
}

}  // namespace corecur::CORECUR_ISA

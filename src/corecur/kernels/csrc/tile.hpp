// The product that everything here stands on: some rows times a panel of columns, kept in registers.
//
// A panel holds a few vectors of columns of the right factor, all their depth in one piece of memory, so that the inner
// loop reads it from front to back: depth × (VECTORS · LANES) floats.
#pragma once

#include <utility>

#include "simd.hpp"

namespace corecur::CORECUR_ISA {

template <int VECTORS>
constexpr int ROWS_AT_ONCE = ACCUMULATORS / VECTORS;

// The sums of a tile, rows by vectors by lanes.
struct Tile {
  alignas(64) float sums[ACCUMULATORS * LANES];

  template <int VECTORS>
  CORECUR_INLINE Vector at(Index row, Index vector) const {
    return load(sums + (row * VECTORS + vector) * LANES);
  }
};

// held[r] += Σ_k a[r · stride + k] · panel[k]
template <int ROWS, int VECTORS>
CORECUR_INLINE void add_products(const float* a, Index stride, const float* panel, Index depth,
                                 Vector (&held)[ROWS][VECTORS]) {
  for (Index k = 0; k < depth; ++k) {
    Vector column[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) column[v] = load(panel + v * LANES);
#pragma GCC unroll 24
    for (int row = 0; row < ROWS; ++row) {
      Vector factor = all(a[row * stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) held[row][v] += factor * column[v];
    }
    panel += VECTORS * LANES;
  }
}

template <int ROWS, int VECTORS>
CORECUR_INLINE void store_sums(const Vector (&held)[ROWS][VECTORS], float* sums) {
#pragma GCC unroll 24
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) store(sums + (row * VECTORS + v) * LANES, held[row][v]);
}

// sums[r] = Σ_k a[r · stride + k] · panel[k]
template <int ROWS, int VECTORS>
void multiply_rows(const float* a, Index stride, const float* panel, Index depth, float* sums) {
  Vector held[ROWS][VECTORS];
#pragma GCC unroll 24
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) held[row][v] = Vector{};
  add_products(a, stride, panel, depth, held);
  store_sums(held, sums);
}

using MultiplyRows = void (*)(const float*, Index, const float*, Index, float*);

template <int VECTORS, int... ROWS>
constexpr MultiplyRows multiplying(int rows, std::integer_sequence<int, ROWS...>) {
  constexpr MultiplyRows of[] = {multiply_rows<ROWS + 1, VECTORS>...};
  return of[rows - 1];
}

// The same for any number of rows from 1 to ROWS_AT_ONCE.
template <int VECTORS>
CORECUR_INLINE void product(Index rows, const float* a, Index stride, const float* panel, Index depth, Tile& tile) {
  multiplying<VECTORS>(static_cast<int>(rows), std::make_integer_sequence<int, ROWS_AT_ONCE<VECTORS>>{})(
      a, stride, panel, depth, tile.sums);
}

// Panels that one row is multiplied with at once, so that no addition waits for the one before.
template <int VECTORS>
constexpr int PANELS_AT_ONCE = (ACCUMULATORS < 8 ? ACCUMULATORS : 8) / VECTORS;

// One row times PANELS_AT_ONCE panels `apart` floats from each other; in the tile each panel stands as a row.
template <int VECTORS>
void row_product(const float* a, const float* panel, Index apart, Index depth, Tile& tile) {
  constexpr int PANELS = PANELS_AT_ONCE<VECTORS>;
  Vector held[PANELS][VECTORS];
#pragma GCC unroll 4
  for (int p = 0; p < PANELS; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) held[p][v] = Vector{};
  for (Index k = 0; k < depth; ++k, panel += VECTORS * LANES) {
    const Vector factor = all(a[k]);
#pragma GCC unroll 4
    for (int p = 0; p < PANELS; ++p)
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) held[p][v] += factor * load(panel + p * apart + v * LANES);
  }
  store_sums(held, tile.sums);
}

// body(first row, how many) for blocks of at most `most` rows, as even as they can be.
template <class Body>
CORECUR_INLINE void in_blocks(Index rows, Index most, Body&& body) {
  Index blocks = (rows + most - 1) / most, first = 0;
  for (Index block = 0; block < blocks; ++block) {
    Index end = rows * (block + 1) / blocks;
    body(first, end - first);
    first = end;
  }
}

}  // namespace corecur::CORECUR_ISA

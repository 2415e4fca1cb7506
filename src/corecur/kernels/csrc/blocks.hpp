// Blocks of rows whose number the compiler knows, so that the sums of a convolution go from registers straight to what
// follows.
#pragma once

#include "simd.hpp"

namespace corecur::CORECUR_ISA {

// Rows of a block with two vectors of columns.
constexpr int BLOCK_ROWS = ACCUMULATORS / 2;

// sums[r] = Σ_k a[r · stride + k] · panel[k]
template <int ROWS, int VECTORS>
CORECUR_INLINE void product(const float* a, Index stride, const float* panel, Index depth,
                            Vector (&sums)[ROWS][VECTORS]) {
  Vector held[ROWS][VECTORS];
#pragma GCC unroll 12
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) held[row][v] = Vector{};
  for (Index k = 0; k < depth; ++k) {
    Vector column[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) column[v] = load(panel + v * LANES);
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; ++row) {
      Vector factor = all(a[row * stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) held[row][v] += factor * column[v];
    }
    panel += VECTORS * LANES;
  }
#pragma GCC unroll 12
  for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) sums[row][v] = held[row][v];
}

template <int ROWS>
struct Rows {
  static constexpr int count = ROWS;
};

// body(Rows<count>, first row) for blocks of at most MOST rows, as even as they can be.
template <int MOST, class Body>
CORECUR_INLINE void one_block(int count, Index first, Body& body) {
  if (count == MOST)
    body(Rows<MOST>{}, first);
  else if constexpr (MOST > 1)
    one_block<MOST - 1>(count, first, body);
}

template <int MOST, class Body>
CORECUR_INLINE void in_fixed_blocks(Index rows, Body&& body) {
  if (rows <= 0) return;
  Index blocks = (rows + MOST - 1) / MOST, first = 0;
  for (Index block = 0; block < blocks; ++block) {
    Index end = rows * (block + 1) / blocks;
    one_block<MOST>(static_cast<int>(end - first), first, body);
    first = end;
  }
}

}  // namespace corecur::CORECUR_ISA

// What products of two matrices are given. Mirrored in kernels/products.py.
#pragma once

#include <cstdint>

extern "C" {

// out (M, N) = a (M, K) · b (K, N), or added to what out holds. One of a's two strides is 1, that of out's columns is 1.
// Strides and places are in floats, the latter from the addresses that come with the call.
struct CorecurProduct {
  std::int32_t add;
  // Whether the blocks below are of the depth, whose products are added up; else they are of rows.
  std::int32_t deep;
  std::int64_t rows, columns, depth;                     // M, N, K of a block
  std::int64_t a_row, a_depth, b_depth, b_column, out_row;
  std::int64_t a, b, out;                                // where the first block begins
  std::int64_t down, across;                             // how many blocks there are
  std::int64_t a_down, a_across, b_down, b_across, out_down, out_across;
};

}

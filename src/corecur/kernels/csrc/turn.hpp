// What a copy with its first two axes turned is given. Mirrored in kernels/stretch_parts.py.
#pragma once

#include <cstdint>

extern "C" {

// y (N, M, C) of x (M, N, C).
struct CorecurTurn {
  std::int64_t first, second, width;  // M, N, C
  const float* x;
  float* y;
  // The way back.
  const float* d_y;  // (N, M, C)
  float* d_x;        // (M, N, C)
};

}

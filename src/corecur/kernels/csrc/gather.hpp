// Rows of a matrix in another order. Mirrored in kernels/packed_parts.py.
#pragma once

#include <cstdint>

extern "C" {

// to[n] = from[index[n]], zeros where the index is `limit` or beyond; then rows of from are added to rows of to.
struct CorecurGather {
  std::int64_t count, limit;  // rows of to and of from
  std::int64_t width;
  const float* from;
  float* to;
  const std::int64_t* index;      // (count)
  std::int64_t more;              // how many rows are added
  const std::int64_t* more_from;  // (more)
  const std::int64_t* more_to;
};

}

// What a dense layer with its activation is given. Mirrored in kernels/dense.py.
#pragma once

#include <cstdint>

extern "C" {

// N rows, C features, U units: y = activation(x · weight^T + bias).
struct CorecurDense {
  std::int64_t rows, features, units;
  std::int64_t activation;  // 0 none, 1 relu, 2 tanh
  const float* x;           // (N, C)
  const float* weight;      // (U, C)
  const float* bias;        // (U) or null
  float* y;                 // (N, U)
  // The way back; null where nobody needs it.
  const float* d_y;  // (N, U)
  float* d_z;        // (N, U): room for the gradient before the activation, where there is one
  float* d_x;        // (N, C)
  float* d_weight;   // (U, C)
  float* d_bias;     // (U)
};

}

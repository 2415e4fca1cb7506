// What a convolution with its activation and pooling is given. Mirrored field by field in kernels/convolution.py.
#pragma once

#include <cstdint>

extern "C" {

// B batch, H × W positions of the input, C channels, F filters, k × k kernel, H' × W' positions of the convolution's
// output, P × Q what is left of them after pooling windows of 2 × 2 (H' × W' without pooling).
struct CorecurConvolution {
  std::int32_t winograd;    // 3 × 3 kernels, stride and dilation 1: see winograd.cpp; else direct.cpp
  std::int32_t pool;        // 0 none, 1 the maximum, 2 the average
  std::int32_t activation;  // 0 none, 1 relu, 2 tanh
  std::int32_t training;    // whether to fill `chosen`
  std::int64_t batch, height, width, channels, filters;
  std::int64_t kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
  std::int64_t top, left;  // zeros before the first row and column; as many after the last as the output needs
  std::int64_t out_height, out_width, pooled_height, pooled_width;
  const float* x;          // (B, H, W, C)
  const float* weight;     // (F, k, k, C)
  const float* bias;       // (F) or null
  float* y;                // (B, P, Q, F)
  std::uint8_t* chosen;    // (B, P, Q, F): which of the window was the largest; for averages a bit for each that relu let through
  float* room;             // as many floats as convolution_room says
  // The way back; null where nobody needs it.
  const float* d_y;  // (B, P, Q, F)
  float* d_x;        // (B, H, W, C)
  float* d_weight;   // (F, k, k, C)
  float* d_bias;     // (F)
};

}

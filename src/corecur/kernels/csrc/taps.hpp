// What a convolution by places of its kernel is given. Mirrored in kernels/stretch_parts.py.
#pragma once

#include <cstdint>

#include "convolution.hpp"
#include "product.hpp"

extern "C" {

// A convolution as products, one for each place of the kernel that meets the input at all; the products are of
// positions that come before the batch, (H, W, B, C).
struct CorecurTaps {
  CorecurConvolution block;
  std::int64_t count;               // of places
  std::int64_t every;               // whether all places of the kernel meet the input
  const CorecurProduct* to_y;       // (H', W', B, F) of x and the weight
  const CorecurProduct* to_x;       // the gradient (H, W, B, C) of that of the above and the weight
  const CorecurProduct* to_weight;  // the gradient (F, k, k, C) of that of the above and x
  float* turned;                    // x as (H, W, B, C), which the way back reads
};

}

// What the softmax of rows of scores and the cross-entropy over it are given. Mirrored in kernels/native_softmax.py.
#pragma once

#include <cstdint>

extern "C" {

// P positions, K classes. The loss of a position is -Σ_k q_k log softmax(scores)_k, with q the label's one-hot
// smoothed to (1 - s) q + s / K.
struct CorecurSoftmax {
  std::int64_t positions, classes;
  const float* scores;         // (P, K)
  float* out;                  // (P, K): the softmax, or on the way back the gradient of the scores
  const std::int64_t* labels;  // (P)
  std::int64_t ignored;        // positions with this label count for nothing
  double smoothing;            // s
  float* losses;               // (P)
  float* kept;                 // (P, 2): the largest score, and 1 / Σ_k e^(score - largest)
  const float* d_losses;       // (P), or one value for all
  std::int64_t d_stride;       // 1, or 0 for one value
  float* mean;                 // of the losses of all positions, ignored ones among them; null where nobody asks
  std::int64_t* wrong;         // set to 1 where a label is neither a class nor to be ignored
};

}

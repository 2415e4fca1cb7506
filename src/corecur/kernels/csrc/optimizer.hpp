// What a step of an optimiser is given. Mirrored field by field in kernels/native_optimizer.py.
#pragma once

#include <cstdint>

extern "C" {

// How the parameters of one group are updated in this step.
struct CorecurRule {
  std::int32_t kind;     // a row of the table in optimizer.cpp
  std::int32_t variant;  // nesterov, amsgrad or centered, by kind
  double rate;
  double beta_1;  // momentum for kinds without a first moment
  double beta_2;  // rho of RMSprop
  double epsilon;
  double decay;
};

// A parameter and what is kept beside it, each `length` floats in one order of memory; null what its rule has not.
struct CorecurParameter {
  std::int32_t rule;  // its place among the rules
  std::int32_t moves;  // of the call: whether it has a gradient
  std::int64_t length;
  float* weight;
  float* first;   // the mean of gradients, or the momentum
  float* second;  // the mean of their squares
  float* third;   // the largest of these (amsgrad), or the momentum of RMSprop
  float* steps;   // how many it has taken, which the call raises by one
  float size, epsilon;  // of the call, for Adam: both hang on the count of steps
};

// What `clip` does once the norm is known.
enum CorecurClip : std::int32_t { CORECUR_CLIP_NONE, CORECUR_CLIP_NORM, CORECUR_CLIP_VALUE, CORECUR_CLIP_EACH };

}

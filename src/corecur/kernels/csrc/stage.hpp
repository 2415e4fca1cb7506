// One stage of a network that is run step by step: a recurrence, or a dense layer. Mirrored in kernels/native_step.py.
#pragma once

#include <cstdint>

extern "C" {

// C features in, H units, G gates · H. What a product reads is packed once and kept as long as the weights stay.
struct CorecurStage {
  std::int32_t kind;  // a row of the table in stage.cpp
  std::int64_t features, units;
  const float* weight_ih;  // (G, C); read by the packing alone, as the next
  const float* weight_hh;  // (G, H), null for a dense layer
  const float* bias;       // (G): what a gate begins with
  const float* own;        // (H): GRU's recurrent bias of n
  float* packed_ih;        // room for the packed weights; null where the input's part is looked up
  float* packed_hh;
};

// Steps of a stage: R rows, T steps, time first.
struct CorecurSteps {
  const CorecurStage* stage;
  std::int64_t rows, steps;
  const float* x;  // (T, R, C)
  const float* h;  // (R, H): the states before
  const float* c;
  float* y;      // (T, R, H)
  float* new_c;  // (R, H): the cell after the last step
  float* gates;  // (16 · R, G), or of T steps where those are fewer: room for the input's part of some steps at once; or null
};

}

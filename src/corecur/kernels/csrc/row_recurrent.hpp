// What a recurrence is given whose step needs whole rows: a norm, a projection, a product of what a gate lets through.
// Mirrored field by field in kernels/native_rows.py.
#pragma once

#include <cstdint>

extern "C" {

// Packed rows as in recurrent.hpp. P outputs: H, or fewer after a projection. Pointers that a cell has no use for are
// null: a projection, norms and peepholes are there or not.
struct CorecurRowRecurrent {
  std::int32_t classic;  // 1: GRU with the reset gate before the product; 0: LSTM
  std::int32_t training;
  std::int64_t steps, batch, units, outputs;
  const std::int64_t* sizes;
  const std::int64_t* offsets;
  float* gates;             // (N, G): the input's part, replaced by the gates' values
  float* h;                 // (B + N, P)
  float* c;                 // (B + N, H)
  float* between;           // (N, H): GRU's r h; LSTM's output before the projection
  float* normed;            // (N, G): the recurrent part, normalised
  float* scales;            // (N): what it was multiplied by for that
  const float* weight;      // (G, P)
  const float* bias;        // (G) or null
  const float* peephole;    // (3, H)
  const float* projection;  // (P, H)
  const float* gain;        // (G): of the norm of the recurrent part
  const float* gain_c;      // (H): of the norm of the cell, with its bias
  const float* bias_c;      // (H)
  const float* dropout;     // (B, P) or null
  const float* zoneout_h;   // (N, P) or null
  const float* zoneout_c;   // (N, H) or null
  float* packed;            // room for the packed weights of one way
  float* scratch;           // (B, 4 H + 2 max(H, P)): no values
  // The way back.
  const float* d_outputs;  // (N, P) or null
  float* d_h;              // (B, P)
  float* d_c;              // (B, H)
  float* d_gates;          // (N, G)
  float* d_product;        // (N, G): of the recurrent part before its norm
  float* d_between;        // (N, P): of the projection's result
  float* d_cell;           // (N, H): of the cell's norm's result
};

}

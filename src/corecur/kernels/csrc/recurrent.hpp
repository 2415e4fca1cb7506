// What a recurrence over a whole sequence is given. Mirrored field by field in kernels/native.py.
#pragma once

#include <cstdint>

extern "C" {

// Rows of a batch stand in order of their lengths, the longest first; of every step only the rows that are still
// running are kept: N = the sum of `sizes`. B batch, T steps, H units, P outputs, G gates · H.
struct CorecurRecurrent {
  std::int32_t kind;      // a row of the table in recurrent.cpp
  std::int32_t training;  // whether to keep what the way back needs
  std::int64_t steps, batch, units, outputs;
  const std::int64_t* sizes;    // (T), how many rows are running
  const std::int64_t* offsets;  // (T), the first of them among all N
  float* gates;                 // (N, G): the input's part, replaced by the gates' values in training
  float* h;                     // (B + N, P): the first state, then the outputs
  float* c;                     // (B + N, H), the same for the cell
  float* extra;                 // (N, H): GRU's recurrent part of n
  const float* weight;          // (G, P)
  const float* bias;            // (H): GRU's recurrent bias of n
  const float* peephole;        // (3, H): of i, f, o
  const float* dropout;         // (B, P) or null: what the recurrent weights see of h is multiplied by it
  const float* zoneout_h;       // (N, P) or null: how much of the old state stays
  const float* zoneout_c;       // (N, H) or null
  float* packed;                // room for the packed weights of one direction; filled where `pack` says so
  std::int32_t pack;
  // The way back.
  const float* d_outputs;  // (N, P) or null
  float* d_h;              // (B, P): the gradient of the last state, replaced by that of the first
  float* d_c;              // (B, H)
  float* d_gates;          // (N, D): D = G, 4 H for GRU with the columns q, r, z, n
};

}

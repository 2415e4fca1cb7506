// What a recurrence over a whole sequence is given. Mirrored field by field in kernels/recurrence_ops.py.
#pragma once

#include <cstdint>

extern "C" {

// Rows of a batch stand in order of their lengths, the longest first; of every step only the rows that are still
// running are kept: N = the sum of `sizes`. B batch, T steps, C features, H units, G gates · H.
struct CorecurRecurrent {
  std::int32_t kind;      // a row of the table in recurrent.cpp
  std::int32_t training;  // whether to keep what the way back needs
  std::int32_t rolling;   // whether the last states alone are wanted, without training
  std::int32_t shared;    // how many threads share the units of all rows, without dropout; 0: they share the rows
  std::int64_t steps, batch, units, features;
  std::int64_t h_stride, d_stride;  // floats from row to row of h and of d_gates
  const std::int64_t* sizes;    // (T), how many rows are running
  const std::int64_t* offsets;  // (T), the first of them among all N
  const float* x;               // (N, C), or null where `gates` holds the input's part already, biases included
  const float* weight_ih;       // (G, C)
  const float* bias;            // (G) or null: of the input's part
  const float* bias_hh;         // (G) or null: of the recurrent part; where x is null, of GRU's n alone
  const float* first_h;         // (B, H): the states before the first step, or null for zeros
  const float* first_c;         // (B, H), or null for zeros
  float* gates;                 // (N, G): the gates' values in training; a simple recurrence needs none without zoneout
  float* h;  // (B + N + 1, H): the first state, the outputs, and zeros; rolling (2 B, H): the first, then the last
  float* c;  // the same for the cell, null where there is none; (B, H) without training: the first, then the last
  float* extra;                 // (N, H): GRU's recurrent part of n
  const float* weight;          // (G, H)
  const float* peephole;        // (3, H): of i, f, o
  const float* dropout;         // (B, H) or null: what the recurrent weights see of h is multiplied by it
  const float* zoneout_h;       // (N, H) or null: how much of the old state stays
  const float* zoneout_c;       // (N, H) or null
  float* packed;                // room for the packed weights of one way
  // The way back.
  const float* d_outputs;  // (N, H) or null
  const float* d_last_h;   // (B, H): the gradient of the last state, or null for zeros
  const float* d_last_c;   // (B, H), or null for zeros
  float* d_h;              // (B, H): the gradient of the first state
  float* d_c;              // (B, H)
  float* d_gates;          // (N, D): D = G, 4 H for GRU with the columns q, r, z, n
  // Where `sums` is there, the gradients of weights and input as well, from x and weight_ih, without dropout; d_gates is
  // then no result, but room for SUMMED_ROWS rows of each thread (of one, where they share the units) and 3 B.
  float* sums;         // room for those of each thread, see gradients.hpp
  float* packed_ih;    // room for weight_ih
  float* d_x;          // (N, C) or null
  float* d_weight_ih;  // (G, C)
  float* d_weight;     // (G, H)
  float* d_bias;       // (D)
  float* d_bias_ih;    // (G) or null: of the input's bias
  float* d_bias_hh;    // (G) or null: of the recurrent one
};

}

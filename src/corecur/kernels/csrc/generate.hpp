// What the writing of tokens is given. Mirrored field by field in kernels/native_generation.py.
#pragma once

#include <cstdint>

#include "stage.hpp"

extern "C" {

// A network of stages reads tokens and writes on by itself. B rows (texts), V kinds of tokens, C the first stage's
// features, G its gates · units.
struct CorecurGenerate {
  const CorecurStage* stages;
  std::int32_t count;
  std::int32_t looked_up;        // whether `vectors` holds the first stage's gates for each token, bias included
  std::int32_t members;          // how many threads share the units of each stage; 1: they share the rows
  const float* vectors;          // (V, C), or (V, G)
  std::int64_t vocabulary;       // V, the units of the last stage
  std::int64_t batch, prompt, length;
  const std::int64_t* prompts;   // (B, prompt): what is read first
  const std::int64_t* prompt_lengths;  // (B), from 1
  float* const* h;               // for each stage (B, H), null for a dense one: the state, replaced by the last
  float* const* c;
  const std::uint8_t* banned;    // (V): 1 where a token is never written
  const double* uniforms;        // (B, length), in [0, 1): what the choices hang on
  double temperature, top_p;
  std::int64_t top_k;            // 0: all
  std::int64_t* tokens;          // (B, length): what was written
  std::int64_t* written;         // (B): fewer than `length` where no token could come next
  float* room;                   // (B, room_of_row) to work in
  std::int64_t room_of_row;
};

}

// What follows a convolution's sums: activation and pooling of windows of 2 × 2, there and back, a vector of filters at a time.
//
// Activations only grow, so that of a window the largest sum alone is activated. The way back takes the activation's slope from
// its result, and from `chosen` where in the window the gradient belongs; what was before pooling is never kept.
#pragma once

#include "convolution.hpp"
#include "share.hpp"
#include "simd.hpp"

namespace corecur::CORECUR_ISA {

constexpr int NO_POOL = 0, MAXIMUM = 1, AVERAGE = 2;
constexpr int RELU = 1, TANH = 2;
constexpr int PANEL = 2 * LANES;  // columns of a product held at once

typedef std::uint8_t Bytes __attribute__((vector_size(CORECUR_LANES)));

CORECUR_INLINE Index rounded(Index number, Index to) { return ceiling(number, to) * to; }
CORECUR_INLINE Index least(Index a, Index b) { return a < b ? a : b; }

CORECUR_INLINE void store_bytes(std::uint8_t* to, Integers value, int count) {
  Bytes bytes = __builtin_convertvector(value, Bytes);
  if (count >= LANES)
    std::memcpy(to, &bytes, LANES);
  else
    std::memcpy(to, &bytes, static_cast<std::size_t>(count));
}

CORECUR_INLINE Integers load_bytes(const std::uint8_t* from, int count) {
  Bytes bytes{};
  if (count >= LANES)
    std::memcpy(&bytes, from, LANES);
  else
    std::memcpy(&bytes, from, static_cast<std::size_t>(count));
  return __builtin_convertvector(bytes, Integers);
}

CORECUR_INLINE Vector activated(int activation, Vector x) {
  if (activation == RELU) return larger(x, Vector{});  // x where it is not a number, as in torch
  if (activation == TANH) return tanh(x);
  return x;
}

// The gradient before an activation whose result was y.
CORECUR_INLINE Vector before(int activation, Vector d, Vector y) {
  if (activation == RELU) return y <= 0.0f ? Vector{} : d;
  if (activation == TANH) return d * (1.0f - y * y);
  return d;
}

// Activate and pool the sums of a window (upper left, upper right, lower left, lower right), bias included.
CORECUR_INLINE void finish(const CorecurConvolution& job, Index at, int count, const Vector (&sums)[4]) {
  Vector result;
  Integers place{};
  if (job.pool == MAXIMUM) {
    result = sums[0];
    for (int n = 1; n < 4; ++n) {  // the first of equals, the last that is not a number, as torch has it
      Integers wins = (sums[n] > result) | (sums[n] != sums[n]);
      result = wins ? sums[n] : result;
      place = wins ? Integers{} + n : place;
    }
    result = activated(job.activation, result);
  } else {
    result = Vector{};
    for (int n = 0; n < 4; ++n) {
      Vector one = activated(job.activation, sums[n]);
      result += one;
      if (job.activation == RELU) place |= one <= 0.0f ? Integers{} : Integers{} + (1 << n);
    }
    result *= 0.25f;
  }
  store(job.y + at, result, count);
  if (job.training) store_bytes(job.chosen + at, place, count);
}

// The gradients of such a window's sums; returned is what they add up to.
CORECUR_INLINE Vector spread(const CorecurConvolution& job, Index at, int count, Vector (&d)[4]) {
  Vector whole = load(job.d_y + at, count), total{};
  if (job.pool == MAXIMUM) {
    whole = before(job.activation, whole, load(job.y + at, count));
    Integers place = load_bytes(job.chosen + at, count);
    for (int n = 0; n < 4; ++n) d[n] = place == n ? whole : Vector{};
    return whole;
  }
  whole *= 0.25f;
  Integers bits = job.activation == RELU ? load_bytes(job.chosen + at, count) : Integers{} + 15;
  for (int n = 0; n < 4; ++n) {
    d[n] = (bits & (1 << n)) != 0 ? whole : Vector{};
    total += d[n];
  }
  return total;
}

// Rows whose gradients are added up before they are added to the others, which rounds less.
constexpr Index SUMMED = 64;

// The gradient of a bias: to (U), the sum of all rows of d (R, U).
CORECUR_INLINE void sum_rows(const float* d, Index rows, Index units, float* to) {
  for (Index first = 0; first < units; first += LANES) {
    const int lanes = at_most(units - first);
    Vector total{};
    for (Index row = 0; row < rows;) {
      Vector some{};
      for (const Index last = least(row + SUMMED, rows); row < last; ++row) some += load(d + row * units + first, lanes);
      total += some;
    }
    store(to + first, total, lanes);
  }
}

// Pieces of the job's room, one after the other, each on a line of its own.
// Without memory behind it, `used` says how much it would take.
struct Room {
  float* base;
  Index used = 0;

  float* take(Index floats) {
    float* piece = base == nullptr ? nullptr : base + used;
    used += rounded(floats, 16);
    return piece;
  }
};

}  // namespace corecur::CORECUR_ISA

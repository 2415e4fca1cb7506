// How the rows of a batch are shared by threads, and what all recurrences need beside.
#pragma once

#include "simd.hpp"

namespace corecur::CORECUR_ISA {

CORECUR_INLINE int at_most(Index left) { return left < LANES ? static_cast<int>(left) : LANES; }

constexpr Index ceiling(Index number, Index of) { return (number + of - 1) / of; }

// Between the two, exactly the old value where all of it stays.
CORECUR_INLINE Vector mix(Vector fresh, Vector old, Vector stays) {
  Vector apart = old - fresh;
  return stays < 0.5f ? fresh + stays * apart : old - apart * (1.0f - stays);
}

// A range of a job's rows: what one thread does from the first step to the last.
struct Share {
  Index first, last;
};

constexpr int MOST_THREADS = 256;

// The first row of each of `shares` shares, which have about the same number of steps to do.
template <class Job>
void divide(const Job& job, int shares, Index* first) {
  Index total = 0, done = 0, t = job.steps;
  for (Index step = 0; step < job.steps; ++step) total += job.sizes[step];
  int share = 0;
  for (Index row = 0; row < job.batch; ++row) {
    while (share < shares && done * shares >= total * share) first[share++] = row;
    while (t > 0 && job.sizes[t - 1] <= row) --t;  // t steps of this row are real
    done += t;
  }
  while (share <= shares) first[share++] = job.batch;
}

}  // namespace corecur::CORECUR_ISA

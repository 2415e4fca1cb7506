// The functions of one instruction set, as a table.
#include "kernels.hpp"
#include "simd.hpp"

namespace corecur::CORECUR_ISA {

int recurrent_forward(const CorecurRecurrent*, int, int);
int recurrent_backward(const CorecurRecurrent*, int, int);
int stage_pack(const CorecurStage*, int);
int stage_steps(const CorecurStage*, std::int64_t, std::int64_t, const float*, const float*, const float*, float*,
                float*, float*);
int generate(const CorecurGenerate*, int);

namespace {

using Function = Vector (*)(Vector);

// The vector functions over an array, for tests of their accuracy: 0 exp, 1 sigmoid, 2 tanh.
void map(int function, const float* from, float* to, std::int64_t count) {
  for (Index n = 0; n < count; n += LANES) {
    int left = count - n < LANES ? static_cast<int>(count - n) : LANES;
    Vector x = load(from + n, left);
    store(to + n, function == 0 ? exponential(x) : function == 1 ? sigmoid(x) : tanh(x), left);
  }
}

// Multiplies and adds in registers alone: 2 · LANES · ACCUMULATORS operations a round. The sum keeps it from vanishing.
double peak(std::int64_t rounds) {
  Vector held[ACCUMULATORS];
  for (int n = 0; n < ACCUMULATORS; ++n) held[n] = all(static_cast<float>(n));
  Vector factor = all(0.999f), added = all(0.001f);
  for (Index round = 0; round < rounds; ++round) {
    asm volatile("" : "+m"(*&rounds));
#pragma GCC unroll 24
    for (int n = 0; n < ACCUMULATORS; ++n) held[n] = held[n] * factor + added;
  }
  Vector total{};
  for (int n = 0; n < ACCUMULATORS; ++n) total += held[n];
  return sum(total);
}

}  // namespace

#define CORECUR_TEXT(name) #name
#define CORECUR_NAME(name) CORECUR_TEXT(name)

extern const CorecurKernels kernels;
const CorecurKernels kernels = {CORECUR_NAME(CORECUR_ISA), LANES, map, peak, recurrent_forward, recurrent_backward,
                                stage_pack, stage_steps, generate};

}  // namespace corecur::CORECUR_ISA

// The C interface: what Python hands over, and the table of functions that each instruction set fills.
#pragma once

#include <cstdint>

#include "generate.hpp"
#include "recurrent.hpp"
#include "stage.hpp"

extern "C" {

// Every function of one instruction set. They return 0, or the number of an error in `corecur_errors` of library.cpp.
struct CorecurKernels {
  const char* name;
  int lanes;
  void (*map)(int function, const float* from, float* to, std::int64_t count);
  double (*peak)(std::int64_t rounds);
  int (*recurrent_forward)(const CorecurRecurrent* jobs, int count, int threads);
  int (*recurrent_backward)(const CorecurRecurrent* jobs, int count, int threads);
  int (*stage_pack)(const CorecurStage* stage, int threads);
  int (*stage_steps)(const CorecurStage* stage, const CorecurSteps* steps);
  int (*generate)(const CorecurGenerate* job, int threads);
};

}

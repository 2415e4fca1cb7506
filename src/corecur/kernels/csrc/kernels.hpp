// The C interface: what Python hands over, and the table of functions that each instruction set fills.
#pragma once

#include <cstdint>

#include "convolution.hpp"
#include "dense.hpp"
#include "gather.hpp"
#include "generate.hpp"
#include "optimizer.hpp"
#include "product.hpp"
#include "program.hpp"
#include "recurrent.hpp"
#include "row_recurrent.hpp"
#include "softmax.hpp"
#include "stage.hpp"
#include "taps.hpp"
#include "turn.hpp"

extern "C" {

// Every function of one instruction set. Those with a count of jobs return 0, or 1 where
// there are more jobs than they take.
struct CorecurKernels {
  const char* name;
  int lanes;
  void (*map)(int function, const float* from, float* to, std::int64_t count);
  double (*peak)(std::int64_t rounds);
  int (*recurrent_forward)(const CorecurRecurrent* jobs, int count, int threads);
  int (*recurrent_backward)(const CorecurRecurrent* jobs, int count, int threads);
  int (*row_recurrent_forward)(const CorecurRowRecurrent* job, int threads);
  int (*row_recurrent_backward)(const CorecurRowRecurrent* job, int threads);
  void (*optimizer_step)(const CorecurRule* rules, CorecurParameter* parameters, float* const* gradients,
                         const std::int64_t* begins, std::int64_t tensors, int threads);
  double (*gradients_clip)(float* const* gradients, const std::int64_t* begins, std::int64_t tensors, int clip,
                           float most, double* squares, int threads);
  int (*stage_pack)(const CorecurStage* stage, int threads);
  // As the fields of CorecurSteps are: one stage costs no struct. So many threads share the units.
  int (*stage_steps)(const CorecurStage* stage, std::int64_t rows, std::int64_t steps, const float* x, const float* h,
                     const float* c, float* y, float* new_c, float* gates, int threads);
  // Several stages at the same time; with `stacked` each reads what the one before it gives.
  int (*stages_at_once)(const CorecurSteps* jobs, int count, int stacked, int threads);
  int (*generate)(const CorecurGenerate* job, int threads);
  std::int64_t (*convolution_room)(const CorecurConvolution* job, int threads, int back);
  int (*convolution_forward)(const CorecurConvolution* job, int threads);
  int (*convolution_backward)(const CorecurConvolution* job, int threads);
  void (*softmax)(const CorecurSoftmax* job, int threads);
  void (*cross_entropy)(const CorecurSoftmax* job, int threads);
  void (*cross_entropy_backward)(const CorecurSoftmax* job, int threads);
  // Products that have the same columns, one after the other, of numbers from a and b; bias (N) or null where out begins.
  void (*products)(const CorecurProduct* jobs, int count, const float* a, const float* b, const float* bias, float* out,
                   int threads);
  void (*dense_forward)(const CorecurDense* job, int threads);
  void (*dense_backward)(const CorecurDense* job, int threads);
  int (*run_program)(const CorecurCall* calls, std::int64_t count, char* const* addresses);
};

}

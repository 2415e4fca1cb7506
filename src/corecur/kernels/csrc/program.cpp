// A program: calls whose jobs are ready but for the addresses, which change from run to run.
#include "kernels.hpp"
#include "simd.hpp"

namespace corecur::CORECUR_ISA {

extern const CorecurKernels kernels;
void gather(const CorecurGather*, int);
void taps_forward(const CorecurTaps*, int);
void taps_backward(const CorecurTaps*, int);
void turn_forward(const CorecurTurn*, int);
void turn_backward(const CorecurTurn*, int);

namespace {

constexpr std::int64_t LARGEST = 512;

int run(std::int32_t function, const void* job, int threads) {
  switch (function) {
    case 0: return kernels.convolution_forward(static_cast<const CorecurConvolution*>(job), threads);
    case 1: return kernels.convolution_backward(static_cast<const CorecurConvolution*>(job), threads);
    case 2: return kernels.dense_forward(static_cast<const CorecurDense*>(job), threads), 0;
    case 3: return kernels.dense_backward(static_cast<const CorecurDense*>(job), threads), 0;
    case 4: return kernels.recurrent_forward(static_cast<const CorecurRecurrent*>(job), 1, threads);
    case 5: return kernels.recurrent_backward(static_cast<const CorecurRecurrent*>(job), 1, threads);
    case 6: return turn_forward(static_cast<const CorecurTurn*>(job), threads), 0;
    case 7: return turn_backward(static_cast<const CorecurTurn*>(job), threads), 0;
    case 8: return kernels.cross_entropy(static_cast<const CorecurSoftmax*>(job), threads), 0;
    case 9: return kernels.cross_entropy_backward(static_cast<const CorecurSoftmax*>(job), threads), 0;
    case 10: return kernels.softmax(static_cast<const CorecurSoftmax*>(job), threads), 0;
    case 11: return taps_forward(static_cast<const CorecurTaps*>(job), threads), 0;
    case 12: return taps_backward(static_cast<const CorecurTaps*>(job), threads), 0;
    case 13: return gather(static_cast<const CorecurGather*>(job), threads), 0;
    default: return 1;
  }
}

}  // namespace

// 0, or 1 where a call is none that this library knows; those before it have run.
int run_program(const CorecurCall* calls, std::int64_t count, char* const* addresses) {
  for (std::int64_t n = 0; n < count; ++n) {
    const CorecurCall& call = calls[n];
    if (call.size > LARGEST) return 1;
    alignas(64) char job[LARGEST];
    std::memcpy(job, call.job, static_cast<std::size_t>(call.size));
    for (std::int64_t p = 0; p < call.count; ++p) {
      const CorecurPlace& place = call.places[p];
      if (addresses[place.base] == nullptr) continue;
      const char* to = addresses[place.base] + place.offset;
      std::memcpy(job + place.field, &to, sizeof to);
    }
    if (run(call.function, job, call.threads)) return 1;
  }
  return 0;
}

}  // namespace corecur::CORECUR_ISA

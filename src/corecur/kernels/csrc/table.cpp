// The functions of one instruction set, as a table.
#include "kernels.hpp"
#include "simd.hpp"

namespace corecur::CORECUR_ISA {

int recurrent_forward(const CorecurRecurrent*, int, int);
int recurrent_backward(const CorecurRecurrent*, int, int);
int row_recurrent_forward(const CorecurRowRecurrent*, int);
int row_recurrent_backward(const CorecurRowRecurrent*, int);
void optimizer_step(const CorecurRule*, CorecurParameter*, float* const*, const std::int64_t*, std::int64_t, int);
double gradients_clip(float* const*, const std::int64_t*, std::int64_t, int, float, double*, int);
int stage_pack(const CorecurStage*, int);
int stage_steps(const CorecurStage*, std::int64_t, std::int64_t, const float*, const float*, const float*, float*,
                float*, float*, int);
int stages_at_once(const CorecurSteps*, int, int, int);
int generate(const CorecurGenerate*, int);
std::int64_t direct_room(const CorecurConvolution&, int, bool);
std::int64_t winograd_room(const CorecurConvolution&, int, bool);
void direct_forward(const CorecurConvolution&, int);
void winograd_forward(const CorecurConvolution&, int);
void direct_backward(const CorecurConvolution&, int);
void winograd_backward(const CorecurConvolution&, int);
void softmax(const CorecurSoftmax*, int);
void cross_entropy(const CorecurSoftmax*, int);
void cross_entropy_backward(const CorecurSoftmax*, int);
void products(const CorecurProduct*, int, const float*, const float*, const float*, float*, int);
void dense_forward(const CorecurDense*, int);
void dense_backward(const CorecurDense*, int);
int run_program(const CorecurCall*, std::int64_t, char* const*);

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

// Chains of multiplications and additions that do not wait for one another: two units of four cycles need eight. With
// their two operands they fit into the sixteen registers that the smallest instruction set has.
#define CORECUR_CHAINS(use) use(0) use(1) use(2) use(3) use(4) use(5) use(6) use(7) use(8) use(9) use(10) use(11)
// The compiler is told that a register changes here: so it must be in one, and no step can be moved or left out.
#if defined(__AVX512F__)
#define CORECUR_IN_REGISTER(value) asm volatile("" : "+v"(value))
#elif defined(__aarch64__)
#define CORECUR_IN_REGISTER(value) asm volatile("" : "+w"(value))
#elif defined(__x86_64__)
#define CORECUR_IN_REGISTER(value) asm volatile("" : "+x"(value))
#else
#define CORECUR_IN_REGISTER(value) asm volatile("" : "+m"(value))
#endif

// Multiplies and adds in registers alone, to see what the machine can do at best; how many operations there were.
double peak(std::int64_t rounds) {
  Vector factor = all(0.999f), added = all(0.001f);
#define CORECUR_BEGIN(n) Vector held##n = all(n);
  CORECUR_CHAINS(CORECUR_BEGIN)
  for (Index round = 0; round < rounds; ++round) {
#define CORECUR_STEP(n) held##n = held##n * factor + added; CORECUR_IN_REGISTER(held##n);
    CORECUR_CHAINS(CORECUR_STEP)
  }
#define CORECUR_COUNT(n) +1
  return 2.0 * (CORECUR_CHAINS(CORECUR_COUNT)) * LANES * static_cast<double>(rounds > 0 ? rounds : 0);
}

std::int64_t convolution_room(const CorecurConvolution* job, int threads, int back) {
  return (job->winograd ? winograd_room : direct_room)(*job, threads, back != 0);
}

int convolution_forward(const CorecurConvolution* job, int threads) {
  (job->winograd ? winograd_forward : direct_forward)(*job, threads);
  return 0;
}

int convolution_backward(const CorecurConvolution* job, int threads) {
  (job->winograd ? winograd_backward : direct_backward)(*job, threads);
  return 0;
}

}  // namespace

#define CORECUR_TEXT(name) #name
#define CORECUR_NAME(name) CORECUR_TEXT(name)

extern const CorecurKernels kernels;
const CorecurKernels kernels = {CORECUR_NAME(CORECUR_ISA), LANES, map, peak, recurrent_forward, recurrent_backward,
                                row_recurrent_forward, row_recurrent_backward, optimizer_step, gradients_clip, stage_pack,
                                stage_steps, stages_at_once, generate, convolution_room, convolution_forward,
                                convolution_backward, softmax, cross_entropy, cross_entropy_backward, products,
                                dense_forward, dense_backward, run_program};

}  // namespace corecur::CORECUR_ISA

// The step around the layers: the norm of all gradients, their clipping, and the update of all parameters, each in one
// pass over what is seen as one long row of floats. It is cut into equal parts wherever these fall, so that a thousand
// small parameters cost what one large one does.
//
// An element's result does not depend on where it stands. What is rounded, and when, is written out here (CMake compiles
// this file without contraction), so that compilers agree; of SGD it is what torch's fused step does, whose numbers come
// out to the bit but for the last few of a tensor, which torch treats otherwise.
#include "kernels.hpp"
#include "parallel.hpp"
#include "simd.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace corecur::CORECUR_ISA {
namespace {

// base^exponent for a whole number, of steps. The C library's function would tie the library to a recent version of it.
double whole_power(double base, double exponent) {
  double result = 1;
  for (std::uint64_t left = static_cast<std::uint64_t>(exponent); left > 0; left >>= 1, base *= base)
    if (left & 1) result *= base;
  return result;
}


constexpr Index PART = 4096;
// Fewer floats than this are worth no second thread: Adam and SGD were as fast on one as on two (Zen 4, 2 cores).
constexpr Index ALONE = 32768;

CORECUR_INLINE Vector root(Vector x) {
#if defined(__AVX512F__)
  return (Vector)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);  // without a mask g++ 12 warns in its own header
#elif defined(__AVX2__)
  return (Vector)_mm256_sqrt_ps((__m256)x);
#else
  for (int lane = 0; lane < LANES; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
#endif
}

// a · b + c, rounded once where the machine can.
CORECUR_INLINE Vector fused(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
  return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  for (int lane = 0; lane < LANES; ++lane) c[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
  return c;
#else
  return a * b + c;
#endif
}

// a + share · (b - a), begun from the nearer end.
CORECUR_INLINE Vector between(Vector a, Vector b, float share) {
  return share < 0.5f ? fused(all(share), b - a, a) : fused(all(share - 1.0f), b - a, b);
}

struct Sgd {
  static CORECUR_INLINE void step(const CorecurRule& rule, const CorecurParameter& p, const float* gradient, Index n,
                                  int count) {
    Vector w = load(p.weight + n, count), g = load(gradient + n, count);
    if (rule.decay != 0) w = w * static_cast<float>(1 - rule.rate * rule.decay);
    if (p.first != nullptr) {
      float mu = static_cast<float>(rule.beta_1);
      Vector v = load(p.first + n, count) * mu + g;
      store(p.first + n, v, count);
      g = rule.variant ? fused(v, all(mu), g) : v;
    }
    store(p.weight + n, fused(g, all(static_cast<float>(-rule.rate)), w), count);
  }
};

struct Adam {
  static CORECUR_INLINE void step(const CorecurRule& rule, const CorecurParameter& p, const float* gradient, Index n,
                                  int count) {
    float decay = static_cast<float>(1 - rule.rate * rule.decay), beta_2 = static_cast<float>(rule.beta_2);
    Vector w = load(p.weight + n, count), g = load(gradient + n, count);
    if (rule.decay != 0) w = w * decay;
    Vector m = between(load(p.first + n, count), g, static_cast<float>(1 - rule.beta_1));
    Vector v = fused(g * static_cast<float>(1 - rule.beta_2), g, load(p.second + n, count) * beta_2);
    store(p.first + n, m, count), store(p.second + n, v, count);
    if (p.third != nullptr) {
      v = larger(v, load(p.third + n, count));  // not a number where either is none, as v is then
      store(p.third + n, v, count);
    }
    store(p.weight + n, fused(m / (root(v) + p.epsilon), all(-p.size), w), count);
  }
};

struct RmsProp {
  static CORECUR_INLINE void step(const CorecurRule& rule, const CorecurParameter& p, const float* gradient, Index n,
                                  int count) {
    float rest = static_cast<float>(1 - rule.beta_2), rate = static_cast<float>(-rule.rate);
    Vector w = load(p.weight + n, count), g = load(gradient + n, count);
    if (rule.decay != 0) w = w * static_cast<float>(1 - rule.rate * rule.decay);
    Vector v = fused(g * rest, g, load(p.second + n, count) * static_cast<float>(rule.beta_2));
    store(p.second + n, v, count);
    if (p.first != nullptr) {
      Vector m = between(load(p.first + n, count), g, rest);
      store(p.first + n, m, count);
      v = fused(-m, m, v);
    }
    Vector d = root(v) + static_cast<float>(rule.epsilon);
    if (p.third == nullptr) return store(p.weight + n, w + all(rate) * g / d, count);
    Vector b = load(p.third + n, count) * static_cast<float>(rule.beta_1) + g / d;
    store(p.third + n, b, count);
    store(p.weight + n, fused(b, all(rate), w), count);
  }
};

// body(place, count) for vectors of `count` floats from `place` up to `end`.
template <class Body>
CORECUR_INLINE void in_vectors(Index place, Index end, Body&& body) {
  for (; place + LANES <= end; place += LANES) body(place, LANES);
  if (place < end) body(place, static_cast<int>(end - place));
}

// The rows of many tensors one after the other: `begins` holds where each begins, and after the last where it ends.
struct Row {
  const std::int64_t* begins;
  Index tensors;

  Index length() const { return begins[tensors]; }

  // The tensor that holds this place.
  Index at(Index place) const {
    Index low = 0, high = tensors;
    while (high - low > 1) {
      Index middle = (low + high) / 2;
      (begins[middle] <= place ? low : high) = middle;
    }
    return low;
  }

  // body(tensor, from, to): what of each tensor lies between two places.
  template <class Body>
  CORECUR_INLINE void walk(Index from, Index to, Body&& body) const {
    for (Index tensor = at(from); from < to; ++tensor) {
      Index end = begins[tensor + 1] < to ? begins[tensor + 1] : to;
      if (from < end) body(tensor, from - begins[tensor], end - begins[tensor]);
      from = end;
    }
  }

  // body(first part, last part) on each thread, the same parts each time.
  template <class Body>
  CORECUR_INLINE void share(int threads, Body&& body) const {
    Index parts = (length() + PART - 1) / PART;
    int tasks = length() < ALONE ? 1 : threads < parts ? threads : static_cast<int>(parts);
    parallel(tasks, tasks, [&](int task) { body(parts * task / tasks, parts * (task + 1) / tasks); });
  }

  Index end(Index part) const { return part * PART < length() ? part * PART : length(); }
};

// While it lives, this thread takes floats below 2^-126 for zeros. The moments of a weight without a gradient shrink into
// them and stay there, since 0.9 times the least of them is rounded to itself; each operation on one takes a hundred
// times as long.
struct Flushing {
#if defined(__SSE__)
  unsigned before = _mm_getcsr();
  explicit Flushing(bool on) {
    if (on) _mm_setcsr(before | 0x8040);  // results, and operands
  }
  ~Flushing() { _mm_setcsr(before); }
#elif defined(__aarch64__)
  std::uint64_t before;
  explicit Flushing(bool on) {
    asm volatile("mrs %0, fpcr" : "=r"(before));
    if (on) asm volatile("msr fpcr, %0" : : "r"(before | 1u << 24) : "memory");  // results, and operands
  }
  ~Flushing() { asm volatile("msr fpcr, %0" : : "r"(before) : "memory"); }
#else
  explicit Flushing(bool) {}
#endif
};

// Whether such numbers change no step: where there is a second moment, its root is as nothing beside epsilon.
bool bears_flushing(const CorecurRule& rule) { return rule.kind == 0 || rule.epsilon >= 1e-12; }

double of_squares(const float* from, Index place, Index end) {
  Vector sums[4]{};
  for (; place + 4 * LANES <= end; place += 4 * LANES)
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {
      Vector x = load(from + place + n * LANES);
      sums[n] += x * x;
    }
  in_vectors(place, end, [&](Index n, int count) {
    Vector x = load(from + n, count);
    sums[0] += x * x;
  });
  double total = 0;
  Vector sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for (int lane = 0; lane < LANES; ++lane) total += sum[lane];
  return total;
}

void scale(float* of, Index place, Index end, float factor) {
  in_vectors(place, end, [&](Index n, int count) { store(of + n, load(of + n, count) * factor, count); });
}

// What a gradient of this norm is multiplied by; not a number where the norm is none.
float factor_for(float norm, float most) {
  float factor = 1.0f / (norm + 1e-6f) * most;
  return factor > 1.0f ? 1.0f : factor;
}

float norm_of(double squares) { return static_cast<float>(__builtin_sqrt(squares > 3.4028234663852886e38 ? __builtin_inf() : squares)); }

template <class Rule>
void update(const CorecurRule& rule, const CorecurParameter& p, const float* gradient, Index from, Index to) {
  CorecurRule held = rule;  // copies: stores through float* could change what they point to, for all the compiler knows
  CorecurParameter own = p;
  in_vectors(from, to, [&](Index n, int count) { Rule::step(held, own, gradient, n, count); });
}

// Everything of a step that is one number for a whole parameter.
void count_steps(const CorecurRule* rules, CorecurParameter* parameters, float* const* gradients, Index tensors) {
  const CorecurParameter* before = nullptr;
  for (Index n = 0; n < tensors; ++n) {
    CorecurParameter& p = parameters[n];
    p.moves = gradients[n] != nullptr;
    if (!p.moves || p.steps == nullptr) continue;
    double step = *p.steps += 1.0f;
    if (rules[p.rule].kind != 1) continue;
    if (before != nullptr && before->rule == p.rule && *before->steps == *p.steps) {
      p.size = before->size, p.epsilon = before->epsilon;
    } else {
      const CorecurRule& rule = rules[p.rule];
      // rate · m̂ / (√v̂ + ε) with the correction of v taken out of the root: half the divisions.
      double root = __builtin_sqrt(1 - whole_power(rule.beta_2, step));
      p.size = static_cast<float>(rule.rate * root / (1 - whole_power(rule.beta_1, step)));
      p.epsilon = static_cast<float>(rule.epsilon * root);
    }
    before = &p;
  }
}

}  // namespace

void optimizer_step(const CorecurRule* rules, CorecurParameter* parameters, float* const* gradients,
                    const std::int64_t* begins, std::int64_t tensors, int threads) {
  if (tensors == 0) return;
  count_steps(rules, parameters, gradients, tensors);
  Row row{begins, tensors};
  bool flush = true;
  for (Index n = 0; n < tensors; ++n) flush = flush && bears_flushing(rules[parameters[n].rule]);
  row.share(threads, [&](Index first, Index last) {
    Flushing flushing(flush);
    row.walk(row.end(first), row.end(last), [&](Index n, Index from, Index to) {
      const CorecurParameter& p = parameters[n];
      if (!p.moves) return;
      const CorecurRule& rule = rules[p.rule];
      if (rule.kind == 0) update<Sgd>(rule, p, gradients[n], from, to);
      if (rule.kind == 1) update<Adam>(rule, p, gradients[n], from, to);
      if (rule.kind == 2) update<RmsProp>(rule, p, gradients[n], from, to);
    });
  });
}

// The norm of all gradients before they are bounded (after each was, where each is). `squares` has room for a number a
// part; sums are over parts and so the same for any number of threads.
double gradients_clip(float* const* gradients, const std::int64_t* begins, std::int64_t tensors, int clip, float most,
                      double* squares, int threads) {
  if (tensors == 0) return 0;
  Row row{begins, tensors};
  if (clip == CORECUR_CLIP_EACH)
    for (Index n = 0; n < tensors; ++n) {
      Index length = begins[n + 1] - begins[n];
      double total = 0;
      for (Index from = 0; from < length; from += PART)
        total += of_squares(gradients[n], from, from + PART < length ? from + PART : length);
      float factor = factor_for(norm_of(total), most);
      if (factor != 1.0f) scale(gradients[n], 0, length, factor);
    }
  row.share(threads, [&](Index first, Index last) {
    for (Index part = first; part < last; ++part) {
      squares[part] = 0;
      row.walk(row.end(part), row.end(part + 1),
               [&](Index n, Index from, Index to) { squares[part] += of_squares(gradients[n], from, to); });
    }
  });
  double total = 0;
  for (Index part = 0; part * PART < row.length(); ++part) total += squares[part];
  float norm = norm_of(total), factor = clip == CORECUR_CLIP_NORM ? factor_for(norm, most) : 1.0f;
  if (factor != 1.0f || clip == CORECUR_CLIP_VALUE)
    row.share(threads, [&](Index first, Index last) {
      row.walk(row.end(first), row.end(last), [&](Index n, Index from, Index to) {
        if (clip == CORECUR_CLIP_NORM) return scale(gradients[n], from, to, factor);
        in_vectors(from, to, [&](Index place, int count) {
          Vector x = load(gradients[n] + place, count);
          store(gradients[n] + place, larger(smaller(x, all(most)), all(-most)), count);
        });
      });
    });
  return norm;
}

}  // namespace corecur::CORECUR_ISA

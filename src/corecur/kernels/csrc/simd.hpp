// Vectors of floats in the compiler's own types, and the functions that gates need.
//
// This file and all that include it are compiled once for every instruction set: CORECUR_ISA is the namespace and
// CORECUR_LANES the number of floats in a vector. Nothing here may come from a template of the standard library, since
// the linker would keep one copy of it, perhaps that of an instruction set which the machine at hand does not have.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define CORECUR_INLINE inline __attribute__((always_inline))

namespace corecur::CORECUR_ISA {

using Index = std::int64_t;

constexpr int LANES = CORECUR_LANES;
// Accumulators that fit into the registers beside the operands of a product.
#if defined(__SANITIZE_ADDRESS__)
constexpr int ACCUMULATORS = 8;  // the sanitizers' compiler takes half an hour for larger blocks
#elif defined(__AVX512F__) || defined(__aarch64__)
constexpr int ACCUMULATORS = 24;
#else
constexpr int ACCUMULATORS = 12;
#endif

typedef float Vector __attribute__((vector_size(CORECUR_LANES * 4)));
typedef std::int32_t Integers __attribute__((vector_size(CORECUR_LANES * 4)));
typedef float Unaligned __attribute__((vector_size(CORECUR_LANES * 4), aligned(4), may_alias));

// A difference, since the compiler knows that x - 0 is x; x + 0 is not where x is -0, and would cost an addition each time.
CORECUR_INLINE Vector all(float value) { return value - Vector{}; }

CORECUR_INLINE Vector load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }

CORECUR_INLINE void store(float* to, Vector value) { *reinterpret_cast<Unaligned*>(to) = value; }

#if defined(__AVX512F__)
CORECUR_INLINE __mmask16 first(int count) { return static_cast<__mmask16>((1u << count) - 1u); }
#elif defined(__AVX2__)
CORECUR_INLINE __m256i first(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

// The first `count` floats, zeros in the other lanes; nothing beyond them is read.
CORECUR_INLINE Vector load(const float* from, int count) {
  if (count >= LANES) return load(from);
#if defined(__AVX512F__)
  return (Vector)_mm512_maskz_loadu_ps(first(count), from);
#elif defined(__AVX2__)
  return (Vector)_mm256_maskload_ps(from, first(count));
#else
  Vector value{};
  for (int lane = 0; lane < count; ++lane) value[lane] = from[lane];
  return value;
#endif
}

// The first `count` floats; nothing beyond them is written.
CORECUR_INLINE void store(float* to, Vector value, int count) {
  if (count >= LANES) return store(to, value);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, first(count), (__m512)value);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(to, first(count), (__m256)value);
#else
  for (int lane = 0; lane < count; ++lane) to[lane] = value[lane];
#endif
}

// The smaller and the larger one; a where a is not a number.
CORECUR_INLINE Vector smaller(Vector a, Vector b) {
#if defined(__AVX512F__)
  return (Vector)_mm512_min_ps((__m512)b, (__m512)a);
#elif defined(__AVX2__)
  return (Vector)_mm256_min_ps((__m256)b, (__m256)a);
#else
  return b < a ? b : a;
#endif
}

CORECUR_INLINE Vector larger(Vector a, Vector b) {
#if defined(__AVX512F__)
  return (Vector)_mm512_max_ps((__m512)b, (__m512)a);
#elif defined(__AVX2__)
  return (Vector)_mm256_max_ps((__m256)b, (__m256)a);
#else
  return b > a ? b : a;
#endif
}

// The sum and the largest of all lanes, by halves, so that few steps wait for one another.
#if defined(__AVX2__)
#if defined(__AVX512F__)
CORECUR_INLINE __m256 upper(Vector value) {
  return _mm512_maskz_extractf32x8_ps(0xff, (__m512)value, 1);  // without a mask g++ 12 warns in its own header
}
CORECUR_INLINE __m256 added(Vector value) { return _mm256_add_ps(_mm512_castps512_ps256((__m512)value), upper(value)); }
CORECUR_INLINE __m256 larger_half(Vector value) {
  return _mm256_max_ps(_mm512_castps512_ps256((__m512)value), upper(value));
}
#else
CORECUR_INLINE __m256 added(Vector value) { return (__m256)value; }
CORECUR_INLINE __m256 larger_half(Vector value) { return (__m256)value; }
#endif

CORECUR_INLINE float sum(Vector value) {
  __m256 eight = added(value);
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

CORECUR_INLINE float maximum(Vector value) {
  __m256 eight = larger_half(value);
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
#else
CORECUR_INLINE float sum(Vector value) {
  float total = 0;
  for (int lane = 0; lane < LANES; ++lane) total += value[lane];
  return total;
}

CORECUR_INLINE float maximum(Vector value) {
  float found = value[0];
  for (int lane = 1; lane < LANES; ++lane) found = value[lane] > found ? value[lane] : found;
  return found;
}
#endif

// Of two vectors that stand DISTANCE rows apart in a square, those of a square in which blocks of so many rows and columns
// have changed places across the diagonal.
template <int DISTANCE, int... LANE>
CORECUR_INLINE void change(Vector& upper, Vector& lower, std::integer_sequence<int, LANE...>) {
  const Vector a = upper, b = lower;
#if defined(__clang__)
  upper = __builtin_shufflevector(a, b, (LANE & DISTANCE ? LANES + LANE - DISTANCE : LANE)...);
  lower = __builtin_shufflevector(a, b, (LANE & DISTANCE ? LANES + LANE : LANE + DISTANCE)...);
#else
  upper = __builtin_shuffle(a, b, Integers{(LANE & DISTANCE ? LANES + LANE - DISTANCE : LANE)...});
  lower = __builtin_shuffle(a, b, Integers{(LANE & DISTANCE ? LANES + LANE : LANE + DISTANCE)...});
#endif
}

// Rows become columns.
template <int DISTANCE = LANES / 2>
CORECUR_INLINE void transpose(Vector (&square)[LANES]) {
#pragma GCC unroll 16
  for (int row = 0; row < LANES; ++row)
    if ((row & DISTANCE) == 0)
      change<DISTANCE>(square[row], square[row + DISTANCE], std::make_integer_sequence<int, LANES>{});
  if constexpr (DISTANCE > 1) transpose<DISTANCE / 2>(square);
}

// What is no number stays so.
CORECUR_INLINE Vector between(Vector x, float bound) { return larger(smaller(x, all(bound)), all(-bound)); }

// e^x = scale · (1 + rest): scale a power of two, rest = e^r - 1 for |r| <= ln 2 / 2, where |x| <= 87.
struct Power {
  Vector scale, rest;
};

CORECUR_INLINE Power power(Vector x) {
  const float magic = 12582912.0f;  // 1.5 · 2^23: adding it rounds to a whole number, which stands in the lowest bits
  Vector shifted = x * 1.44269504f + magic;
  Vector whole = shifted - magic;
  Vector r = x - whole * 0.693359375f;  // ln 2 in two parts, the first with few bits, so that the product is exact
  r = r - whole * -2.12194440e-4f;
  Integers scale = ((Integers)shifted << 23) + 0x3f800000;
  // Minimax in the relative error of e^r - 1 (0.11 units in the last place), by iterated weighted least squares.
  Vector q = r * 1.3882517e-3f + 8.3665475e-3f;
  q = q * r + 4.1667201e-2f;
  q = q * r + 1.6666543e-1f;
  q = q * r + 4.9999997e-1f;
  return {(Vector)scale, r * r * q + r};
}

// Within 1.1 units in the last place for |x| <= 87, as at ±87 beyond; what is no number stays so. The bounds here are
// those of tests/kernels/test_library.py, and of all floats in tests/soak/test_kernels.py.
CORECUR_INLINE Vector exponential(Vector x) {
  Power p = power(between(x, 87.0f));
  return p.scale * p.rest + p.scale;
}

// 1 / (1 + e^-x), within 2.5 units in the last place above -87; below it, -∞ included, 1.6e-38 and never 0.
CORECUR_INLINE Vector sigmoid(Vector x) { return 1.0f / (exponential(-x) + 1.0f); }

// (e^2x - 1) / (e^2x + 1), within 3 units in the last place; ±1 at ±∞, denormals as they are.
CORECUR_INLINE Vector tanh(Vector x) {
  Power p = power(between(x, 10.0f) * 2.0f);
  Vector above = p.scale * p.rest;
  return (above + (p.scale - 1.0f)) / (above + (p.scale + 1.0f));
}

}  // namespace corecur::CORECUR_ISA

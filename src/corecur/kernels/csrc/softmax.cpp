// The softmax of rows of scores, and the cross-entropy over it: losses and gradients without the probabilities ever
// being written, so that scores are read once on each way.
#include "kernels.hpp"
#include "parallel.hpp"
#include "share.hpp"
#include "simd.hpp"

namespace corecur::CORECUR_ISA {
namespace {

constexpr float LOWEST = -87.0f;  // e^x below is not far from what a float can hold, and 0 here
// An exponential, a load and a store take about as long as this many multiplications, and with the turning of scores
// of few classes as so many.
constexpr Index COST = 16, COST_OF_FEW = 96;
// So few classes fill no vector, and the sum of one position would wait for all of it: of these, positions lie side by
// side, as many as a vector holds, one vector for each class.
constexpr Index FEW = 16;

// Positions of a task: enough for the scores of many classes to fill a page or two, or a thread's share.
Index positions_of_task(const CorecurSoftmax& job, int threads) {
  Index some = ceiling(32768, job.classes), share = ceiling(job.positions, threads);
  return ceiling(some < share ? some : share, LANES) * LANES;
}

CORECUR_INLINE Integers lanes() {
  Integers found{};
  for (int lane = 0; lane < LANES; ++lane) found[lane] = lane;
  return found;
}

// e^x for x <= 0, 0 far below; NaN stays NaN.
CORECUR_INLINE Vector share_of(Vector x) {
  Vector found = exponential(x);
  return x < LOWEST ? Vector{} : found;
}

// Within 2 units in the last place for numbers from 1 on: log m + e ln 2, m in [√½, √2), by s = (m - 1) / (m + 1).
CORECUR_INLINE Vector logarithm(Vector x) {
  Integers bits = (Integers)x - 0x3f3504f3;  // of √½
  Integers whole = bits >> 23;
  Vector m = (Vector)((bits & 0x007fffff) + 0x3f3504f3);
  Vector e = __builtin_convertvector(whole, Vector);
  Vector s = (m - 1.0f) / (m + 1.0f), z = s * s;
  Vector q = z * 0.22222222f + 0.28571429f;
  q = q * z + 0.4f;
  q = q * z + 0.66666669f;
  Vector rest = s * z * q + e * -2.12194440e-4f;
  Vector found = e * 0.693359375f + (2.0f * s + rest);
  return x == x && x < __builtin_inff() ? found : x;
}

CORECUR_INLINE float largest_of(const float* scores, Index classes) {
  if (classes < LANES) {
    float largest = scores[0];
    for (Index k = 1; k < classes; ++k) largest = scores[k] > largest ? scores[k] : largest;
    return largest;
  }
  Vector found = load(scores);
  for (Index k = LANES; k + LANES <= classes; k += LANES) found = larger(found, load(scores + k));
  return maximum(larger(found, load(scores + classes - LANES)));
}

// Scores from k on below the largest; lanes beyond the last class add nothing to any sum.
CORECUR_INLINE Vector below(const float* scores, Index k, Index classes, float largest) {
  if (k + LANES <= classes) return load(scores + k) - all(largest);
  int count = static_cast<int>(classes - k);
  Vector found = load(scores + k, count) - all(largest), none = all(-__builtin_inff());
  return lanes() < count ? found : none;
}

CORECUR_INLINE float total_of(const float* scores, Index classes, float largest, float* out) {
  Vector total{}, more{};
  Index k = 0;
  for (; k + 2 * LANES <= classes; k += 2 * LANES) {  // two sums, which do not wait for one another
    Vector one = share_of(load(scores + k) - all(largest)), two = share_of(load(scores + k + LANES) - all(largest));
    if (out != nullptr) store(out + k, one), store(out + k + LANES, two);
    total += one, more += two;
  }
  for (; k < classes; k += LANES) {
    Vector one = share_of(below(scores, k, classes, largest));
    if (out != nullptr) store(out + k, one, at_most(classes - k));
    total += one;
  }
  return sum(total + more);
}

CORECUR_INLINE float distance_of(const float* scores, Index classes, float largest) {
  Vector total{};
  Index k = 0;
  for (; k + LANES <= classes; k += LANES) total += load(scores + k) - all(largest);
  float found = sum(total);
  for (; k < classes; ++k) found += scores[k] - largest;
  return found;
}

// Positions from `first` on, LANES of them at most.
void losses_of(const CorecurSoftmax& job, Index first, Index last) {
  float totals[LANES] = {}, rests[LANES] = {};
  Index classes = job.classes;
  float smoothing = static_cast<float>(job.smoothing);
  for (Index n = first; n < last; ++n) {
    const float* scores = job.scores + n * classes;
    float largest = largest_of(scores, classes), total = total_of(scores, classes, largest, nullptr);
    Index label = job.labels[n];
    bool counts = label >= 0 && label < classes;
    if (!counts && label != job.ignored) __atomic_store_n(job.wrong, 1, __ATOMIC_RELAXED);
    float rest = counts ? (1.0f - smoothing) * (scores[label] - largest) : 0.0f;
    if (counts && smoothing != 0) rest += smoothing / static_cast<float>(classes) * distance_of(scores, classes, largest);
    totals[n - first] = total, rests[n - first] = rest;
    job.kept[2 * n] = largest, job.kept[2 * n + 1] = 1.0f / total;
  }
  Vector found = logarithm(load(totals)) - load(rests);
  for (Index n = first; n < last; ++n) job.losses[n] = job.labels[n] == job.ignored ? 0.0f : found[n - first];
}

void gradients_of(const CorecurSoftmax& job, Index n) {
  Index classes = job.classes, label = job.labels[n];
  const float* scores = job.scores + n * classes;
  float* out = job.out + n * classes;
  float scale = label == job.ignored ? 0.0f : job.d_losses[n * job.d_stride];
  if (scale == 0) {  // also where a score is no number: what does not count has no gradient
    for (Index k = 0; k < classes; k += LANES) store(out + k, Vector{}, at_most(classes - k));
    return;
  }
  float largest = job.kept[2 * n], share = job.kept[2 * n + 1] * scale;
  float smoothing = static_cast<float>(job.smoothing), even = scale * smoothing / static_cast<float>(classes);
  Index k = 0;
  for (; k + LANES <= classes; k += LANES) store(out + k, share_of(load(scores + k) - all(largest)) * share - even);
  if (k < classes) store(out + k, share_of(below(scores, k, classes, largest)) * share - even, at_most(classes - k));
  if (label >= 0 && label < classes) out[label] -= scale * (1.0f - smoothing);
}

void softmax_of(const CorecurSoftmax& job, Index n) {
  Index classes = job.classes;
  float* out = job.out + n * classes;
  const float* scores = job.scores + n * classes;
  float share = 1.0f / total_of(scores, classes, largest_of(scores, classes), out);
  for (Index k = 0; k < classes; k += LANES)
    store(out + k, load(out + k, at_most(classes - k)) * share, at_most(classes - k));
}

float mean_of(const float* losses, Index positions) {
  double total = 0;
  for (Index n = 0; n < positions; ++n) total += losses[n];
  return static_cast<float>(total / static_cast<double>(positions));
}

using Few = Vector[FEW];

CORECUR_INLINE void gather(const float* scores, Index classes, int count, Few& found) {
  for (Index k = 0; k < classes; k += LANES) {
    Vector square[LANES];
    for (int n = 0; n < LANES; ++n)
      square[n] = n < count ? load(scores + n * classes + k, at_most(classes - k)) : Vector{};
    transpose(square);
    for (int c = 0; c < LANES; ++c) found[k + c] = square[c];
  }
}

CORECUR_INLINE void scatter(const Few& found, Index classes, int count, float* out) {
  for (Index k = 0; k < classes; k += LANES) {
    Vector square[LANES];
    for (int c = 0; c < LANES; ++c) square[c] = found[k + c];
    transpose(square);
    for (int n = 0; n < count; ++n) store(out + n * classes + k, square[n], at_most(classes - k));
  }
}

CORECUR_INLINE Vector largest_of(const Few& scores, Index classes) {
  Vector largest = scores[0];
  for (Index k = 1; k < classes; ++k) largest = larger(largest, scores[k]);
  return largest;
}

// The exponentials take the scores' places.
CORECUR_INLINE Vector total_of(Few& scores, Index classes, Vector largest) {
  Vector total{};
  for (Index k = 0; k < classes; ++k) total += scores[k] = share_of(scores[k] - largest);
  return total;
}

void losses_of_few(const CorecurSoftmax& job, Index first, Index last) {
  Few scores;
  float rests[LANES] = {}, kept[2][LANES];
  Index classes = job.classes;
  int count = static_cast<int>(last - first);
  gather(job.scores + first * classes, classes, count, scores);
  Vector largest = largest_of(scores, classes), distance{};
  float smoothing = static_cast<float>(job.smoothing), even = smoothing / static_cast<float>(classes);
  if (smoothing != 0)
    for (Index k = 0; k < classes; ++k) distance += scores[k] - largest;
  Vector total = total_of(scores, classes, largest);
  store(kept[0], largest), store(kept[1], 1.0f / total);
  for (int n = 0; n < count; ++n) {
    Index label = job.labels[first + n];
    bool counts = label >= 0 && label < classes;
    if (!counts && label != job.ignored) __atomic_store_n(job.wrong, 1, __ATOMIC_RELAXED);
    if (counts) rests[n] = (1.0f - smoothing) * (job.scores[(first + n) * classes + label] - kept[0][n]);
    job.kept[2 * (first + n)] = kept[0][n], job.kept[2 * (first + n) + 1] = kept[1][n];
  }
  Vector found = logarithm(total) - (load(rests) + even * distance);
  for (int n = 0; n < count; ++n) job.losses[first + n] = job.labels[first + n] == job.ignored ? 0.0f : found[n];
}

void gradients_of_few(const CorecurSoftmax& job, Index first, Index last) {
  Few scores;
  float scales[LANES] = {}, largest[LANES] = {}, shares[LANES] = {};
  Index classes = job.classes;
  int count = static_cast<int>(last - first);
  float* out = job.out + first * classes;
  for (int n = 0; n < count; ++n) {
    scales[n] = job.labels[first + n] == job.ignored ? 0.0f : job.d_losses[(first + n) * job.d_stride];
    largest[n] = job.kept[2 * (first + n)], shares[n] = job.kept[2 * (first + n) + 1] * scales[n];
  }
  gather(job.scores + first * classes, classes, count, scores);
  float smoothing = static_cast<float>(job.smoothing);
  Vector scale = load(scales), share = load(shares), top = load(largest), none{};
  Vector even = scale * (smoothing / static_cast<float>(classes));
  for (Index k = 0; k < classes; ++k) {
    Vector found = share_of(scores[k] - top) * share - even;
    scores[k] = scale == 0 ? none : found;  // also where a score is no number: what does not count has no gradient
  }
  scatter(scores, classes, count, out);
  for (int n = 0; n < count; ++n) {
    Index label = job.labels[first + n];
    if (scales[n] != 0 && label >= 0 && label < classes) out[n * classes + label] -= scales[n] * (1.0f - smoothing);
  }
}

void softmax_of_few(const CorecurSoftmax& job, Index first, Index last) {
  Few scores;
  Index classes = job.classes;
  int count = static_cast<int>(last - first);
  gather(job.scores + first * classes, classes, count, scores);
  Vector share = 1.0f / total_of(scores, classes, largest_of(scores, classes));
  for (Index k = 0; k < classes; ++k) scores[k] *= share;
  scatter(scores, classes, count, job.out + first * classes);
}

// Of the positions of a task some at a time, where classes are few, or one at a time.
template <class Some, class One>
CORECUR_INLINE void in_turn(Index classes, Index first, Index last, Some&& some, One&& one) {
  if (classes <= FEW)
    for (Index n = first; n < last; n += LANES) some(n, n + LANES < last ? n + LANES : last);
  else
    for (Index n = first; n < last; ++n) one(n);
}

template <class Body>
void over_positions(const CorecurSoftmax& job, int threads, Body&& body) {
  threads = threads_for(job.positions * job.classes * (job.classes <= FEW ? COST_OF_FEW : COST), threads);
  Index each = positions_of_task(job, threads);
  parallel(static_cast<int>(ceiling(job.positions, each)), threads, [&](int task) {
    Index last = (task + 1) * each;
    body(task * each, last < job.positions ? last : job.positions);
  });
}

}  // namespace

void softmax(const CorecurSoftmax* job, int threads) {
  over_positions(*job, threads, [&](Index first, Index last) {
    in_turn(
        job->classes, first, last, [&](Index n, Index end) { softmax_of_few(*job, n, end); },
        [&](Index n) { softmax_of(*job, n); });
  });
}

void cross_entropy(const CorecurSoftmax* job, int threads) {
  over_positions(*job, threads, [&](Index first, Index last) {
    for (Index n = first; n < last; n += LANES) {
      Index end = n + LANES < last ? n + LANES : last;
      job->classes <= FEW ? losses_of_few(*job, n, end) : losses_of(*job, n, end);
    }
  });
  if (job->mean != nullptr) *job->mean = mean_of(job->losses, job->positions);
}

void cross_entropy_backward(const CorecurSoftmax* job, int threads) {
  over_positions(*job, threads, [&](Index first, Index last) {
    in_turn(
        job->classes, first, last, [&](Index n, Index end) { gradients_of_few(*job, n, end); },
        [&](Index n) { gradients_of(*job, n); });
  });
}

}  // namespace corecur::CORECUR_ISA

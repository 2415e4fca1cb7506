// Text by a network of stages, token after token, in one call: the rows are split over threads, and each thread reads,
// runs all stages and chooses, so that nothing waits for another thread.
//
// A choice is that of learners/sampling.py: the weights of all tokens in their order are summed up in double precision,
// and the first one at which the sum passes a given share of the whole is taken.
#include "kernels.hpp"
#include "parallel.hpp"
#include "run_stage.hpp"

namespace corecur::CORECUR_ISA {
namespace {

using Job = CorecurGenerate;

// A heap of tokens by their weights, the likeliest on top, of equal ones that with the lower number.
struct Heap {
  const float* weights;
  std::int32_t* tokens;
  Index size;

  bool over(std::int32_t a, std::int32_t b) const {
    return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
  }

  void sink(Index place) {
    std::int32_t token = tokens[place];
    for (Index child = 2 * place + 1; child < size; child = 2 * place + 1) {
      if (child + 1 < size && over(tokens[child + 1], tokens[child])) ++child;
      if (!over(tokens[child], token)) break;
      tokens[place] = tokens[child];
      place = child;
    }
    tokens[place] = token;
  }

  void build() {
    for (Index place = size / 2; place-- > 0;) sink(place);
  }

  // The top goes behind the end of the heap: what was taken stands there in turn, the first one last.
  std::int32_t take() {
    std::int32_t top = tokens[0];
    tokens[0] = tokens[--size];
    tokens[size] = top;
    if (size > 0) sink(0);
    return top;
  }
};

// Zero the weights of all but the `top_k` likeliest, and of these but the fewest that have the share `top_p`.
void cut(const Job& job, float* weights, std::int32_t* tokens) {
  Heap heap{weights, tokens, 0};
  double all = 0;
  for (Index token = 0; token < job.vocabulary; ++token)
    if (weights[token] > 0) tokens[heap.size++] = static_cast<std::int32_t>(token), all += weights[token];
  const Index known = heap.size, most = job.top_k > 0 && job.top_k < known ? job.top_k : known;
  heap.build();
  if (most < known) {
    all = 0;
    for (Index taken = 0; taken < most; ++taken) all += weights[heap.take()];
  }
  double before = 0;
  std::int32_t last = 0;
  for (Index taken = 0; taken < most && (taken == 0 || before < job.top_p * all); ++taken) {
    last = most < known ? tokens[known - 1 - taken] : heap.take();
    before += weights[last];
  }
  const float least = weights[last];
  for (Index token = 0; token < job.vocabulary; ++token)
    if (weights[token] < least || (weights[token] == least && token > last)) weights[token] = 0;
}

// The next token, -1 where none can come: a logit is not a number, or none is above minus infinity.
Index choose(const Job& job, const float* logits, double uniform, float* weights, std::int32_t* tokens) {
  const float infinity = __builtin_inff();
  Index best = -1;
  float most = -infinity;
  for (Index token = 0; token < job.vocabulary; ++token) {
    if (job.banned[token]) continue;
    if (logits[token] != logits[token]) return -1;
    if (logits[token] > most) most = logits[token], best = token;
  }
  if (best < 0 || job.temperature == 0) return best;
  if (most == infinity) return -1;
  for (Index token = 0; token < job.vocabulary; ++token)
    weights[token] = static_cast<float>((static_cast<double>(logits[token]) - most) / job.temperature);
  for (Index token = 0; token < job.vocabulary; token += LANES) {
    int count = job.vocabulary - token < LANES ? static_cast<int>(job.vocabulary - token) : LANES;
    Vector x = load(weights + token, count);
    store(weights + token, x < -87.0f ? Vector{} : exponential(x), count);
  }
  for (Index token = 0; token < job.vocabulary; ++token)
    if (job.banned[token]) weights[token] = 0;
  if (job.top_k > 0 || job.top_p < 1) cut(job, weights, tokens);
  double all = 0, sum = 0;
  for (Index token = 0; token < job.vocabulary; ++token) all += weights[token];
  const double point = uniform * all;
  for (Index token = 0; token < job.vocabulary; ++token) {
    if (weights[token] > 0) best = token;
    sum += weights[token];
    if (sum > point) break;
  }
  return best;
}

constexpr int MOST_STAGES = 32;  // as in kernels/native_generation.py

void copy(float* to, const float* from, Index count) {
  if (count > 0) std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

// What one thread does: some rows, from the first token to the last.
void write_rows(const Job& job, Index first, Index count) {
  float* room = job.room + first * job.room_of_row;
  auto take = [&](Index floats) {
    float* at = room;
    room += floats * count;
    return at;
  };
  auto* begins = reinterpret_cast<const float**>(take(2));
  float* vectors = job.looked_up ? nullptr : take(job.stages[0].features);
  float* now[MOST_STAGES];   // the state of each stage, or its output
  float* next[MOST_STAGES];  // where the new state goes
  for (int s = 0; s < job.count; ++s) {
    const Index units = job.stages[s].units;
    now[s] = take(units), next[s] = job.h[s] ? take(units) : now[s];
    if (job.h[s]) copy(now[s], job.h[s] + first * units, count * units);
  }
  float* weights = take(job.vocabulary);
  auto* order = reinterpret_cast<std::int32_t*>(take(job.vocabulary));
  Index steps = 0;
  for (Index row = 0; row < count; ++row) {
    job.written[first + row] = 0;
    Index wanted = job.prompt_lengths[first + row] + job.length - 1;
    if (wanted > steps) steps = wanted;
  }
  const Index width = job.looked_up ? gates_of(job.stages[0]) : job.stages[0].features;
  for (Index t = 0; t < steps; ++t) {
    for (Index row = 0; row < count; ++row) {
      const Index read = job.prompt_lengths[first + row], place = t - read;
      Index token = 0;  // of a row that has ended: whatever it reads, nobody sees it
      if (place < 0)
        token = job.prompts[(first + row) * job.prompt + t];
      else if (place < job.written[first + row])
        token = job.tokens[(first + row) * job.length + place];
      const float* vector = job.vectors + token * width;
      if (job.looked_up)
        begins[row] = vector;
      else
        copy(vectors + row * width, vector, width);
    }
    const float* x = vectors;
    for (int s = 0; s < job.count; ++s) {
      const CorecurStage& stage = job.stages[s];
      const bool given = s == 0 && job.looked_up;
      float* c = job.c[s] ? job.c[s] + first * stage.units : nullptr;
      run_stage(stage, {count, given ? begins : nullptr, stage.bias, 0, x, now[s], c, next[s]});
      float* fresh = next[s];
      next[s] = now[s], now[s] = fresh;
      x = fresh;
    }
    for (Index row = 0; row < count; ++row) {
      const Index place = t + 1 - job.prompt_lengths[first + row], n = (first + row) * job.length + place;
      if (place < 0 || place >= job.length || job.written[first + row] < place) continue;
      Index token = choose(job, x + row * job.vocabulary, job.uniforms[n], weights + row * job.vocabulary,
                           order + row * job.vocabulary);
      if (token >= 0) job.tokens[n] = token, job.written[first + row] = place + 1;
    }
  }
  for (int s = 0; s < job.count; ++s)
    if (job.h[s]) copy(job.h[s] + first * job.stages[s].units, now[s], count * job.stages[s].units);
}

}  // namespace

int generate(const CorecurGenerate* job, int threads) {
  const int shares = job->batch < threads ? static_cast<int>(job->batch) : threads;
  parallel(shares, threads, [&](int share) {
    Index first = job->batch * share / shares, end = job->batch * (share + 1) / shares;
    if (first < end) write_rows(*job, first, end - first);
  });
  return 0;
}

}  // namespace corecur::CORECUR_ISA

// Text by a network of stages, token after token, in one call: the rows are split over threads, and each thread reads,
// runs all stages and chooses, so that nothing waits for another thread. Or, of few rows and many weights, threads share
// the units of each stage and meet after it; one of them reads and chooses.
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

// What one thread does, or what one of several that share the units does: some rows, from the first token to the last.
struct Desk {
  const Job& job;
  const Member& member;
  Index first, count;  // the rows
  float* room;
  const float** begins;  // for each row what the first stage begins with, where that is looked up
  float* vectors;        // (rows, C) otherwise
  float *now[MOST_STAGES], *next[MOST_STAGES], *cell[MOST_STAGES];  // h (or a dense output), where it goes on to, c
  float* weights;        // (rows, V), as the next
  std::int32_t* order;

  Desk(const Job& given, Index from, Index rows, const Member& member)
      : job(given), member(member), first(from), count(rows), room(given.room + from * given.room_of_row) {
    begins = reinterpret_cast<const float**>(take(2));
    vectors = job.looked_up ? nullptr : take(job.stages[0].features);
    for (int s = 0; s < job.count; ++s) {
      const Index units = job.stages[s].units;
      now[s] = take(units), next[s] = job.h[s] ? take(units) : now[s];
      cell[s] = job.c[s] ? take(units) : nullptr;
      if (job.h[s] && leads()) copy(now[s], job.h[s] + first * units, count * units);
      if (job.c[s] && leads()) copy(cell[s], job.c[s] + first * units, count * units);
    }
    weights = take(job.vocabulary);
    order = reinterpret_cast<std::int32_t*>(take(job.vocabulary));
  }

  // Whether this is the one that reads and chooses.
  bool leads() const { return member.number == 0; }

  float* take(Index floats) {
    float* at = room;
    room += floats * count;
    return at;
  }

  Index steps() const {
    Index most = 0;
    for (Index row = first; row < first + count; ++row)
      if (job.prompt_lengths[row] + job.length - 1 > most) most = job.prompt_lengths[row] + job.length - 1;
    return most;
  }

  // The token that a row reads at a step; of a row that has ended any one, since nobody sees what follows.
  Index token_at(Index row, Index t) const {
    const Index place = t - job.prompt_lengths[row];
    if (place < 0) return job.prompts[row * job.prompt + t];
    return place < job.written[row] ? job.tokens[row * job.length + place] : 0;
  }

  void read(Index t) {
    const Index width = job.looked_up ? gates_of(job.stages[0]) : job.stages[0].features;
    for (Index row = 0; row < count; ++row) {
      const float* vector = job.vectors + token_at(first + row, t) * width;
      if (job.looked_up)
        begins[row] = vector;
      else
        copy(vectors + row * width, vector, width);
    }
  }

  // All stages; the logits (rows, V).
  const float* run() {
    const float* x = vectors;
    for (int s = 0; s < job.count; ++s) {
      const CorecurStage& stage = job.stages[s];
      const bool given = s == 0 && job.looked_up;
      run_stage(stage, {count, given ? begins : nullptr, stage.bias, 0, x, now[s], cell[s], cell[s], next[s]}, member);
      member.meet();
      float* fresh = next[s];
      next[s] = now[s], now[s] = fresh;
      x = fresh;
    }
    return x;
  }

  void write(Index t, const float* logits) {
    for (Index row = 0; row < count; ++row) {
      const Index place = t + 1 - job.prompt_lengths[first + row], n = (first + row) * job.length + place;
      if (place < 0 || place >= job.length || job.written[first + row] < place) continue;
      const Index from = row * job.vocabulary;
      Index token = choose(job, logits + from, job.uniforms[n], weights + from, order + from);
      if (token >= 0) job.tokens[n] = token, job.written[first + row] = place + 1;
      if (place + 1 == job.length) leave(row);
    }
  }

  // The state of a row that has read all it is to read: others may go on.
  void leave(Index row) {
    for (int s = 0; s < job.count; ++s) {
      const Index units = job.stages[s].units;
      if (job.h[s]) copy(job.h[s] + (first + row) * units, now[s] + row * units, units);
      if (job.c[s]) copy(job.c[s] + (first + row) * units, cell[s] + row * units, units);
    }
  }
};

void write(const Job& job, Index first, Index end, const Member& member) {
  if (first >= end) return;
  Desk desk(job, first, end - first, member);
  for (Index row = first; row < end && desk.leads(); ++row) job.written[row] = 0;
  for (Index t = 0, steps = desk.steps(); t < steps; ++t) {
    if (desk.leads()) desk.read(t);
    member.meet();
    const float* logits = desk.run();
    if (desk.leads()) desk.write(t, logits);
  }
}

}  // namespace

int generate(const CorecurGenerate* job, int threads) {
  if (job->members > 1) {
    together(job->members < threads ? job->members : threads,
             [&](const Member& member) { write(*job, 0, job->batch, member); });
    return 0;
  }
  const int shares = job->batch < threads ? static_cast<int>(job->batch) : threads;
  parallel(shares, threads,
           [&](int share) { write(*job, job->batch * share / shares, job->batch * (share + 1) / shares, Member{}); });
  return 0;
}

}  // namespace corecur::CORECUR_ISA

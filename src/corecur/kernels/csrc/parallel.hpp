// Work on the threads of the OpenMP runtime that the caller has already: never a second pool beside it.
#pragma once

namespace corecur {

// body(data, task) for every task from 0; with one thread, or without a runtime, one after the other right here.
void in_parallel(int tasks, int threads, void (*body)(void*, int), void* data);

template <class Body>
inline __attribute__((always_inline)) void parallel(int tasks, int threads, Body&& body) {
  in_parallel(
      tasks, threads, [](void* data, int task) { (*static_cast<Body*>(data))(task); }, &body);
}

// body(data, number, count) at once on each of the threads that come, `threads` at most.
void in_team(int threads, void (*body)(void*, int, int), void* data);

// A moment for the other thread of this core or, after many, for whoever else waits for it.
void pause_for(int times);

// Where the threads of a team wait until all have come. (No std::atomic, of whose code one copy would be kept for all
// instruction sets.)
struct Meeting {
  int arrived = 0, round = 0;
};

// One of the threads that work on the same rows, each on some columns.
struct Member {
  int number = 0, count = 1;
  Meeting* meeting = nullptr;

  inline __attribute__((always_inline)) void meet() const {
    if (count == 1) return;
    const int now = __atomic_load_n(&meeting->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&meeting->arrived, 1, __ATOMIC_ACQ_REL) == count) {
      __atomic_store_n(&meeting->arrived, 0, __ATOMIC_RELAXED);
      __atomic_store_n(&meeting->round, now + 1, __ATOMIC_RELEASE);
      return;
    }
    for (int times = 0; __atomic_load_n(&meeting->round, __ATOMIC_ACQUIRE) == now; ++times) pause_for(times);
  }
  // The member's part of so many, from the first to before the last.
  inline __attribute__((always_inline)) long long first(long long of) const { return of * number / count; }
  inline __attribute__((always_inline)) long long last(long long of) const { return of * (number + 1) / count; }
};

// body(member) at once on each of the threads that come, `threads` at most.
template <class Body>
inline __attribute__((always_inline)) void together(int threads, Body&& body) {
  struct Given {
    Body* body;
    Meeting meeting;
  } given{&body, {}};
  in_team(
      threads,
      [](void* data, int number, int count) {
        Given* of = static_cast<Given*>(data);
        (*of->body)(Member{number, count, &of->meeting});
      },
      &given);
}

// One thread for so few multiplications that waking another takes longer than they do.
inline __attribute__((always_inline)) int threads_for(long long multiplications, int threads) {
  return multiplications < 2'000'000 ? 1 : threads;
}

}  // namespace corecur

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

// One thread for so few multiplications that waking another takes longer than they do.
inline __attribute__((always_inline)) int threads_for(long long multiplications, int threads) {
  return multiplications < 2'000'000 ? 1 : threads;
}

}  // namespace corecur

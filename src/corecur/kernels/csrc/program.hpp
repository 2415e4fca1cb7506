// Native functions one after the other in one call. Mirrored in kernels/program.py.
#pragma once

#include <cstdint>

extern "C" {

// Where a job's pointer points: so many bytes from one of the addresses that come with the run; or a number that comes
// with the run in an address's place.
struct CorecurPlace {
  std::int32_t field, base;  // bytes into the job; which address
  std::int64_t offset;
};

struct CorecurCall {
  std::int32_t function;  // as program.cpp numbers them
  std::int32_t threads;
  const void* job;        // with pointers that are null
  std::int64_t size;      // bytes of the job
  const CorecurPlace* places;
  std::int64_t count;     // of places
};

}

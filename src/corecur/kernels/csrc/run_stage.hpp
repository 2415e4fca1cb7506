// What stage.cpp does for those who run stages one after the other.
#pragma once

#include "parallel.hpp"
#include "simd.hpp"
#include "stage.hpp"

namespace corecur::CORECUR_ISA {

// One step of some rows.
struct StageRows {
  Index rows;
  const float* const* begins;  // for each row what its gates begin with, (G); null: begin + row · begin_stride
  const float* begin;
  Index begin_stride;
  const float* x;  // (rows, C); null where that is all the input's part
  const float* h;      // (rows, H): the old state; not where the new one goes
  const float* old_c;  // (rows, H), and where the new one goes, which may be the same place
  float* c;
  float* y;  // (rows, H): the new state, or the dense layer's output
};

// The member's part of the units.
void run_stage(const CorecurStage& stage, const StageRows& at, const Member& member);

Index gates_of(const CorecurStage& stage);

}  // namespace corecur::CORECUR_ISA

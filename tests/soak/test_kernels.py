"""The native kernels where it takes minutes: their functions over every float there is, thousands of shapes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from corecur.kernels.cell import Work
from corecur.kernels.native import run_native
from tests.kernels.instruction_sets import isa
from tests.kernels.native_work import assert_as_exact_as_torch
from tests.kernels.needs_kernels import needs_kernels
from tests.kernels.test_library import assert_close_everywhere, every_function
from tests.kernels.test_native import works

__all__ = ["isa"]


@every_function
@pytest.mark.usefixtures("isa")
def test_functions_are_within_the_bounds_they_state_at_every_float(function: str) -> None:
    assert_close_everywhere(function, 1)


@needs_kernels
@settings(max_examples=3000, deadline=None)
@given(works(most_units=300))
def test_any_work_is_as_exact_as_torch_many_times(work: Work) -> None:
    assert_as_exact_as_torch(run_native, work)

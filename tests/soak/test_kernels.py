"""The native kernels where it takes minutes: their functions over every float there is."""

from __future__ import annotations

import pytest

from tests.kernels.instruction_sets import isa
from tests.kernels.test_library import assert_close_everywhere, every_function

__all__ = ["isa"]


@every_function
@pytest.mark.usefixtures("isa")
def test_functions_are_within_the_bounds_they_state_at_every_float(function: str) -> None:
    assert_close_everywhere(function, 1)

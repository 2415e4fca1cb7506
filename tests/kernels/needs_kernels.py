"""A mark for tests of the native kernels: without them, as where no compiler was found, there is nothing to test."""

from __future__ import annotations

import pytest

from corecur.kernels.library import info

needs_kernels = pytest.mark.skipif(info().isa is None, reason=f"no native kernels: {info().why}")

"""A fixture for tests of recurrences that answer for one row at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from corecur.kernels.native_step import Stage


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many recurrences ran at the same time, call by call."""
    seen: list[int] = []
    real = Stage.at_once

    def counted(stages: Any, inputs: Any, states: Any) -> Any:
        seen.append(len(stages))
        return real(stages, inputs, states)

    monkeypatch.setattr(Stage, "at_once", staticmethod(counted))
    return seen

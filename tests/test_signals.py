"""A signal in the middle of the command, and going on after it; ``tests/soak/test_signals.py`` has every phase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.signalled import figures, stop_and_go_on, train_words


@pytest.mark.parametrize(
    ("phase", "number", "resumed"),
    [("mid-step", "SIGINT", 6), ("validation", "SIGTERM", 6), ("bundle", "SIGINT", 12)],
)
def test_a_signal_loses_no_step(
    command: Callable[..., Any], shades: Path, tmp_path: Path, phase: str, number: str, resumed: int
) -> None:
    assert command(*train_words(shades), "--out", "whole").exit_code == 0
    (whole,) = Path("whole").iterdir()
    found = stop_and_go_on(tmp_path, shades, phase, number)
    assert found.code == 75 and found.seconds < 10
    assert (found.steps_lost <= 0, found.step_resumed) == (True, resumed)
    assert figures(found.run) == figures(whole)

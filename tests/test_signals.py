"""A signal in the middle of the command, and going on after it; ``tests/soak/test_signals.py`` has every phase."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.signalled import Commands, figures, train_words


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    found = Commands()
    yield found
    found.close()


@pytest.fixture(scope="module")
def whole(commands: Commands, shades: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert commands.run(*train_words(shades), folder=folder).code == 0
    (made,) = folder.glob("runs/*")
    return made


@pytest.mark.parametrize(
    ("phase", "number", "resumed"),
    [
        ("data scan", "SIGTERM", None), ("mid-step", "SIGINT", 6), ("mid-save", "SIGTERM", ...),
        ("validation", "SIGTERM", 6), ("bundle", "SIGINT", 12),
    ],
)  # fmt: skip
def test_a_signal_loses_no_step(
    commands: Commands, shades: Path, whole: Path, tmp_path: Path, phase: str, number: str, resumed: Any
) -> None:
    found = commands.stop_and_go_on(tmp_path, shades, phase, number)
    assert found.code == 75 and found.seconds < 10
    assert found.steps_lost == 0 and (resumed is ... or found.step_resumed == resumed)
    assert figures(found.run) == figures(whole)


def test_a_second_signal_leaves_at_once_and_can_be_gone_on_with(
    commands: Commands, shades: Path, whole: Path, tmp_path: Path
) -> None:
    found = commands.stop_and_go_on(tmp_path, shades, "step without end", "SIGINT,SIGTERM")
    assert found.code == 75 and found.seconds < 3
    assert found.step_resumed is not None and found.step_resumed <= 5  # the last checkpoint that was written
    assert figures(found.run) == figures(whole)

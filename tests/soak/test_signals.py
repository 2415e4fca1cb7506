"""SIGTERM and SIGINT in every phase: the command can be gone on with, loses no step, and ends with the same bytes.

``pytest tests/soak/test_signals.py -s`` prints a line for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import SHADES, write_shades
from tests.signalled import PHASES, Commands, figures, train_words

pytestmark = pytest.mark.soak

ENDLESS = ("step without end", "save without end")


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    found = Commands()
    yield found
    found.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shades(tmp_path_factory.mktemp("data") / "photos", dict.fromkeys(SHADES, 24))


@pytest.fixture(scope="module")
def whole(commands: Commands, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert commands.run(*train_words(photos), folder=folder).code == 0
    (made,) = folder.glob("runs/*")
    return made


@pytest.fixture
def check(commands: Commands, tmp_path: Path, photos: Path, whole: Path) -> Callable[..., None]:
    def stop(phase: str, signals: str, *, within: float, lost: int) -> None:
        found = commands.stop_and_go_on(tmp_path, photos, phase, signals)
        print(f"{phase:<24} {signals:<16} code {found.code}  {found.seconds:5.2f} s  steps lost {found.steps_lost}  "
              f"resumed at {found.step_resumed}  {found.said.splitlines()[-1].strip()}")  # fmt: skip
        assert found.code == 75 and found.seconds < within
        assert found.steps_lost <= lost
        assert figures(found.run) == figures(whole)
        assert list(tmp_path.glob("runs/*/lock")) == [] and list(tmp_path.glob("runs/*/checkpoints/*.tmp-*")) == []

    return stop


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("phase", [phase for phase in PHASES if phase not in ENDLESS])
def test_in_every_phase(check: Callable[..., None], phase: str, number: str) -> None:
    check(phase, number, within=10, lost=0)


@pytest.mark.parametrize("phase", ENDLESS)
def test_a_step_longer_than_the_deadline(check: Callable[..., None], phase: str) -> None:
    check(phase, "SIGTERM", within=10, lost=12)  # all since the last checkpoint that was written


@pytest.mark.parametrize("signals", ["SIGTERM,SIGTERM", "SIGINT,SIGINT", "SIGINT,SIGTERM"])
@pytest.mark.parametrize("phase", ENDLESS)
def test_a_second_signal(check: Callable[..., None], phase: str, signals: str) -> None:
    check(phase, signals, within=3, lost=12)

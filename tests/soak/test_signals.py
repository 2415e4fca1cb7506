"""SIGTERM and SIGINT in every phase: the command can be gone on with, loses no step, and ends with the same bytes.

``pytest tests/soak/test_signals.py -s`` prints a line for each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SHADES, write_shades
from tests.signalled import PHASES, figures, run, stop_and_go_on, train_words

pytestmark = pytest.mark.soak

ENDLESS = ("step without end", "save without end")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shades(tmp_path_factory.mktemp("data") / "photos", dict.fromkeys(SHADES, 24))


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(*train_words(photos), folder=folder).returncode == 0
    (made,) = folder.glob("runs/*")
    return made


def check(folder: Path, photos: Path, whole: Path, phase: str, signals: str, *, within: float, lost: int) -> None:
    found = stop_and_go_on(folder, photos, phase, signals)
    print(f"{phase:<24} {signals:<16} code {found.code}  {found.seconds:5.2f} s  steps lost {found.steps_lost}  "
          f"resumed at {found.step_resumed}  {found.said.splitlines()[-1].strip()}")  # fmt: skip
    assert found.code == 75 and found.seconds < within
    assert found.steps_lost <= lost
    assert figures(found.run) == figures(whole)
    assert list(folder.glob("runs/*/lock")) == [] and list(folder.glob("runs/*/checkpoints/*.tmp-*")) == []


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("phase", ["import", *(phase for phase in PHASES if phase not in ENDLESS)])
def test_in_every_phase(tmp_path: Path, photos: Path, whole: Path, phase: str, number: str) -> None:
    check(tmp_path, photos, whole, phase, number, within=10, lost=0)


@pytest.mark.parametrize("phase", ENDLESS)
def test_a_step_longer_than_the_deadline(tmp_path: Path, photos: Path, whole: Path, phase: str) -> None:
    check(tmp_path, photos, whole, phase, "SIGTERM", within=10, lost=1)


@pytest.mark.parametrize("signals", ["SIGTERM,SIGTERM", "SIGINT,SIGINT", "SIGINT,SIGTERM"])
@pytest.mark.parametrize("phase", ENDLESS)
def test_a_second_signal(tmp_path: Path, photos: Path, whole: Path, phase: str, signals: str) -> None:
    check(tmp_path, photos, whole, phase, signals, within=3, lost=1)

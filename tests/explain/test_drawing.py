"""Pictures of explanations: of every kind, with odd names and words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corecur.explain.attribution import Attribution, Look, Panel
from corecur.explain.drawing import picture_of, write_picture
from corecur.explain.question import Kind, Shown


def explained(kind: Kind, scores: np.ndarray, shown: Shown, name: str = "a") -> Attribution:
    parts = np.arange(scores.size).reshape(scores.shape)
    return Attribution(name, kind, "lime", "$cla_ss", "taken for x", scores, parts, True, "nothing", shown, 0.1)


@pytest.mark.parametrize(
    "found",
    [
        explained("image", np.random.default_rng(0).normal(size=(4, 6)), Shown(picture=np.zeros((4, 6, 3), np.uint8))),
        explained("image", np.zeros((1, 1)), Shown(picture=np.zeros((1, 1, 1), np.uint8)), "x" * 900),
        explained("text", np.linspace(-1, 1, 400), Shown(words=("字\n$^",) * 400, spaced=False), "名\x1b[2J"),
        explained("text", np.array([1.0]), Shown(words=("w" * 300,))),
        explained("series", np.ones((3, 12)), Shown(values=np.zeros((3, 12)), columns=tuple("abcdefghijkl"))),
        explained("series", np.ones((1, 1)), Shown(values=np.zeros((1, 1)), rows=("today",))),
    ],
)  # fmt: skip
def test_any_explanation_can_be_drawn(found: Attribution) -> None:
    assert picture_of(found)[:8] == b"\x89PNG\r\n\x1a\n"


def test_looks_inside_can_be_drawn(tmp_path: Path) -> None:
    panels = (Panel("hidden state", np.zeros((3, 5)), across="step", down="unit"), Panel("near", words="字 " * 400))
    found = Look("a", "states", "taken for x", panels, 0.1)
    path = write_picture(found, tmp_path / "inner" / "a.png")
    assert path.stat().st_size > 1000 and [file.name for file in path.parent.iterdir()] == ["a.png"]

"""Precision and recall of a check on planted faults, on sets that are made up; the full proof is in tests/soak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from . import picture_faults, series_faults, table_faults, tag_faults, text_faults
from .faults import Plant, Score, measure

# The slower faults of pictures are planted in tests/soak.
PICTURES = {name: picture_faults.PICTURE_FAULTS[name]
            for name in ("truncated", "disputed", "near_leak", "blank", "odd_sizes", "missing_class")}  # fmt: skip
CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Plant], str]] = {
    "pictures": (lambda path: picture_faults.drawn(path / "p", train=12, test=5), PICTURES, "auto"),
    "texts": (lambda path: text_faults.written(path / "t.csv", train=40, test=12), text_faults.TEXT_FAULTS, "auto"),
    "series": (
        lambda path: series_faults.played(path / "s.csv", train=15, test=6),
        series_faults.SERIES_FAULTS,
        "auto",
    ),
    "tables": (lambda path: table_faults.metered(path / "m.csv"), table_faults.TABLE_FAULTS, "forecasting"),
    "tags": (lambda path: tag_faults.told(path / "tags"), tag_faults.TAG_FAULTS, "auto"),
}


@pytest.mark.parametrize("kind", CASES)
def test_planted_faults_are_named_and_nothing_else(kind: str, tmp_path: Path) -> None:
    make, faults, task = CASES[kind]
    score = Score()
    clean = measure(make(tmp_path), faults, score, scratch=tmp_path / "spoiled", task=task)
    assert [found for found in clean if found.level != "note"] == []
    assert score.recall >= 0.95 and score.precision >= 0.95, score.remarks

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corecur.learners.series_classifier import SeriesClassifier
from tests.learners.series_files import made_up
from tests.report.reader import EVIL, Reader

QUICK: dict[str, Any] = {"filters": 8, "depth": 1, "epochs": 2, "threads": 1}


def page_of(tmp_path: Path, source: Any, **settings: Any) -> tuple[str, Reader]:
    """The report of a short training, and what a browser reads in it."""
    result = SeriesClassifier(**(QUICK | settings)).fit(source, out=tmp_path / "runs", command="corecur train made")
    assert result.run is not None
    page = result.run.report.read_text("utf-8")
    config = json.loads((result.run.path / "config.json").read_text("utf-8"))
    assert config["samples"]["training"] and config["channels"]
    return page, Reader(page)


@pytest.mark.parametrize("channels", [1, 3])
def test_everything_a_report_shows(tmp_path: Path, channels: int) -> None:
    page, read = page_of(tmp_path, made_up(10, channels=channels, lengths=(20, 50)))
    for wanted in ("Test accuracy", "Confusion", "Worst mistakes", "What speaks for the answers", "Samples",
                   "Series per class and split", "corecur train made", "Accuracy by confidence"):  # fmt: skip
        assert wanted in read.words, wanted
    lines = page.count("<polyline")
    assert lines >= channels * (3 + 3 * 4)  # a map for each class, four samples of each
    assert ("channel 1" in read.words) == (channels > 1)


def test_a_recurrent_network_has_no_map_and_says_so(tmp_path: Path) -> None:
    _, read = page_of(tmp_path, made_up(6), model="lstm-fcn")
    assert "Only networks that end in a mean over time can tell" in read.words


def test_class_names_are_inert(tmp_path: Path) -> None:
    series, labels = made_up(6)
    page, read = page_of(tmp_path, (series, [EVIL if label == "slow" else label for label in labels]))
    assert "script" not in read.tags and "img" not in read.tags
    assert "alert(1)" in read.words


def test_counts_of_each_split() -> None:
    from corecur.learners.series_report import series_counts

    data = SeriesClassifier().read(made_up(10))
    assert series_counts(data) == {
        "training": {"bump": 8, "fast": 8, "slow": 8}, "test": {"bump": 2, "fast": 2, "slow": 2},
    }  # fmt: skip

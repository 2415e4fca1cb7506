"""Runs trained again with other seeds, or on folds: the same splits, the right parts held out, nothing done twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.comparison.compare import compare
from corecur.comparison.fold_splits import folds_of, pool_of
from corecur.data.images import ImageSet
from corecur.errors import ConfigError, DataError, Stopped
from corecur.learners.answer_record import digest, read_record
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.run_request import RunRequest
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.text_generator import TextGenerator
from corecur.run_folder import read_config
from tests.conftest import SHADES, write_shades


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shades, of which a training holds some out for validation and for the test."""
    return write_shades(tmp_path_factory.mktemp("data") / "shades", dict.fromkeys(SHADES, 20))


def _run(data: Any, parent: Path, name: str, **settings: Any) -> Path:
    learner = ImageClassifier(**({"threads": 1, "widths": (4,), "seed": 0} | settings))
    run = learner.fit(data, out=parent, name=name, baseline="none").run
    assert run is not None
    return run.path


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run of four epochs and one of a single one."""
    parent = tmp_path_factory.mktemp("runs")
    return [_run(data, parent, name, epochs=epochs) for name, epochs in (("long", 4), ("short", 1))]


def _trained(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob("*/*/*/config.json"))


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("this was trained before")


def test_seeds_are_trained_on_the_splits_of_the_run(
    runs: list[Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    found = compare(*runs, seeds=2, out=tmp_path / "out", page=tmp_path / "page.html", latency=False, tell=told.append)
    made = _trained(tmp_path / "out")
    assert len(made) == 4 and sum("training" in line for line in told) == 4
    contents = {read_record(run / "answers.json").contents for run in (*runs, *made)}  # type: ignore[union-attr]
    assert len(contents) == 1  # the same test split, whatever the seed
    assert {read_config(run)["request"]["seed"] for run in made} == {1, 2}  # the runs had 0
    for row, run in zip(sorted(found.standings, key=lambda row: row.name), runs, strict=True):
        own = [read_config(path)["result"]["test"]["accuracy"] for path in made if run.name in str(path)]
        assert row.name == run.name and row.figure == pytest.approx(np.mean(own))
        assert row.spread == pytest.approx(np.std(own, ddof=1)) and len(row.runs) == 2
    by_hand = ImageClassifier(threads=1, widths=(4,), epochs=4, seed=2, split_seed=0).fit(data, baseline="none").test
    seed_2 = next(path for path in made if "long" in str(path) and "seed-2" in str(path))
    assert read_record(seed_2 / "answers.json").answers == tuple(  # type: ignore[union-attr]
        by_hand.classes[place] for place in by_hand.probabilities.argmax(1).tolist()
    )
    assert found.repeats is not None and found.repeats.labels == ("seed 1", "seed 2")
    assert found.verdicts[0].difference.difference == pytest.approx(np.mean(found.repeats.gaps))
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Seed by seed" in page and "seed 2" in page and "Welch" in page
    monkeypatch.setattr(ImageClassifier, "fit", _refuse)
    again = compare(*runs, seeds=2, out=tmp_path / "out", latency=False)
    assert again.as_json() | {"page": None} == found.as_json() | {"page": None}


def test_folds_hold_out_each_sample_once_and_never_the_test(runs: list[Path], data: Path, tmp_path: Path) -> None:
    found = compare(*runs, folds=3, out=tmp_path / "out", page=tmp_path / "page.html", latency=False)
    read = ImageClassifier(seed=0).read(data)
    assert read.validation is not None and read.test is not None
    pool = Counter(map(digest, (*read.train.contents(), *read.validation.contents())))
    tested = set(map(digest, read.test.contents()))
    for name in ("long", "short"):
        records = [read_record(run / "answers.json") for run in _trained(tmp_path / "out") if name in str(run)]
        held = Counter(content for record in records if record is not None for content in record.contents)
        assert len(records) == 3 and held == pool and not tested & held.keys()
    assert found.samples == sum(pool.values()) and "3 folds" in found.basis
    assert found.repeats is not None and len(found.repeats.gaps) == 3
    assert found.verdicts[0].difference.test == "corrected resampled t test over folds"
    assert found.as_json()["repeats"]["differences"] == list(found.repeats.gaps)
    assert found.pictures.keys() == {one.place for one in found.apart[:24]}
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Fold by fold" in page and "Nadeau" in page
    with pytest.raises(ConfigError, match="a fold"):  # its data are nowhere
        compare(*_trained(tmp_path / "out")[:2], seeds=2, out=tmp_path / "other")


def test_what_was_stopped_is_gone_on_with(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, calls = ImageClassifier.fit, []

    def third_is_stopped(self: ImageClassifier, *args: Any, **given: Any) -> Any:
        calls.append(self.seed)
        if len(calls) == 3:
            raise Stopped("stopped on request at step 1")
        return fit(self, *args, **given)

    monkeypatch.setattr(ImageClassifier, "fit", third_is_stopped)
    with pytest.raises(Stopped, match=r"go on with: corecur compare a b") as stopped:
        compare(*runs, seeds=2, out=tmp_path, latency=False, again="corecur compare a b")
    assert stopped.value.exit_code == 75
    compare(*runs, seeds=2, out=tmp_path, latency=False)
    assert calls == [1, 2, 1, 1, 2]
    assert len(_trained(tmp_path)) == 4


def test_other_data_are_trained_on_anew(tmp_path: Path) -> None:
    data = write_shades(tmp_path / "data", dict.fromkeys(SHADES, 10))
    runs = [_run(data, tmp_path / "runs", name, epochs=epochs) for name, epochs in (("one", 1), ("two", 2))]
    compare(*runs, seeds=2, out=tmp_path / "out", latency=False)
    write_shades(data, dict.fromkeys(SHADES, 11), seed=5)
    compare(*runs, seeds=2, out=tmp_path / "out", latency=False)
    assert len(_trained(tmp_path / "out")) == 8


def test_seeds_can_be_tested_on_another_source(runs: list[Path], tmp_path: Path) -> None:
    other = write_shades(tmp_path / "other", dict.fromkeys(SHADES, 5), seed=9)
    found = compare(*runs, seeds=2, on=other, out=tmp_path / "out", latency=False)
    assert found.samples == 5 * len(SHADES)


def test_the_command_trains_and_says_so(command: Callable[..., Any], runs: list[Path]) -> None:
    shown = command("compare", *runs, "--folds", 2, "--no-latency", "--out", "again")
    assert shown.exit_code == 0, shown.stderr
    assert "fold 2" in shown.stdout and "difference in points" in shown.stdout and "2 folds" in shown.stdout
    told = command("compare", *runs, "--folds", 2, "--no-latency", "--out", "again", "--json")
    assert json.loads(told.stdout)["repeats"]["kind"] == "fold"


def test_what_cannot_be_trained_again_is_refused(runs: list[Path], data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="over seeds or over folds"):
        compare(*runs, seeds=2, folds=2)
    with pytest.raises(ConfigError, match="leave out --on"):
        compare(*runs, folds=2, on=data)
    with pytest.raises(ConfigError, match="two runs or more"):
        compare(runs[0], seeds=2)
    with pytest.raises(ConfigError, match="two trainings or more"):
        compare(*runs, seeds=1, out=tmp_path)
    with pytest.raises(ConfigError, match="no test split"):
        untested = (
            ImageClassifier(threads=1, widths=(4,), epochs=1).fit(data, test=0, out=tmp_path, baseline="none").run
        )
        assert untested is not None
        compare(runs[0], untested.path, seeds=2, out=tmp_path / "made")
    with pytest.raises(ConfigError, match="into the data"):
        compare(*runs, folds=2, out=data / "made")
    with pytest.raises(ConfigError, match="model file alone"):
        model = ImageClassifier.load(runs[0] / "bundle").save(tmp_path / "model")
        compare(runs[0], model, seeds=2)
    with pytest.raises(ConfigError, match="nothing but their seed"):
        compare(runs[0], _run(data, tmp_path, "again", epochs=4, seed=1), seeds=2)
    with pytest.raises(ConfigError, match="no folds in common"):
        other = write_shades(tmp_path / "other", dict.fromkeys(SHADES, 6))
        compare(runs[0], _run(other, tmp_path, "elsewhere", epochs=4), folds=2)
    with pytest.raises(ConfigError, match="values in Python"):
        read = ImageClassifier().read(data)
        values = (read.train.images.numpy(), read.train.labels.numpy())
        learner = ImageClassifier(epochs=1, threads=1, widths=(4,))
        in_memory = learner.fit(*values, out=tmp_path, baseline="none").run
        assert in_memory is not None
        compare(runs[0], in_memory.path, seeds=2)
    assert not (tmp_path / "made").exists() and not (data / "made").exists()


def _folds(learner: Any, count: int, horizon: int = 1, **request: Any) -> list[Any]:
    asked = RunRequest.of(**request)
    pool = pool_of(learner, asked)
    return [(fold, pool) for fold in folds_of(learner, pool, count, request=asked, horizon=horizon)]


def test_folds_of_a_text_are_its_pieces(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text(" ".join(f"word{place}" for place in range(900)))
    found = _folds(TextGenerator(), 4, source=str(file), test=0.2)
    pool = found[0][1]
    assert pool.test is not None and pool.validation is None
    assert "".join(fold.data.test.text for fold, _ in found) == pool.train.text
    for fold, _ in found:
        assert fold.data.validation is not None and fold.data.test.text not in fold.data.train.text
        assert 0.3 < fold.ratio < 0.5
    (tmp_path / "poems").mkdir()
    for place in range(40):
        (tmp_path / "poems" / f"{place}.txt").write_text(f"poem {place} " * 9)
    whole = _folds(TextGenerator(), 4, source=str(tmp_path / "poems"), validation=0)
    held = [document for fold, _ in whole for document in fold.data.test.documents]
    assert sorted(held) == sorted(whole[0][1].train.documents)
    with pytest.raises(DataError, match="too little text"):
        (tmp_path / "short.txt").write_text("a b")
        _folds(TextGenerator(), 9, source=str(tmp_path / "short.txt"), validation=0)


def test_folds_of_a_table_come_after_what_is_learned_from() -> None:
    found = _folds(Forecaster(), 3, horizon=12, source="passengers")
    pool, last = found[0][1], None
    (whole,) = pool.train
    for fold, _ in found:
        (train,), (held,), (test,) = fold.data.train, fold.data.validation, fold.data.test
        assert train.rows.start == whole.rows.start
        assert train.rows.stop == held.rows.start and held.rows.stop == test.rows.start
        assert last is None or test.rows.start == last
        last = test.rows.stop
    assert last == whole.rows.stop  # and the test rows come after
    assert pool.test[0].rows.start == last
    with pytest.raises(DataError, match="too short for so many folds"):
        _folds(Forecaster(), 30, horizon=12, source="passengers")


def test_folds_of_sentences_and_a_validation_set_of_its_own(tmp_path: Path) -> None:
    for name, count in (("train", 60), ("valid", 10)):
        lines = (f"w{place}\tX\nv\tY\n" for place in range(count))
        (tmp_path / f"{name}.conll").write_text("\n".join(lines))
    request = {"source": str(tmp_path / "train.conll"), "validation": str(tmp_path / "valid.conll"), "test": 0.1}
    found = _folds(SequenceTagger(), 3, **request)
    assert all(len(fold.data.validation) == 10 for fold, _ in found)
    held = [words for fold, _ in found for words in fold.data.test.sentences]
    assert sorted(held) == sorted(found[0][1].train.sentences) and len(held) == 54


def test_classes_are_spread_over_the_folds(tmp_path: Path) -> None:
    data = write_shades(tmp_path / "data", dict.fromkeys(SHADES, 12))
    for fold, _ in _folds(ImageClassifier(), 4, source=str(data), test=0):
        held: ImageSet = fold.data.test
        assert held.labels is not None
        assert torch.bincount(held.labels).tolist() == [3] * len(SHADES)

"""Comparing runs and bundles: pairing, verdicts, repeats, the page, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corecur
from corecur.comparison.candidates import short_names
from corecur.comparison.compare import compare
from corecur.comparison.pairing import paired, taken
from corecur.errors import ConfigError, DataError, RunError
from corecur.learners.answer_record import FIGURES, AnswerRecord, digest, read_record
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.sequence_tagger import SequenceTagger
from tests.conftest import SHADES, write_shades

SENTENCES = [["ann", "went", "to", "rome"], ["bob", "is", "here"], ["the", "sea"]] * 12
TAGS = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "O", "O"], ["O", "O"]] * 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shades with a test split of 60 pictures."""
    root = tmp_path_factory.mktemp("猫 data")
    write_shades(root / "train", dict.fromkeys(SHADES, 16))
    write_shades(root / "test", dict.fromkeys(SHADES, 20), seed=1)
    return root


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs on it: a network that learned, the same with another seed, one that hardly did."""
    parent, found = tmp_path_factory.mktemp("runs"), []
    for name, seed, epochs in (("好 good", 0, 4), ("again", 1, 4), ("<b>hasty</b>", 0, 1)):
        learner = ImageClassifier(epochs=epochs, threads=1, widths=(4, 8), seed=seed)
        run = learner.fit(data, out=parent, name=name).run
        assert run is not None
        found.append(run.path)
    return found


def record(right: list[bool], *, contents: list[str] | None = None, **more: Any) -> AnswerRecord:
    """The answers of a classifier of two classes."""
    truth = tuple("ab"[place % 2] for place in range(len(right)))
    answers = tuple(t if r else "ba"["ab".index(t)] for t, r in zip(truth, right, strict=True))
    names = tuple(f"{place}.png" for place in range(len(right)))
    fields: dict[str, Any] = {
        "task": "image-classification", "kind": "classes", "names": names, "truth": truth, "answers": answers,
        "contents": tuple(map(digest, contents or names)), "labels": ("a", "b"),
        "counts": {"right": np.array(right, float), "nats": np.where(right, 0.1, 2.0)},
    }  # fmt: skip
    return AnswerRecord(**(fields | more))


def test_runs_are_compared_by_what_they_kept(runs: list[Path], tmp_path: Path) -> None:
    found = compare(runs[0], runs[2], page=tmp_path / "page.html")
    by_name = {row.name: row for row in found.standings}
    for run in (runs[0], runs[2]):
        config = json.loads((run / "config.json").read_text("utf-8"))
        row = by_name[run.name]
        assert row.figure == pytest.approx(config["result"]["test"]["accuracy"])
        assert row.interval == pytest.approx(config["result"]["test"]["interval"])
        assert row.others[0][1] == pytest.approx(config["result"]["test"]["loss"], rel=1e-4)
        assert row.train_seconds == config["result"]["train_seconds"]
        assert row.latency is not None and 0 < row.latency.p50 <= row.latency.p95
        assert row.size == sum(file.stat().st_size for file in (run / "bundle").rglob("*") if file.is_file())
    assert found.samples == 60
    assert found.standings[0].figure >= found.standings[1].figure
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "好" in page and "<b>hasty" not in page and "McNemar" in page
    assert found.pictures.keys() == {one.place for one in found.apart[:24]}


def test_the_same_verdict_comes_from_bundles_on_the_data(runs: list[Path], data: Path, tmp_path: Path) -> None:
    for run, name in ((runs[0], "one"), (runs[2], "two")):
        shutil.copytree(run / "bundle", tmp_path / name)
    kept = compare(runs[0], runs[2], latency=False)
    anew = compare(tmp_path / "one", tmp_path / "two", on=data, latency=False)
    assert [v.difference.p for v in anew.verdicts] == [v.difference.p for v in kept.verdicts]
    assert [row.figure for row in anew.standings] == [row.figure for row in kept.standings]
    assert anew.standings[0].train_seconds is None and anew.standings[0].latency is None
    with pytest.raises(ConfigError, match="model file alone"):
        compare(tmp_path / "one", tmp_path / "two")


def test_runs_that_differ_only_in_their_seed_are_one_way_to_train(runs: list[Path]) -> None:
    found = compare(*runs, latency=False)
    assert [len(row.runs) for row in found.standings] in ([2, 1], [1, 2])
    several = next(row for row in found.standings if len(row.runs) == 2)
    assert several.spread is not None
    assert found.verdicts[0].difference.test == "paired randomisation and seeds"
    alone = compare(*runs[:2], latency=False)  # nothing else to compare them with
    assert [row.spread for row in alone.standings] == [None, None]


def test_the_command_and_python_say_the_same(command: Callable[..., Any], runs: list[Path]) -> None:
    shown = command("compare", runs[0], runs[2], "--json", "--no-latency")
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["verdict"] == corecur.compare(runs[0], runs[2], latency=False).sentence()
    assert Path("comparison.html").is_file()
    said = command("compare", runs[0], runs[2], "--no-latency", "--page", "sub/page.html")
    assert said.exit_code == 0 and found["verdict"] in said.stdout and Path("sub/page.html").is_file()


def test_data_that_was_learned_from_is_told(tmp_path: Path, runs: list[Path]) -> None:
    whole = write_shades(tmp_path / "whole", dict.fromkeys(SHADES, 6))
    found = [ImageClassifier(epochs=1, threads=1, widths=(4,), seed=s).fit(whole, out=tmp_path / "r") for s in (0, 1)]
    paths = [one.run.path for one in found if one.run is not None]
    told = compare(*paths, on=whole, latency=False)
    assert all(any(path.name in line and "trained on" in line for line in told.findings) for path in paths)


def test_taggers_are_compared_by_entities(tmp_path: Path) -> None:
    paths = []
    for epochs in (1, 5):
        result = SequenceTagger(epochs=epochs, units=8, threads=1).fit(SENTENCES, TAGS, test=0.3, out=tmp_path / "r")
        assert result.run is not None
        paths.append(result.run.path)
        assert read_record(paths[-1] / "answers.json") is not None
        found = compare(*paths, latency=True) if len(paths) == 2 else None
    assert found is not None
    assert found.measure.name == "F1 of entities"
    assert found.standings[0].figure == pytest.approx(result.test.f1)
    assert {v.title.partition(" (")[0] for v in found.slices} | {s.partition(" (")[0] for s in found.too_small} >= {
        "PER"
    }


@pytest.mark.parametrize("number", [2, 8])
def test_many_models_are_ranked_and_each_pair_is_corrected(number: int) -> None:
    random = np.random.default_rng(number)
    records = [record((random.random(200) < 0.7 + 0.03 * place).tolist()) for place in range(number)]
    found, findings = paired(records, [str(place) for place in range(number)])
    assert [one.counts["right"].sum() for one in found] == [one.counts["right"].sum() for one in records]
    assert not findings


def test_other_samples_are_left_out_and_told() -> None:
    one = record([True] * 6, contents=list("abcdef"))
    two = record([True, False] * 3, contents=list("fedcxy"))
    two = dataclasses.replace(two, truth=tuple("ba" * 3), answers=tuple("bb" * 3))
    found, findings = paired([one, two], ["one", "two"])
    assert [each.contents for each in found] == [tuple(map(digest, "cdef"))] * 2
    assert "in common" in findings[0]
    with pytest.raises(DataError, match="no test sample in common"):
        paired([one, record([True] * 2, contents=["p", "q"])], ["one", "two"])


def test_copies_are_paired_in_their_order_and_doubtful_truths_left_out() -> None:
    one = record([True, True, False, True], contents=["a", "b", "a", "b"])
    found, _ = paired([one, taken(one, np.array([1, 0, 3, 2]))], ["one", "two"])
    assert [each.names for each in found] == [one.names, one.names]
    other = dataclasses.replace(one, truth=("b", *one.truth[1:]))
    found, findings = paired([one, other], ["one", "two"])
    assert len(found[0]) == 3 and "labelled differently" in findings[0]


def test_pictures_of_other_sizes_are_paired_by_name() -> None:
    one, two = record([True] * 4, form="8 × 8 × 1"), record([False] * 4, contents=list("wxyz"), form="16 × 16 × 1")
    found, findings = paired([one, two], ["one", "two"])
    assert len(found[0]) == 4 and "by their names" in findings[0]


def test_forecasters_in_other_units_are_brought_to_one() -> None:
    def forecast(units: list[float], square: list[float]) -> AnswerRecord:
        columns = {f"column {c}": {"square": np.array(square), "absolute": np.array(square)} for c in "xy"}
        same = {"horizon": 3, "columns": ["x", "y"], "units": units}
        counts = {"square": np.array(square), "absolute": np.array(square)}
        return AnswerRecord("forecasting", "windows", ("a", "b"), ("1", "2"), counts, parts=columns, same=same)

    (_, found), _ = paired([forecast([1.0, 1.0], [1.0, 2.0]), forecast([2.0, 1.0], [1.0, 2.0])], ["a", "b"])
    assert found.counts["square"].tolist() == [2.5, 5.0]  # (4 + 1) / 2 of each
    assert found.counts["absolute"].tolist() == [1.5, 3.0]


def test_what_cannot_be_compared_is_refused(runs: list[Path], trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two models or more"):
        compare(runs[0])
    with pytest.raises(ConfigError, match="named twice"):
        compare(runs[0], runs[0] / "bundle")
    with pytest.raises(RunError, match="no model"):
        stopped = shutil.copytree(runs[0], tmp_path / "stopped")
        shutil.rmtree(stopped / "bundle")
        compare(runs[0], stopped)
    with pytest.raises(ConfigError, match="kept no answers"):
        old = shutil.copytree(runs[0], tmp_path / "old")
        (old / "answers.json").unlink()
        compare(runs[0], old)
    with pytest.raises(RunError, match="damaged"):
        (old / "answers.json").write_text('{"version": 1}')
        compare(runs[0], old)
    with pytest.raises(ConfigError, match="different tasks"):
        tagger = SequenceTagger(epochs=1, units=4, threads=1)
        tagger.fit(SENTENCES[:30], TAGS[:30])
        compare(runs[0], tagger.save(tmp_path / "tagger"))
    with pytest.raises(corecur.CorecurError):
        compare(runs[0], tmp_path / "nowhere")
    one = record([True] * 4)
    with pytest.raises(ConfigError, match="different labels") as error:
        paired([one, dataclasses.replace(one, labels=("a", "c"))], ["one", "two"])
    assert "b, c" in str(error.value)
    paired([one, dataclasses.replace(one, labels=("b", "a"))], ["one", "two"])  # another order is none
    with pytest.raises(ConfigError, match="horizon"):
        paired([dataclasses.replace(one, same={"horizon": h}) for h in (1, 2)], ["one", "two"])
    with pytest.raises(ConfigError, match="different ways"):
        paired([one, dataclasses.replace(one, kind="tags")], ["one", "two"])


def test_a_record_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    one = record([True, False] * 5, texts=tuple("猫<b>" for _ in range(10)), sizes=tuple(range(10)))
    (tmp_path / "answers.json").write_text(json.dumps(one.as_json()))
    found = read_record(tmp_path / "answers.json")
    assert found is not None
    for figure in FIGURES["classes"]:
        assert np.allclose(found.table(figure), one.table(figure))
    assert found.as_json() == one.as_json()
    assert read_record(tmp_path / "none.json") is None


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names([Path("/r/a/b"), Path("/r/c/b"), Path("/r/d")]) == ["a/b", "c/b", "d"]

"""Combinations: exact, saved and loaded, fitted on validation alone, and refused where they make no sense."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.combine.combination import Combination, combine
from corecur.combine.members import open_members
from corecur.combine.unseen_splits import read_splits
from corecur.engine.calibration import tempered
from corecur.errors import ConfigError, DataError
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.tasks import load_learner
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.verification import verify

QUICK: dict[str, Any] = {"epochs": 1, "widths": (8, 16), "threads": 1, "split_seed": 0}
TEXTS = ["good film", "fine film", "bad film", "dull film", "good dull film", "fine bad one"] * 60
LABELS = ["+", "+", "-", "-", "+", "-"] * 60


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs on digits that differ in their seed alone."""
    out = tmp_path_factory.mktemp("runs")
    found = []
    for seed in range(3):
        result = ImageClassifier(seed=seed, **QUICK).fit("digits", out=out / str(seed), baseline="none")
        assert result.run is not None
        found.append(result.run.path)
    return found


@pytest.fixture(scope="module", params=["average", "weighted", "stacking", "soup"])
def made(request: Any, runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Combination:
    return combine(runs, "digits", method=request.param, out=tmp_path_factory.mktemp("made") / "bundle", threads=1)


def test_it_is_a_bundle_like_any_other(made: Combination) -> None:
    images = torch.randint(0, 255, (5, 8, 8, 1), dtype=torch.uint8)
    again = load_learner(made.path)
    assert torch.equal(again.probabilities(images), made.learner.probabilities(images))  # type: ignore[attr-defined]
    assert verify(made.path).error is None
    assert made.proof is not None
    whole = again.evaluate(*_test_digits())
    assert whole.as_json()["accuracy"] == pytest.approx(made.proof.rivals[0].figure)


def _test_digits() -> tuple[Any, Any]:
    held = ImageClassifier(split_seed=0).read("digits").test
    assert held is not None and held.labels is not None
    return held.images, [str(label) for label in held.labels.tolist()]


def test_the_proof_stands_in_the_card_and_in_json(made: Combination) -> None:
    assert made.proof is not None
    card = (made.path / "card.md").read_text("utf-8")
    assert made.proof.verdict() in card and made.sentence() in card
    found = json.loads(json.dumps(made.as_json(), allow_nan=False))
    assert [one["name"] for one in found["proof"]["models"]][0] == "combination"
    assert found["proof"]["best_member"] in made.weights and len(found["proof"]["differences"]) == 3
    best = max(one["value"] for one in found["proof"]["models"][1:])
    assert next(o["value"] for o in found["proof"]["models"] if o["name"] == found["proof"]["best_member"]) == best
    assert sum(made.weights.values()) == pytest.approx(1, abs=1e-4) or made.method == "stacking"


def test_members_answer_as_they_do_alone(runs: list[Path], made: Combination) -> None:
    assert made.proof is not None
    for rival, path in zip(made.proof.rivals[1:], runs, strict=True):
        assert load_learner(path).evaluate(*_test_digits()).as_json()["accuracy"] == pytest.approx(rival.figure)


def test_the_average_is_the_mean_of_calibrated_answers(runs: list[Path], tmp_path: Path) -> None:
    learners: list[Any] = [load_learner(path) for path in runs]
    images, _ = _test_digits()
    mean = torch.stack([one.probabilities(images).double() for one in learners]).mean(0)
    found = combine(runs, "digits", out=tmp_path / "a", threads=1)
    learner: Any = found.learner
    torch.testing.assert_close(learner.uncalibrated(images).double(), mean, atol=2e-6, rtol=1e-4)
    wanted = tempered(learner.uncalibrated(images), learner.preprocess.temperature)
    assert torch.equal(learner.probabilities(images), wanted)


def test_another_order_of_labels_is_aligned(runs: list[Path], tmp_path: Path) -> None:
    turned: Any = load_learner(runs[1])
    order = [3, 1, 2, 0, *range(4, 10)]
    head = [m for m in turned.network.modules() if type(m).__name__ == "Dense"][-1]
    with torch.no_grad():
        head.weight.copy_(head.weight[order])
    turned.classes = tuple(turned.classes[place] for place in order)
    turned.save(tmp_path / "turned")
    plain = combine([runs[0], runs[1]], "digits", out=tmp_path / "a", split_seed=0, threads=1)
    mixed = combine([runs[0], tmp_path / "turned"], "digits", out=tmp_path / "b", split_seed=0, threads=1)
    images, _ = _test_digits()
    a: Any = plain.learner
    b: Any = mixed.learner
    torch.testing.assert_close(a.probabilities(images), b.probabilities(images))
    assert plain.proof is not None and mixed.proof is not None
    assert [o.figure for o in plain.proof.rivals] == [o.figure for o in mixed.proof.rivals]
    assert mixed.findings[-1].kind == "unknown-splits"
    with pytest.raises(ConfigError, match="same architecture and order"):
        combine([runs[0], tmp_path / "turned"], "digits", method="soup", out=tmp_path / "c", split_seed=0)


def test_a_combination_can_be_a_member(runs: list[Path], tmp_path: Path) -> None:
    combine(runs[:2], "digits", out=tmp_path / "two", threads=1)
    found = combine([tmp_path / "two", runs[2]], "digits", out=tmp_path / "three", threads=1, split_seed=0)
    assert verify(found.path).error is None


def test_what_cannot_be_combined(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="two members or more"):
        combine(runs[:1], "digits", out=out)
    with pytest.raises(ConfigError, match="given twice"):
        combine([runs[0], runs[0] / "bundle"], "digits", out=out)
    with pytest.raises(ConfigError, match="no way to combine"):
        combine(runs, "digits", out=out, method="vote")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="validation samples"):
        copies = [shutil.copytree(run / "bundle", tmp_path / str(n)) for n, run in enumerate(runs)]
        combine(copies, "digits", out=out, method="weighted", validation=0)
    with pytest.raises(DataError, match="other classes"):
        combine(runs, *_two_classes(), out=out)
    with pytest.raises(ConfigError, match="replace one of its members"):
        combine(runs, "digits", out=runs[1] / "bundle")
    assert not out.exists()


def _two_classes() -> tuple[Any]:
    return ((torch.zeros(40, 8, 8, 1, dtype=torch.uint8), [0, 1] * 20),)


def test_members_of_other_splits_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = ImageClassifier(seed=7, **QUICK | {"split_seed": None}).fit("digits", out=tmp_path, baseline="none")
    assert other.run is not None
    with pytest.raises(ConfigError, match=r"has learned from samples of this validation and test split"):
        combine([runs[0], other.run.path], "digits", out=tmp_path / "out")


def test_models_of_other_tasks_and_networks(runs: list[Path], tmp_path: Path) -> None:
    text = TextClassifier(epochs=1, threads=1, embedding=8, units=4)
    text.fit(TEXTS, LABELS, baseline="none")
    text.save(tmp_path / "text")
    with pytest.raises(ConfigError, match="different tasks"):
        open_members([runs[0], tmp_path / "text"])
    wide = ImageClassifier(**QUICK | {"widths": (16, 16)})
    wide.fit("digits", baseline="none")
    wide.save(tmp_path / "wide")
    with pytest.raises(ConfigError, match="same architecture"):
        combine([runs[0], tmp_path / "wide"], "digits", method="soup", out=tmp_path / "out", split_seed=0)
    few = ImageClassifier(**QUICK)
    few.fit(torch.randint(0, 255, (60, 8, 8, 1), dtype=torch.uint8), [0, 1] * 30, baseline="none")
    few.save(tmp_path / "few")
    with pytest.raises(ConfigError, match="different labels"):
        open_members([runs[0], tmp_path / "few"])


@pytest.mark.parametrize("method", ["average", "weighted", "stacking"])
def test_texts_and_series(method: Any, tmp_path: Path) -> None:
    texts, series = [], []
    values = torch.randn(120, 16, generator=torch.Generator().manual_seed(0))
    values[::2] += torch.linspace(-2, 2, 16)
    labels = ["up", "flat"] * 60
    for seed in range(2):
        reader = TextClassifier(epochs=1, threads=1, seed=seed, split_seed=0, embedding=8, units=4)
        reader.fit(TEXTS, LABELS, validation=0.2, baseline="none")
        texts.append(reader.save(tmp_path / f"t{seed}"))
        curves = SeriesClassifier(model="fcn", filters=4, epochs=2, seed=seed, split_seed=0, threads=1)
        curves.fit(values, labels, validation=0.5, baseline="none")
        series.append(curves.save(tmp_path / f"s{seed}"))
    for paths, source in ((texts, (TEXTS, LABELS)), (series, (values, labels))):
        found = combine(paths, source, method=method, out=tmp_path / "out", validation=0.2, threads=1, split_seed=0)
        assert found.proof is not None and verify(found.path).error is None
        assert load_learner(found.path).task == found.learner.task


def test_forecasts(tmp_path: Path) -> None:
    paths = []
    for seed in range(2):
        learner = Forecaster(seed=seed, epochs=1, hidden=8, rows=480, target=("load",), threads=1)
        learner.fit("demand", baseline="none")
        paths.append(learner.save(tmp_path / str(seed)))
    found = combine(paths, "demand", method="weighted", out=tmp_path / "out", threads=1)
    again: Any = load_learner(found.path)
    members: list[Any] = [load_learner(path) for path in paths]
    inputs = torch.randn(2, again.preprocess.lookback, 1)
    with torch.no_grad():
        parts = [one.network(inputs) * share for one, share in zip(members, found.weights.values(), strict=True)]
        torch.testing.assert_close(again.network(inputs), torch.stack(parts).sum(0), atol=1e-5, rtol=1e-5)
    stacked = combine(paths, "demand", method="stacking", out=tmp_path / "stacked", threads=1)
    assert "for each step" in stacked.sentence() and verify(stacked.path).error is None
    _check_steps(stacked, paths, members)


def _check_steps(stacked: Combination, paths: list[Path], members: list[Any]) -> None:
    """At each step no weights of a grid have less quantile loss on the validation rows, counted in NumPy."""
    again: Any = load_learner(stacked.path)
    data, _ = read_splits(open_members(paths), "demand")
    windows = again.windows(data.validation)
    chosen = torch.linspace(0, windows.samples - 1, min(windows.samples, 400)).long()
    batch = windows.windows(chosen)
    truth = batch.targets.double().numpy()[..., None]
    with torch.no_grad():
        found, *parts = (one.network.eval()(batch.inputs).double().numpy() for one in (again, *members))
    levels = np.array(again.preprocess.quantiles)

    def loss(answers: Any) -> Any:
        error = truth - answers  # (W, H, C, Q)
        return np.maximum(levels * error, (levels - 1) * error).mean((0, 2, 3))

    grid = [loss(share * parts[0] + (1 - share) * parts[1]) for share in np.linspace(0, 1, 101)]
    assert (loss(found) <= np.min(grid, 0) + 1e-4).all()


def test_the_command(command: Callable[..., Any], runs: list[Path], tmp_path: Path) -> None:
    found = command("combine", *runs, "--on", "digits", "--out", tmp_path / "c", "--threads", "1")
    assert found.exit_code == 0 and "test accuracy" in found.stdout and "difference" in found.stdout
    again = command("combine", *runs, "--on", "digits", "--out", tmp_path / "c", "--threads", "1")
    assert "is replaced" in again.stdout and "is replaced" not in found.stdout
    values = command("combine", *runs, "--on", "digits", "--out", tmp_path / "c", "--threads", "1", "--json")
    assert json.loads(values.stdout)["proof"]["verdict"] in found.stdout
    assert command("info", tmp_path / "c").exit_code == 0
    alone = command("combine", runs[0], "--on", "digits", "--out", tmp_path / "d")
    assert alone.exit_code == 2 and "two members or more" in alone.stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    taken = command("combine", *runs, "--on", "digits", "--out", tmp_path / "full")
    assert taken.exit_code == 2 and "something else" in taken.stderr

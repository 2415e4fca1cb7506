from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.data.series.open_series import load_series
from corecur.errors import BundleError, ConfigError, DataError
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.tasks import find_task
from tests.learners.series_files import KINDS, made_up, write_problem, write_signals, write_ts

Command = Callable[..., Any]
QUICK: dict[str, Any] = {"filters": 8, "depth": 2, "epochs": 12, "batch_size": 6, "threads": 1, "precision": "float32"}
OPTIONS = ("--filters", 8, "--depth", 2, "--epochs", 12, "--batch-size", 6, "--threads", 1, "--precision", "float32")


def fitted(source: Any, labels: Any = None, **settings: Any) -> SeriesClassifier:
    learner = SeriesClassifier(**(QUICK | settings))
    learner.fit(source, labels)
    return learner


@pytest.fixture(scope="module")
def learner() -> SeriesClassifier:
    """Trained on series of many lengths."""
    series, labels = made_up(12, lengths=(20, 60))
    return fitted((series, labels))


@pytest.mark.parametrize("model", ["fcn", "inception", "resnet", "lstm-fcn", "hybrid", "fcn+inception"])
def test_every_network_learns_series_of_many_lengths(model: str) -> None:
    series, labels = made_up(12, lengths=(20, 60))
    epochs = 25 if model == "hybrid" else 12
    learner = fitted(((series, labels), made_up(5, seed=1, lengths=(20, 60))), model=model, epochs=epochs)
    found = learner.evaluate(*made_up(8, seed=2, lengths=(20, 60)))
    assert found.samples == 24 and found.accuracy > 0.85


def test_an_answer_does_not_depend_on_its_batch(learner: SeriesClassifier) -> None:
    series, _ = made_up(3, seed=3, lengths=(1, 90))
    together = learner.predict(series)
    for one, answer in zip(series, together, strict=True):
        (alone,) = learner.predict(one)
        for name in KINDS:
            assert alone.probabilities[name] == pytest.approx(answer.probabilities[name], abs=1e-5)


@pytest.mark.parametrize("model", ["fcn+inception", "lstm-fcn"])
def test_a_bundle_answers_as_the_learner_did(model: str, tmp_path: Path) -> None:
    learner = fitted(made_up(6, channels=2), model=model, epochs=2)
    path = learner.save(tmp_path / "bundle")
    again = SeriesClassifier.load(path)
    series, _ = made_up(3, seed=1, channels=2, lengths=(20, 50))
    assert again.classes == learner.classes
    assert again.predict(series) == learner.predict(series)


def test_the_same_seed_gives_the_same_weights() -> None:
    source = made_up(6, lengths=(20, 40))
    runs = [fitted(source, epochs=2, seed=seed, jitter=0.1, crop=0.2) for seed in (0, 0, 1)]
    first, second, other = (run.network.state_dict() for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_padding_of_the_source_changes_no_weight() -> None:
    """A test series as long as can be pads nothing of the training."""
    train = made_up(5, lengths=(20, 30))
    short, long = (fitted((train, made_up(1, seed=1, lengths=(n, n))), epochs=2) for n in (20, 200))
    for name, value in short.network.state_dict().items():
        assert torch.equal(value, long.network.state_dict()[name]), name


def test_few_series_are_all_learned_from_and_more_are_validated() -> None:
    few = SeriesClassifier().read(made_up(20))
    assert few.validation is None and few.test is not None and (len(few.train), len(few.test)) == (48, 12)
    many = SeriesClassifier().read(made_up(150))
    assert many.validation is not None and len(many.validation) > 20
    asked = SeriesClassifier().read(made_up(20), validation=0.2)
    assert asked.validation is not None and len(asked.validation) == 12


def test_mixing_and_members_go_together() -> None:
    learner = fitted(made_up(10, lengths=(20, 40)), model="fcn", members=3, mixup=0.3, time_warp=0.1, scale=0.1)
    assert learner.recipe is not None and learner.recipe.networks == ("fcn",) * 3
    assert learner.evaluate(*made_up(5, seed=1)).accuracy > 0.8


def test_time_is_kept_and_more_of_it_gives_more_members() -> None:
    learner = SeriesClassifier(filters=8, depth=1, threads=1)
    data = learner.read(made_up(10))
    assert learner.choose(data, seconds=10_000).members == 5
    assert learner.choose(data, seconds=0.1).members == 1
    result = learner.fit(data, seconds=2)
    assert result.seconds < 6 and not result.stopped_early


# The command


def test_train_evaluate_predict_info(command: Command, tmp_path: Path) -> None:
    source = write_problem(tmp_path / "Made", lengths=(25, 50))
    assert find_task(str(source)) == "series-classification"
    result = command("train", source, *OPTIONS)
    assert result.exit_code == 0, result.stderr
    assert "Made (problem): 3 classes, series of 2" in result.stdout and "30 training, 18 test" in result.stdout
    assert "none is held out for validation" in result.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert {entry.name for entry in run.iterdir()} == {
        "answers.json", "bundle", "checkpoints", "config.json", "doctor.jsonl", "log.txt", "metrics.jsonl",
        "report.html",
    }  # fmt: skip
    page = (run / "report.html").read_text("utf-8")
    assert "What speaks for the answers" in page and page.count("<polyline") > 12 and "fill-opacity" in page

    found = json.loads(command("evaluate", run, source, "--json").stdout)["test"]
    assert found["samples"] == 18 and found["accuracy"] > 0.8
    series, labels = made_up(2, seed=5, lengths=(25, 50))
    nameless = write_ts(tmp_path / "nameless.ts", series, None)
    answers = json.loads(command("predict", run, nameless, "--json").stdout)
    assert [a["file"] for a in answers] == [f"{nameless}[{n}]" for n in range(6)]
    assert sum(a["label"] == label for a, label in zip(answers, labels, strict=True)) >= 5
    assert command("predict", run, nameless, "--format", "csv").stdout.startswith("series,label,probability,slow")
    assert "parameters: " in command("info", run).stdout


def test_standard_input(command: Command, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from corecur.cli import app

    model = fitted(made_up(10)).save(tmp_path / "bundle")
    series, labels = made_up(1, seed=1)
    rows = "\n".join(", ".join(f"{value:.3f}" for value in one[:, 0]) for one in series)
    result = CliRunner().invoke(app, ["predict", str(model), "-", "--json"], input=rows)
    assert result.exit_code == 0, result.stderr
    answers = json.loads(result.stdout)
    assert [answer["file"] for answer in answers] == ["-[0]", "-[1]", "-[2]"]
    assert [answer["label"] for answer in answers] == labels
    empty = CliRunner().invoke(app, ["predict", str(model), "-"], input="")
    assert empty.exit_code == 1 and "there are no series here" in empty.stderr


def test_the_sample_is_found_by_its_name(command: Command) -> None:
    assert find_task("waves") == "series-classification"
    shown = json.loads(command("train", "waves", "--show-recipe", "--json").stdout)
    assert shown["task"] == "series-classification" and "scaling" in shown["recipe"]


def test_signals_of_a_body(command: Command, tmp_path: Path) -> None:
    source = write_signals(tmp_path / "UCI HAR Dataset")
    found = json.loads(command("train", source, "--json", *OPTIONS).stdout)
    assert found["task"] == "series-classification" and found["test"]["samples"] == 15
    assert found["test"]["accuracy"] > 0.8
    assert set(found["test"]["per_class"]) == {"SLOW", "FAST", "BUMP"}


# Bad input


def test_other_channels_are_refused(learner: SeriesClassifier) -> None:
    with pytest.raises(DataError, match="2 channels, not 1"):
        learner.predict([np.zeros((30, 2))])


def test_other_lengths_are_answered_and_told(learner: SeriesClassifier) -> None:
    assert len(learner.predict([np.zeros(1), np.zeros(500)])) == 2
    told = learner.evaluate([np.zeros(500), np.zeros(30)], ["slow", "fast"]).findings
    assert any("1 of 2 series are less than half or more than twice as long" in str(finding) for finding in told)


def test_labels_nobody_knows_are_refused_by_name(learner: SeriesClassifier) -> None:
    with pytest.raises(DataError, match="sideways"):
        learner.evaluate(made_up(1)[0], ["slow", "fast", "sideways"])


def test_an_evaluation_needs_labels(learner: SeriesClassifier) -> None:
    with pytest.raises(DataError, match="no labels to compare"):
        learner.evaluate(made_up(1)[0])


def test_gaps_are_filled_and_constant_channels_do_not_matter() -> None:
    series, labels = made_up(8, channels=2)
    for one in series:
        one[3:6, 0], one[:, 1] = np.nan, 4.0
    learner = fitted((series, labels))
    assert learner.evaluate(series, labels).accuracy > 0.8
    probabilities = learner.predict(series)[0].probabilities.values()
    assert all(np.isfinite(list(probabilities)))


def test_what_cannot_be_learned_from() -> None:
    series, labels = made_up(4)
    with pytest.raises(DataError, match="class"):
        fitted((series, ["same"] * len(series)))
    with pytest.raises(DataError, match="1 of 12 series cannot be used"):
        fitted(([*series[:-1], np.full(40, np.nan)], labels))
    with pytest.raises(DataError, match="labels"):
        fitted(series)


def test_one_sample_of_each_class_with_a_test_of_its_own() -> None:
    learner = fitted((made_up(1), made_up(3, seed=1)), epochs=3)
    assert learner.evaluate(*made_up(2, seed=2)).samples == 6
    with pytest.raises(DataError):
        fitted(made_up(1))


def test_an_empty_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.ts").write_text("")
    result = command("train", "empty.ts", "--task", "series-classification")
    assert result.exit_code == 1 and "empty" in result.stderr


def test_settings_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match="inception"):
        SeriesClassifier(model="inceptoin")
    with pytest.raises(ConfigError, match="scaling"):
        SeriesClassifier(scaling="sideways")
    with pytest.raises(ConfigError, match="too many members"):
        SeriesClassifier(model="fcn+inception", members=15)


def test_a_bundle_whose_parts_do_not_fit(tmp_path: Path) -> None:
    learner = fitted(made_up(4), epochs=1)
    learner._preprocess = learner.preprocess.model_copy(
        update={"preparation": load_series(made_up(2, channels=3)).preparation}
    )
    with pytest.raises(BundleError, match="another shape"):
        SeriesClassifier.load(learner.save(tmp_path / "bundle"))

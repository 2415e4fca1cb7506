"""Searches: what is tried, what chooses, what is tested, what is refused, and what a second call does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from corecur.errors import ConfigError, DataError, RunError, Stopped
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.learner import Learner
from corecur.run_lock import RunLock
from corecur.tuning import search_worker, trial_run
from corecur.tuning import tune as tune_module
from corecur.tuning.tuning_result import TuneResult
from tests.tuning.small_search import SETTINGS, SPACE, opened, rows_in, search, told


@pytest.fixture(scope="module")
def found(shades: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    return search(shades, tmp_path_factory.mktemp("search"))


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch, found: TuneResult) -> None:
    """Pages take longer than these searches; that of ``found`` is looked at."""
    monkeypatch.setattr(tune_module, "write_study", lambda result: None)


def weights_of(bundle: Path) -> dict[str, np.ndarray[Any, Any]]:
    return dict(load_file(bundle / "weights.safetensors"))


def test_trial_0_is_the_default_training_to_the_byte(found: TuneResult, shades: Path, tmp_path: Path) -> None:
    """Being watched, measured and asked about pruning changes nothing of a training."""
    ImageClassifier(widths=(4,), **SETTINGS).fit(shades, out=tmp_path)
    (bundle,) = tmp_path.glob("*/bundle")
    default = found.default
    assert default is not None and default.run is not None
    mine, plain = weights_of(found.folder / default.run / "bundle"), weights_of(bundle)
    assert mine.keys() == plain.keys() and all(np.array_equal(mine[name], plain[name]) for name in mine)


def test_the_best_settings_train_the_best_model_again(found: TuneResult, shades: Path, tmp_path: Path) -> None:
    ImageClassifier(widths=(4,), **SETTINGS, **found.best.settings).fit(shades, out=tmp_path)
    (bundle,) = tmp_path.glob("*/bundle")
    assert found.bundle is not None
    mine, again = weights_of(found.bundle), weights_of(bundle)
    assert all(np.array_equal(mine[name], again[name]) for name in mine)


def test_a_trials_value_is_what_its_model_comes_to_on_the_validation(found: TuneResult, shades: Path) -> None:
    data = ImageClassifier(seed=SETTINGS["seed"]).read(shades)
    held: Any = data.validation
    for row in found.rows:
        assert row.run is not None
        learner = ImageClassifier.load(found.folder / row.run / "bundle")
        answers = learner.probabilities(held.images).numpy().argmax(1)
        assert row.value == pytest.approx(float(np.mean(answers == held.labels.numpy())), abs=1e-6)


def test_the_best_is_the_best_and_no_worse_than_the_default(found: TuneResult) -> None:
    assert found.default is not None and found.best.value == max(row.value or 0.0 for row in found.rows)
    assert found.rows[0].settings == {} and [row.number for row in found.rows] == list(range(4))
    assert all(set(row.settings) == set(SPACE) for row in found.rows[1:])
    assert all(0.01 <= row.settings["learning_rate"] <= 0.5 for row in found.rows[1:])


def test_what_is_written_can_be_read_again(found: TuneResult) -> None:
    result = json.loads((found.folder / "result.json").read_text())
    assert result["best"]["number"] == found.best.number and len(result["trials"]) == 4
    assert result["command"].startswith("corecur train ") and "--widths 4" in result["command"]
    page = (found.folder / "study.html").read_text()
    assert "Validation accuracy by trial" in page and result["command"].split()[-1] in page
    assert found.learner().evaluate is not None
    assert not list(found.folder.glob("trials/*/*/checkpoints"))  # what only an interrupted training needs


def test_no_trial_sees_the_test_split_and_two_models_are_tested_once(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[bool] = []
    trained: list[bool] = []
    plain, plan = ImageClassifier.test, ImageClassifier.plan

    def watched(learner: ImageClassifier, data: Any) -> Any:
        tested.append(data.test is not None)
        return plain(learner, data)

    def seen(learner: ImageClassifier, data: Any, recipe: Any) -> Any:
        trained.append(data.test is not None)
        return plan(learner, data, recipe)

    monkeypatch.setattr(ImageClassifier, "test", watched)
    monkeypatch.setattr(ImageClassifier, "plan", seen)
    first = search(shades, tmp_path, trials=2)
    assert trained == [False] * 2 and tested.count(False) == 2
    wanted = len({first.best.number, 0})
    assert tested.count(True) == wanted == len(first.tests)
    again = search(shades, tmp_path, trials=2)
    assert tested.count(True) == wanted and again.tests == first.tests and again.best == first.best


def test_a_search_in_two_calls_is_the_search_in_one(found: TuneResult, shades: Path, tmp_path: Path) -> None:
    search(shades, tmp_path, trials=1)
    second = search(shades, tmp_path, trials=3)
    assert told(second.rows) == told(found.rows[:3])


def test_another_search_in_the_same_place_is_refused(found: TuneResult, shades: Path, split_shades: Path) -> None:
    out = found.folder.parent
    with pytest.raises(ConfigError, match="of another search(.|\n)*source"):
        search(split_shades, out, study=found.folder.name)
    with pytest.raises(ConfigError, match="of another search(.|\n)*space"):
        search(shades, out, search={"learning_rate": "0.1..0.2"})
    with pytest.raises(ConfigError, match="of another search(.|\n)*settings"):
        search(shades, out, widths=(8,))


def test_two_controllers_of_one_study_are_one_too_many(found: TuneResult, shades: Path) -> None:
    with RunLock(found.folder), pytest.raises(RunError, match="another process writes"):
        search(shades, found.folder.parent)


def test_data_that_changed_are_another_search(tmp_path: Path, shades: Path) -> None:
    source = tmp_path / "copy"
    for file in shades.rglob("*.png"):
        target = source / file.relative_to(shades)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    search(source, tmp_path / "out", trials=1)
    (source / "dark" / "0.png").unlink()
    with pytest.raises(ConfigError, match="of another search(.|\n)*data"):
        search(source, tmp_path / "out", trials=1)


def test_a_grid_goes_through_every_point_once_after_the_default(shades: Path, tmp_path: Path) -> None:
    result = search(
        shades, tmp_path, sampler="grid", per_range=2, trials=None, epochs=1,
        search={"learning_rate": "0.01..0.1", "label_smoothing": "0,0.1"},
    )  # fmt: skip
    assert [tuple(row.settings.values()) for row in result.rows] == [
        (), (0.01, 0.0), (0.1, 0.0), (0.01, 0.1), (0.1, 0.1),
    ]  # fmt: skip


def test_too_large_networks_are_refused_before_training(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corecur.engine.trainer import Trainer

    trained: list[int] = []
    step = Trainer.train_step

    def counted(trainer: Trainer, batch: Any) -> Any:
        trained.append(sum(weights.numel() for weights in trainer.network.parameters()))
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "train_step", counted)
    result = tune_module.tune(
        shades, out=tmp_path, search={"widths": "4,8x16,32x64"}, max_parameters=20_000, **SETTINGS | {"epochs": 1}
    )
    ends = {tuple(row.settings.get("widths", ())): row.end for row in result.rows}
    assert ends == {(): "refused", (4,): "done", (8, 16): "done", (32, 64): "refused"}
    assert trained and max(trained) <= 20_000
    assert all(row.why.endswith("parameters") for row in result.rows if row.end == "refused")
    assert result.default is None and result.best.parameters is not None and result.best.parameters <= 20_000


def test_where_nothing_fits_the_limits_that_is_said(shades: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no trial ran to its end(.|\n)*refused(.|\n)*--max-parameters"):
        search(shades, tmp_path, search={"label_smoothing": "0"}, max_parameters=10)
    with pytest.raises(RunError, match="ms a sample"):
        search(shades, tmp_path, study="slow", search={"label_smoothing": "0"}, max_latency=1e-9)


class Clock:
    """The time, which jumps to the end of all days after so many steps of a training."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.perf_counter, self.monotonic = time.perf_counter, time.monotonic

    def time(self) -> float:
        return time.time() if self.steps > 0 else math.inf


def test_a_time_too_short_for_one_trial_is_said_and_more_time_goes_on_with_it(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"epochs": 6, "trials": 1, "save_every": "5"}
    clock, step = Clock(12), trial_run.TrialWatch.on_train_batch_end

    def counted(watch: Any, batch: int, logs: Any = None) -> None:
        clock.steps -= 1
        step(watch, batch, logs)

    with monkeypatch.context() as patched:
        patched.setattr(trial_run.TrialWatch, "on_train_batch_end", counted)
        for module in (trial_run, search_worker):
            patched.setattr(module, "time", clock)
        with pytest.raises(
            RunError, match="out of time in epoch 4 of 6(.|\n)*too short for one trial: give more --time"
        ):
            search(shades, tmp_path, seconds=600, **given)
    (row,) = rows_in(tmp_path / "tune-photos")
    assert row.end is None and row.why == "out of time in epoch 4 of 6"
    (run,) = (tmp_path / "tune-photos" / "trials" / "0000").iterdir()
    assert list(run.glob("checkpoints/step-*"))
    result = search(shades, tmp_path, seconds=1200, **given)
    assert "going on at step" in (run / "log.txt").read_text()
    assert [row.end for row in result.rows] == ["done"] and result.best.run == run.relative_to(result.folder).as_posix()
    with pytest.raises(RunError, match="0 trials(.|\n)*too short for one trial"):
        search(shades, tmp_path, study="none", seconds=1e-6, **given)


def test_a_trial_that_cannot_be_trained_is_a_trial_that_failed(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ImageClassifier.plan

    def failing(learner: ImageClassifier, data: Any, recipe: Any) -> Any:
        if recipe.label_smoothing == 0.1:
            raise DataError("these settings do not fit the data")
        return plan(learner, data, recipe)

    monkeypatch.setattr(ImageClassifier, "plan", failing)
    given: dict[str, Any] = {"search": {"label_smoothing": "0.1,0.2"}, "epochs": 1}
    with pytest.raises(DataError, match="do not fit"):  # the default recipe smooths by 0.1: the data are to blame
        search(shades, tmp_path, **given)
    result = search(shades, tmp_path, **given)
    assert [row.end for row in result.rows] == ["failed", "failed", "done"]
    assert result.best.number == 2 and result.rows[1].why == "these settings do not fit the data"


def test_a_run_that_was_complete_before_a_kill_is_not_trained_again(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*words: Any, **more: Any) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patched:
        patched.setattr(trial_run, "_end", dying)
        with pytest.raises(SystemExit):
            search(shades, tmp_path, trials=2)
    fits: list[Any] = []
    fit = Learner.fit
    monkeypatch.setattr(Learner, "fit", lambda *words, **more: fits.append(more) or fit(*words, **more))
    result = search(shades, tmp_path, trials=2)
    assert [row.end for row in result.rows] == ["done", "done"] and len(fits) == 1


def test_a_request_to_stop_ends_a_search_which_the_same_call_goes_on_with(
    found: TuneResult, shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corecur import interruption

    epoch_end = trial_run.TrialWatch.on_epoch_end

    def asking(watch: Any, epoch: int, logs: Any = None) -> None:
        epoch_end(watch, epoch, logs)
        if watch.number == 1 and epoch == 0:
            interruption.request()

    with monkeypatch.context() as patched:
        patched.setattr(trial_run.TrialWatch, "on_epoch_end", asking)
        with pytest.raises(Stopped, match="go on with: corecur tune"):
            search(shades, tmp_path, trials=3, again="corecur tune photos")
    assert [row.end for row in rows_in(tmp_path / "tune-photos")] == ["done", None]
    assert told(search(shades, tmp_path, trials=3).rows) == told(found.rows[:3])


def test_values_in_python_are_searched_by_one_process(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (random.integers(0, 60, (60, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    given: dict[str, Any] = {"task": "image-classification", "labels": labels, "trials": 2, "epochs": 1}
    result = search(images, tmp_path, **given)
    assert len(result.rows) == 2 and result.request.source is None
    with pytest.raises(ConfigError, match="several workers"):
        search(images, tmp_path, workers=2, **given)
    with pytest.raises(ConfigError, match="do not say what they are for"):
        search(images, tmp_path, **given | {"task": "auto"})


def test_where_no_validation_is_held_out_some_is_and_that_is_said(tmp_path: Path) -> None:
    from corecur.learners.series_classifier import SeriesClassifier

    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    series = random.normal(size=(60, 20, 1)) + 3 * labels[:, None, None]
    assert not SeriesClassifier().read(series, labels).validation
    lines: list[str] = []
    given: dict[str, Any] = {"task": "series-classification", "model": "fcn", "filters": 4, "epochs": 1, "threads": 1}
    result = tune_module.tune(
        series, labels, search={"learning_rate": "0.01,0.02"}, out=tmp_path, tell=lines.append, **given
    )
    assert "20 % of the training data are held out" in "\n".join(lines)
    assert result.request.validation == 0.2 and "--validation 0.2" in result.command
    with pytest.raises(ConfigError, match="needs validation data"):
        tune_module.tune(series, labels, out=tmp_path, validation=0, **given)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"trials": 0}, "trials must be positive"),
        ({"seconds": -1.0}, "seconds must be positive"),
        ({"max_latency": float("nan")}, "max_latency must be positive"),
        ({"per_range": 1}, "two points"),
        ({"sampler": "tp"}, "unknown sampler"),
        ({"pruner": "half"}, "unknown pruner"),
        ({"search": {}}, "the search space is empty"),
        ({"search": {"size": "8,16"}}, "how the data are read"),
        ({"search": {"widths": "4,8"}}, "both given and searched"),
        ({"study": "///"}, "no name for a study"),
        ({"save_every": "often"}, "how often to save"),
        ({"task": "forecastin"}, "unknown task"),
    ],
)
def test_wrong_arguments_are_refused_and_leave_nothing(
    shades: Path, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        search(shades, tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


def test_the_default_is_never_pruned_and_others_only_below_the_median_at_their_epoch(
    shades: Path, tmp_path: Path
) -> None:
    result = search(
        shades, tmp_path, search={"learning_rate": "0.3,0.25,0.2,1e-6,2e-6"}, trials=9, epochs=3, pruner="median",
    )  # fmt: skip
    assert result.rows[0].end == "done"
    pruned = 0
    with contextlib.closing(opened(result.folder)) as book:
        trials = book.trials()
    for trial, row in zip(trials, result.rows, strict=True):
        if row.end == "pruned":
            pruned += 1
            epoch = max(trial.intermediate_values)
            before = [other.intermediate_values[epoch] for other, its in zip(trials, result.rows, strict=True)
                      if other.number < trial.number and its.end == "done"]  # fmt: skip
            assert epoch < 3 and row.value is None and max(trial.intermediate_values.values()) < np.median(before)
    assert pruned


def test_measuring_a_network_leaves_it_and_the_random_numbers_as_they_were() -> None:
    from corecur.data.batches import Batch

    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    found = trial_run.sizes_of(network, Batch(torch.ones(8, 4)))
    assert torch.equal(torch.rand(3), expected) and network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert found.parameters == 4 * 4 + 4 + 4 + 4 and 0 < found.latency < 1


def test_rows_are_plain_values(found: TuneResult) -> None:
    with contextlib.closing(opened(found.folder)) as book:
        assert book.request.differences(found.request) == []
    assert json.loads(json.dumps(dataclasses.asdict(found.rows[1])))["number"] == 1

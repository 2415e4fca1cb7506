"""The forecaster from Python and by the command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur import Forecaster
from corecur.errors import BundleError, ConfigError, DataError
from corecur.learners.tasks import find_task, load_learner

from .forecast_tables import QUICK, lines, waves, write

Command = Callable[..., Any]
WORDS = ("--epochs", 3, "--hidden", 8, "--threads", 1)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 300 hours."""
    return write(tmp_path_factory.mktemp("tables") / "good.csv", lines(waves(300)))


@pytest.fixture(scope="module")
def bundle(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forecaster trained on it."""
    learner = Forecaster(horizon=6, **QUICK)
    learner.fit(table)
    return learner.save(tmp_path_factory.mktemp("model") / "bundle")


def test_it_learns_a_wave_better_than_its_baselines(table: Path) -> None:
    learner = Forecaster(horizon=24, threads=1, hidden=8)
    result = learner.fit(table)
    test = result.test
    assert test.best_baseline == "seasonal naive"
    assert test.model.mse < 0.8 * test.baselines["seasonal naive"].mse
    assert test.windows == 60 - 24 + 1 and test.columns == ("load", "wind")
    (answer,) = learner.predict(table)
    assert answer.times[0] == "2024-01-13 12:00" and len(answer.times) == 24
    truth = waves(324)[300:]
    assert np.abs(answer.medians - truth).mean(0)[0] < 1.5
    assert bool((np.diff(answer.values, axis=-1) >= 0).all())


def test_the_seed_gives_the_bytes_of_the_model(table: Path, tmp_path: Path) -> None:
    contents = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)
        learner = Forecaster(seed=seed, model="segment-gru", **QUICK)
        learner.fit(table)
        path = learner.save(tmp_path / str(number))
        contents.append((path / "weights.safetensors").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_bundle_gives_the_same_answers_and_figures(table: Path, tmp_path: Path) -> None:
    learner = Forecaster(**QUICK)
    result = learner.fit(table)
    again = Forecaster.load(learner.save(tmp_path / "bundle"))
    assert np.array_equal(again.predict(table)[0].values, learner.predict(table)[0].values)
    found = again.evaluate(table)
    assert found.model.mse == pytest.approx(result.test.model.mse, rel=1e-9)
    assert "from 2024-01-11 00:00 on" in str(found.findings[-1])
    assert isinstance(load_learner(tmp_path / "bundle"), Forecaster)


def test_files_arrays_and_dicts_give_the_same(table: Path) -> None:
    values = np.array([[float(cell) for cell in line.split(",")[1:]] for line in table.read_text().splitlines()[1:]])
    named = {"load": values[:, 0], "wind": values[:, 1]}
    weights = []
    for source in (values, torch.from_numpy(values), named):
        learner = Forecaster(horizon=6, **QUICK)
        learner.fit(source)
        weights.append(learner.network.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in other)


def test_the_past_before_the_lookback_and_other_columns_do_not_matter(bundle: Path, tmp_path: Path) -> None:
    learner = Forecaster.load(bundle)
    lookback = learner.preprocess.lookback
    rows = lines(waves(300))
    whole = learner.predict(write(tmp_path / "whole.csv", rows))[0]
    short = learner.predict(write(tmp_path / "short.csv", rows[-lookback:]))[0]
    wider = [f"{row},{number}" for number, row in enumerate(rows)]
    more = learner.predict(write(tmp_path / "more.csv", wider, "time,load,wind,extra"))[0]
    shuffled = learner.predict(write(tmp_path / "shuffled.csv", rows[::-1]))[0]
    for other in (short, more, shuffled):
        np.testing.assert_allclose(other.values, whole.values, rtol=1e-5)
    with pytest.raises(DataError, match=rf"(?s)too short to forecast from.*{lookback - 1} rows.*last {lookback}"):
        learner.predict(write(tmp_path / "less.csv", rows[1 - lookback :]))


def test_targets_narrow_the_table(table: Path) -> None:
    learner = Forecaster(target=("wind",), **QUICK)
    learner.fit(table)
    assert learner.preprocess.columns == learner.predict(table)[0].columns == ("wind",)


def test_a_panel_is_forecast_series_by_series(tmp_path: Path) -> None:
    days = np.datetime64("2024-01-01") + np.arange(90)
    bases = {"a": 10, "b": 400}
    rows = [f"{shop},{day},{base + 5 * (i % 7)}" for shop, base in bases.items() for i, day in enumerate(days)]
    source = write(tmp_path / "panel.csv", rows, "series,day,sales")
    assert find_task(str(source)) == "forecasting"
    learner = Forecaster(threads=1, epochs=60, model="linear")
    result = learner.fit(source)
    assert result.test.windows == 2 * (18 - 11 + 1)
    first, second = learner.predict(source)
    assert (first.name, second.name) == ("a", "b") and first.times[0] == "2024-03-31"
    assert abs(first.medians.mean() - 25) < 6 and abs(second.medians.mean() - 415) < 6


def test_intervals_are_brought_to_their_level(table: Path) -> None:
    learner = Forecaster(epochs=2, hidden=8, threads=1, horizon=6, quantiles=(0.05, 0.25, 0.5, 0.75, 0.95))
    learner.fit(table)
    factors = np.array(learner.preprocess.widening)
    assert factors.shape == (2, 2) and bool((factors != 1).all())
    answer = learner.predict(table)[0]
    assert answer.level == pytest.approx(0.9) and answer.values.shape == (6, 2, 5)


def test_rows_that_training_saw_are_named(bundle: Path, table: Path, tmp_path: Path) -> None:
    learner = Forecaster.load(bundle)
    old = write(tmp_path / "old.csv", lines(waves(200)))
    assert "will be larger" in str(learner.evaluate(old).findings[-1])
    assert learner.evaluate(table, split="all").windows > learner.evaluate(table).windows
    new = write(tmp_path / "new.csv", lines(waves(200), start="2025-01-01"))
    found = learner.evaluate(new)
    assert found.findings == () and found.windows == 200 - learner.preprocess.lookback - 6 + 1


def test_parts_without_a_window_are_told_before_the_training(table: Path) -> None:
    learner = Forecaster(horizon=24, **QUICK)
    parts: list[dict[str, Any]] = [{"test": 5}, {"validation": 10}]
    for split in parts:
        with pytest.raises(DataError, match="shorter than one window") as refused:
            learner.fit(table, **split)
        assert "good.csv, rows" in "".join(refused.value.__notes__)
    with pytest.raises(DataError, match="too short for these parts"):
        Forecaster(horizon=200).fit(table)
    with pytest.raises(DataError, match="lookback 250"):
        Forecaster(horizon=6, lookback=250).fit(table)


def test_without_validation_and_test(table: Path) -> None:
    learner = Forecaster(horizon=6, **QUICK)
    result = learner.fit(table, validation=0, test=0, out=None)
    assert result.test is None and set(np.ravel(learner.preprocess.widening)) == {1.0}


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that cannot be learned from, and what is said of them."""
    rows = lines(waves(120))
    late = [f"{row.split(',')[0]},,1" for row in rows[:110]] + rows[110:]
    cases = {
        "twice": ([*rows[:50], *rows[49:]], "time,load,wind", "a time stands twice"),
        "ragged": ([*rows[:50], "2024-01-03 02:00,1", *rows[51:]], "time,load,wind", "another number of columns"),
        "header": (rows, "time,load,load", "two columns have one name"),
        "text": ([row.rsplit(",", 2)[0] + ",a,b" for row in rows], "time,load,wind", "no column of numbers"),
        "cell": ([*rows[:50], "2024-01-03 02:00,x,1", *rows[51:]], "time,load,wind", "'load' is not numeric"),
        "infinite": ([*rows[:50], "2024-01-03 02:00,inf,1", *rows[51:]], "time,load,wind", "infinite"),
        "huge": ([*rows[:50], "2024-01-03 02:00,1e200,1", *rows[51:]], "time,load,wind", "too large to compute"),
        "constant": ([row.split(",")[0] + ",7,7" for row in rows], "time,load,wind", "nothing to forecast"),
        "late": (late, "time,load,wind", "begins too late"),
        "one row": (rows[:1], "time,load,wind", "too short"),
    }
    return {name: (write(folder / f"{name}.csv", body, head), said) for name, (body, head, said) in cases.items()}


@pytest.mark.parametrize(
    "case", ["twice", "ragged", "header", "text", "cell", "infinite", "huge", "constant", "late", "one row"]
)
def test_what_cannot_be_learned_from_is_named(case: str, tmp_path: Path) -> None:
    source, said = damaged(tmp_path)[case]
    with pytest.raises(DataError, match=said) as refused:
        Forecaster(**QUICK).fit(source)
    assert source.name in str(refused.value)


def test_gaps_disorder_and_constants_are_handled_and_told(tmp_path: Path) -> None:
    rows = lines(waves(200))
    odd = [f"{row},4" for row in rows]
    odd[60:80] = [f"{row.split(',')[0]},,{row.split(',')[2]},4" for row in rows[60:80]]
    del odd[100:110]
    learner = Forecaster(horizon=6, **QUICK)
    result = learner.fit(write(tmp_path / "odd.csv", odd[::-1], "time,load,wind,flag"))
    told = " ".join(map(str, result.findings))
    for words in ("were sorted", "10 rows are missing", "missing values repeat the last one", "left out: 'flag'"):
        assert words in told
    assert all(np.isfinite(row["loss"]) for row in result.history)
    assert learner.preprocess.columns == ("load", "wind")


def test_other_tables_are_refused(bundle: Path, tmp_path: Path) -> None:
    learner, rows = Forecaster.load(bundle), lines(waves(120))
    narrow = write(tmp_path / "narrow.csv", [row.rsplit(",", 1)[0] for row in rows], "time,load")
    daily = [f"{np.datetime64('2024-01-01') + day},{day % 9},1" for day in range(120)]
    for answer in (learner.predict, learner.evaluate):
        with pytest.raises(DataError, match="'wind'"):
            answer(narrow)
        with pytest.raises(DataError, match="not as far apart"):
            answer(write(tmp_path / "daily.csv", daily))
        with pytest.raises(DataError, match="no such file"):
            answer(tmp_path / "nothing.csv")
    good = write(tmp_path / "good.csv", rows)
    (answered,) = learner.predict([narrow, good], skip_bad=True)
    assert answered.name == "good.csv" and "Set aside" in str(answered.findings[-1])
    with pytest.raises(DataError, match="'wind'"):
        learner.predict([narrow], skip_bad=True)


def test_wrong_settings_and_uses(table: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lookback'"):
        Forecaster(lookbak=5)
    with pytest.raises(ConfigError, match="not trained"):
        Forecaster().predict(table)
    with pytest.raises(ConfigError, match="labels"):
        Forecaster().fit(np.arange(100.0), np.arange(100))
    with pytest.raises(DataError, match="'lode'"):
        Forecaster(target=("lode",)).fit(table)


def test_a_bundle_whose_parts_do_not_fit_is_refused(bundle: Path, tmp_path: Path) -> None:
    learner = Forecaster.load(bundle)
    preprocess = learner.preprocess
    for change in (
        {"horizon": 7}, {"columns": ("load",)}, {"quantiles": (0.5, 0.1, 0.9)}, {"seen_until": "never"},
        {"naive_errors": (1.0,)}, {"widening": ((0.0,), (1.0,))},
    ):  # fmt: skip
        learner._preprocess = preprocess.model_copy(update=change)
        with pytest.raises(BundleError):
            Forecaster.load(learner.save(tmp_path / "wrong"))


# the command


def test_train_evaluate_predict_and_info(command: Command, table: Path, tmp_path: Path) -> None:
    found = command("train", table, "--horizon", 6, *WORDS)
    assert found.exit_code == 0, found.stderr
    for words in ("a row each hour", "6 rows ahead", "seasonal naive", "test MSE", "report: "):
        assert words in found.stdout
    (run,) = (tmp_path / "runs").iterdir()
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert config["task"] == "forecasting" and config["rows"] == {"training": 210, "validation": 30, "test": 60}
    assert config["result"]["test"]["mse"] > 0
    page = (run / "report.html").read_text("utf-8")
    for words in ("Forecasts", "MSE by step ahead", "Values in their interval", "corecur predict"):
        assert words in page

    answers = json.loads(command("predict", run, table, "--json").stdout)
    assert len(answers) == 1 and len(answers[0]["columns"]["load"]["forecast"]) == 6
    rows = list(csv.DictReader(io.StringIO(command("predict", run, table, "--format", "csv").stdout)))
    assert len(rows) == 12 and {row["column"] for row in rows} == {"load", "wind"}
    assert float(rows[0]["low"]) <= float(rows[0]["forecast"]) <= float(rows[0]["high"])
    assert "80 % interval" in command("predict", run, table).stdout
    evaluated = json.loads(command("evaluate", run, table, "--json").stdout)["test"]
    assert evaluated["mse"] == pytest.approx(config["result"]["test"]["mse"])
    assert "forecasting" in command("info", run).stdout


def test_standard_input_and_folders(
    command: Command, bundle: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(table.read_text("utf-8")))
    piped = Forecaster.load(bundle).predict([Path("-")])
    assert piped[0].name == "standard input"
    (in_folder,) = json.loads(command("predict", bundle, table.parent, "--json").stdout)
    assert in_folder["columns"]["load"]["forecast"] == piped[0].medians[:, 0].tolist()


def test_settings_by_name_and_the_recipe(command: Command, table: Path) -> None:
    words = ("--lookback", 48, "--quantiles", "0.05,0.5,0.95", "--target", "wind", "--validation", "2024-01-09")
    shown = command("train", table, *words, "--test", 40, "--show-recipe")
    assert shown.exit_code == 0, shown.stderr
    assert "192 training, 68 validation, 40 test rows" in shown.stdout
    for line in ("--lookback             48", "--quantiles            0.05,0.5,0.95", "--target               wind"):
        assert line in shown.stdout
    wrong = command("train", table, "--lookbak", 48)
    assert wrong.exit_code == 2 and "--lookback" in wrong.stderr


def test_a_time_budget_ends_the_training(command: Command, table: Path) -> None:
    found = command("train", table, "--time", "6s", "--hidden", 8, "--threads", 1, "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["seconds"] < 30

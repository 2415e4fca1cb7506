"""The run folder: whole or gone, and always readable as JSON."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from corecur.bundle.write import write_bundle
from corecur.data.batches import TensorBatches
from corecur.engine.losses import MeanSquaredError
from corecur.engine.trainer import Trainer
from corecur.errors import ConfigError, RunError
from corecur.run_folder import MetricsLog, RunFolder, check_writable, find_bundle


def strict(text: str) -> Any:
    """JSON without NaN and infinity."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def test_a_new_folder_with_time_and_name(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "runs", "digits") as run:
        assert re.fullmatch(r"\d{8}-\d{6}-digits", run.path.name)
        assert strict((run.path / "lock").read_text())["pid"] == os.getpid()
        assert (run.bundle, run.report) == (run.path / "bundle", run.path / "report.html")
        run.log("begun")
        run.log_metrics({"epoch": 1})
    assert sorted(os.listdir(run.path)) == ["log.txt", "metrics.jsonl"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d begun\n", (run.path / "log.txt").read_text())


def test_runs_of_one_second_get_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corecur.run_folder.time.strftime", lambda form: "20260101-000000")
    runs = [RunFolder.create(tmp_path, "a") for _ in range(3)]
    for run in runs:
        run.close()
    names = [run.path.name for run in runs]
    assert names == ["20260101-000000-a", "20260101-000000-a-1", "20260101-000000-a-2"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("my photos", "my-photos"), ("../../etc", "etc"), ("a/b\\c", "a-b-c"), ("猫と犬", "猫と犬"), ("..", "run"),
     ("", "run"), ("x" * 300, "x" * 60)],
)  # fmt: skip
def test_any_name_is_one_folder_in_its_parent(tmp_path: Path, name: str, stem: str) -> None:
    run = RunFolder.create(tmp_path, name)
    run.close()
    assert run.path.parent == tmp_path
    assert run.path.name.split("-", 2)[2] == stem


def test_the_config_is_json_whatever_is_in_it(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a")
    run.write_config({"epochs": 1})
    run.write_config({"source": Path("photos"), "größe": torch.float32, "broken": "\udcff"})
    found = strict((run.path / "config.json").read_text(encoding="utf-8"))
    assert found["source"] == "photos"
    assert found["größe"] == "torch.float32"
    assert sorted(os.listdir(run.path)) == ["config.json", "lock", "log.txt"]
    run.close()


def test_results_of_each_epoch_are_lines_of_json(tmp_path: Path) -> None:
    net, x = nn.Linear(2, 1), torch.ones(4, 2)
    trainer = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))
    with RunFolder.create(tmp_path, "a") as run:
        history = trainer.fit(TensorBatches(x, x[:, :1]), epochs=3, callbacks=[MetricsLog(run)])
        assert run.epochs == 3
    rows = [strict(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"epoch": number} | row for number, row in enumerate(history, start=1)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(tmp_path: Path, value: float) -> None:
    with RunFolder.create(tmp_path, "a") as run:
        MetricsLog(run).on_epoch_end(0, {"loss": value, "matrix": [[1]], "val_loss": 0.5})
    assert strict((run.path / "metrics.jsonl").read_text()) == {"epoch": 1, "loss": None, "val_loss": 0.5}


def test_a_run_that_fails_before_its_first_epoch_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as caught, RunFolder.create(tmp_path, "a"):
        raise KeyError("oh")
    assert os.listdir(tmp_path) == []
    assert "nothing; no epoch was finished" in caught.value.__notes__[0]


@pytest.mark.parametrize("error", [RuntimeError("it broke\nbadly"), KeyboardInterrupt()])
def test_a_run_that_fails_later_says_what_is_left(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, RunFolder.create(tmp_path, "a") as run:
        run.log_metrics({"epoch": 1})
        raise error
    assert sorted(os.listdir(run.path)) == ["log.txt", "metrics.jsonl"]
    assert re.search(r"log.txt, metrics.jsonl \(epochs finished: 1, no model\)", caught.value.__notes__[0])
    assert "ended early: " + (str(error).split("\n")[0] or "KeyboardInterrupt") in (run.path / "log.txt").read_text()


def test_a_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.create(tmp_path, "a")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"(?s)run folder cannot be written.*No space left"):
        run.write_config({})
    monkeypatch.undo()
    run.close()


# places


def test_a_place_with_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(RunError, match=r"(?s)file in the way.*--out"):
            RunFolder.create(place, "a")
    check_writable(tmp_path / "not" / "yet" / "there")
    assert os.listdir(tmp_path) == ["file"]


def test_a_place_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(RunError, match=r"(?s)cannot be written here.*no permission"):
        check_writable(tmp_path)


def test_runs_do_not_go_into_the_data(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "runs"):
        with pytest.raises(ConfigError, match="written into the data"):
            check_writable(place, tmp_path)
    check_writable(tmp_path / "runs", tmp_path / "photos")
    check_writable(tmp_path, "digits")


# bundles in them


def bundle(path: Path) -> Path:
    return write_bundle(path, model={}, weights={"w": torch.zeros(1)})


def test_the_bundle_of_a_run_is_found(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a")
    run.close()
    bundle(run.bundle)
    assert find_bundle(run.path) == find_bundle(run.bundle) == run.bundle
    assert find_bundle(tmp_path / "m.corecur") == tmp_path / "m.corecur"
    with pytest.raises(RunError, match=rf"(?s)folder of runs.*did you mean .*{run.path.name}"):
        find_bundle(tmp_path)


def test_a_run_without_a_bundle(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a")
    with pytest.raises(RunError, match="a run that goes on"):
        find_bundle(run.path)
    run.close()
    with pytest.raises(RunError, match="a run that was stopped"):
        find_bundle(run.path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no model file in this folder"):
        find_bundle(tmp_path / "empty")

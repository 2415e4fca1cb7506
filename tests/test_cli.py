"""The command as a person and as a script use it; bad input has tests of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from corecur.commands.shell import parse_seconds
from corecur.engine.intervals import wilson
from corecur.engine.trainer import Trainer
from corecur.errors import ConfigError
from corecur.version import __version__

Command = Callable[..., Any]
QUICK = ("--threads", 1, "--widths", "8,16")


def only_json(result: Any) -> Any:
    """The one JSON value on standard output."""
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def in_a_process(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command as a program."""
    line = [sys.executable, "-m", "corecur", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300, **options)


# train


def test_train_tells_tests_and_leaves_a_run_folder(command: Command, split_shades: Path, tmp_path: Path) -> None:
    result = command("train", split_shades, "--epochs", 2, *QUICK)
    assert result.exit_code == 0, result.stderr
    said = result.stdout
    assert "3 classes, 12 × 12 grey pictures; 65 training, 7 validation, 18 test" in said
    assert "classes: dark, grey, light" in said
    assert "! 2 epochs are little for this data" in said
    assert re.search(r"^light +\d", said, re.MULTILINE)
    assert re.search(r"test accuracy \d+\.\d\d %, 95 % interval .* \(\d+ of 18 samples\)", said)
    assert "epoch 2/2  loss" in result.stderr

    (run,) = (tmp_path / "runs").iterdir()
    assert {entry.name for entry in run.iterdir()} == {
        "answers.json", "bundle", "checkpoints", "config.json", "doctor.jsonl", "log.txt", "metrics.jsonl",
        "report.html",
    }  # fmt: skip
    relative = run.relative_to(tmp_path)
    assert f"report: {relative}/report.html" in said and "time: " in said
    for following in (f"predict {relative}/bundle {split_shades}/test/dark/0.png", f"info {relative}/bundle"):
        assert f"  corecur {following}" in said
        assert command(*following.split()).exit_code == 0
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert config["task"] == "image-classification" and config["source"] == str(split_shades)
    assert config["recipe"]["epochs"] == 2 and config["recipe"]["widths"] == [8, 16]
    assert config["samples"]["test"] == {"dark": 5, "grey": 6, "light": 7}
    assert {"torch", "corecur", "threads", "device", "precision"} <= set(config["environment"])
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [row["epoch"] for row in epochs] == [1, 2] and all("val_loss" in row for row in epochs)
    assert "test accuracy" in (run / "log.txt").read_text("utf-8")


def test_the_report_needs_nothing_from_outside(command: Command, shades: Path) -> None:
    found = only_json(command("train", shades, "--epochs", 1, *QUICK, "--json"))
    page = Path(found["report"]).read_text("utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "data:image/" in page and "photos: image classification" in page
    fetched = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)|url\(([^)]+)\)|@import""", page)
    assert all((one or two).startswith(("data:", "#")) for one, two in fetched)
    for title in ("Curves", "Confusion", "Per class", "Worst mistakes", "What the first layers see", "Environment"):
        assert title in page


def test_train_as_json(command: Command, split_shades: Path, tmp_path: Path) -> None:
    result = command("train", split_shades, "--epochs", 2, *QUICK, "--json", "--out", "r r")
    found = only_json(result)
    assert result.stderr == ""
    assert found["task"] == "image-classification"
    assert 0 < found["train_seconds"] < found["seconds"]
    assert Path(found["run"]).parent == Path("r r") and Path(found["bundle"]) == Path(found["run"]) / "bundle"
    test = found["test"]
    assert test["samples"] == 18 and test["accuracy"] == test["correct"] / 18
    assert test["interval"] == pytest.approx(wilson(test["correct"], 18)) and test["level"] == 0.95
    assert list(test["per_class"]) == ["dark", "grey", "light"]
    kept = json.loads((tmp_path / found["run"] / "config.json").read_text("utf-8"))["result"]
    assert kept.pop("seconds") <= found["seconds"]
    assert kept == {name: value for name, value in found.items() if name not in ("task", "seconds")}
    # The same test, from the model file alone.
    again = only_json(command("evaluate", found["bundle"], split_shades, "--json"))
    assert again["test"] == test
    assert only_json(command("evaluate", found["run"], split_shades, "--json")) == again


def test_settings_go_by_name(command: Command, shades: Path) -> None:
    words = ["--mixup", "0.2", "--flip=none", "--test-time-views", "true", "--learning-rate", "0.01", "--depth=1"]
    recipe = only_json(command("train", shades, *words, "--widths", "4,8", "--show-recipe", "--json"))["recipe"]
    wanted = {"mixup": 0.2, "flip": "none", "test_time_views": True, "learning_rate": 0.01, "depth": 1}
    assert wanted.items() <= recipe.items() and recipe["widths"] == [4, 8]


def test_show_recipe_does_nothing_else(command: Command, shades: Path, tmp_path: Path) -> None:
    result = command("train", shades, "--show-recipe", "--epochs", 7)
    assert result.exit_code == 0
    assert re.search(r"--epochs +7 +passes over", result.stdout)
    assert re.search(r"--widths +\d+,\d+", result.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("validation", "test", "counts"),
    [("0.25", "0.5", (18, 18, 36)), ("0", "0.25", (54, None, 18)), ("0.25", "0", (54, 18, None))],
)
def test_shares(command: Command, shades: Path, validation: str, test: str, counts: tuple[int | None, ...]) -> None:
    words = ["--validation", validation, "--test", test, "--epochs", 1, *QUICK]
    found = only_json(command("train", shades, *words, "--json"))
    config = json.loads(Path(found["run"], "config.json").read_text("utf-8"))
    sizes = [sum(config["samples"].get(name, {}).values()) or None for name in ("training", "validation", "test")]
    assert sizes == list(counts)
    assert (found["test"] is None) == (test == "0")


def test_splits_with_sources_of_their_own(command: Command, shades: Path, split_shades: Path) -> None:
    words = ["--test", split_shades / "test", "--validation", split_shades / "train", "--epochs", 1, *QUICK]
    result = command("train", shades, *words)
    assert result.exit_code == 0, result.stderr
    assert "72 training, 72 validation, 18 test" in result.stdout
    assert "validation pictures are in the train split too" in result.stdout  # the same files, and it says so


def test_time_instead_of_epochs(command: Command, shades: Path) -> None:
    found = only_json(command("train", shades, "--time", "2s", *QUICK, "--json"))
    assert found["epochs"] > 3 and found["train_seconds"] < 3


def test_a_second_run_gets_a_folder_of_its_own(command: Command, shades: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert command("train", shades, "--epochs", 1, *QUICK).exit_code == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_no_word_of_few_epochs_where_they_are_enough(command: Command, shades: Path) -> None:
    assert "little" not in command("train", shades, "--epochs", 60, "--patience", 1, *QUICK).stdout


def test_it_stops_early(command: Command, shades: Path) -> None:
    result = command("train", shades, "--epochs", 200, "--patience", 1, *QUICK)
    found = re.search(r"trained (\d+) of 200 epochs, stopped early,", result.stdout)
    assert found and int(found[1]) < 200


def test_determinism_can_be_asked_for(command: Command, shades: Path) -> None:
    try:
        assert command("train", shades, "--epochs", 1, *QUICK, "--deterministic").exit_code == 0
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


# evaluate, predict, info


def test_evaluate_prints_the_table(command: Command, trained: Path, split_shades: Path) -> None:
    result = command("evaluate", trained, split_shades)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"class +precision +recall +F1 +samples\n", result.stdout)
    assert "of 18 samples)" in result.stdout


def test_evaluate_without_some_classes(command: Command, trained: Path, split_shades: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    for shade in ("dark", "light"):
        (tmp_path / "some" / shade).symlink_to(split_shades / "test" / shade)
    result = command("evaluate", trained, "some")
    assert "! The test split has no picture of 'grey'." in result.stdout
    assert re.search(r"^grey .* – +0$", result.stdout, re.MULTILINE)
    found = only_json(command("evaluate", trained, "some", "--json"))
    assert [finding["verdict"] for finding in found["findings"]] == ["The test split has no picture of 'grey'."]
    assert found["test"]["samples"] == 12 and found["test"]["per_class"]["grey"]["recall"] is None


def test_predict_in_every_form(command: Command, trained: Path, split_shades: Path) -> None:
    files = [str(split_shades / "test" / name) for name in ("light/3.png", "dark/0.png", "grey/1.png")]
    found = only_json(command("predict", trained, *files, "--json"))
    assert [answer["file"] for answer in found] == files  # in the order given
    assert [answer["label"] for answer in found] == ["light", "dark", "grey"]
    for answer in found:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["probability"] == max(answer["probabilities"].values())
        assert next(iter(answer["probabilities"])) == answer["label"]
    assert only_json(command("predict", trained, *files, "--format", "json")) == found

    rows = list(csv.DictReader(io.StringIO(command("predict", trained, *files, "--format", "csv").stdout)))
    assert [row["label"] for row in rows] == ["light", "dark", "grey"]
    assert all(
        float(row[shade]) == pytest.approx(answer["probabilities"][shade], abs=1e-6)
        for row, answer in zip(rows, found, strict=True)
        for shade in ("dark", "grey", "light")
    )

    table = command("predict", trained, *files, "--top", 2).stdout.splitlines()
    assert table[0].split() == ["file", "label", "probability", "then"]
    assert all(line.startswith(file) and line.count("%") == 2 for line, file in zip(table[1:], files, strict=True))
    assert "then" not in command("predict", trained, *files, "--top", 1).stdout


def test_predict_searches_folders_as_people_count(command: Command, trained: Path, shades: Path) -> None:
    found = only_json(command("predict", trained, shades / "dark", "--json"))
    assert [Path(answer["file"]).name for answer in found] == [f"{number}.png" for number in range(24)]


def test_a_class_may_be_called_like_markup(command: Command, split_shades: Path, tmp_path: Path) -> None:
    for name, shade in (("[red]", "dark"), ("a,b", "light")):
        (tmp_path / "odd" / name).mkdir(parents=True)
        for number in range(24):
            (tmp_path / "odd" / name / f"[b]{number}.png").symlink_to(split_shades / "train" / shade / f"{number}.png")
    result = command("train", "odd", "--epochs", 1, *QUICK)
    assert re.search(r"^\[red\] +\d", result.stdout, re.MULTILINE)
    (run,) = (tmp_path / "runs").iterdir()
    files = [str(Path("odd", "[red]", "[b]1.png")), str(Path("odd", "a,b", "[b]2.png"))]
    assert files[0] in command("predict", run, *files).stdout
    rows = list(csv.DictReader(io.StringIO(command("predict", run, *files, "--format", "csv").stdout)))
    assert set(rows[0]) == {"file", "label", "probability", "[red]", "a,b"}


def test_info(command: Command, trained: Path) -> None:
    result = command("info", trained)
    assert result.exit_code == 0
    assert "Classes: dark, grey, light" in result.stdout and "conv2d" in result.stdout
    found = only_json(command("info", trained, "--json"))
    assert found["task"] == "image-classification" and found["labels"] == ["dark", "grey", "light"]
    assert found["preparation"]["height"] == 12 and found["sizes"]["weights.safetensors"] > 4 * found["parameters"]


def test_info_on_a_network_alone(command: Command, tmp_path: Path) -> None:
    from corecur.layers.dense import Dense
    from corecur.models import Input, Sequential

    Sequential([Input((3,)), Dense(2)]).save(tmp_path / "net.corecur")
    assert only_json(command("info", "net.corecur", "--json"))["parameters"] == 8
    refused = command("predict", "net.corecur", "a.png")
    assert refused.exit_code == 1 and "a network alone" in refused.stderr


# how it ends


def test_version_and_help(command: Command) -> None:
    assert command("--version").stdout == f"corecur {__version__}\n"
    for words in (["--help"], ["-h"], *([name, "--help"] for name in ("train", "evaluate", "predict", "info"))):
        result = command(*words)
        assert result.exit_code == 0 and "Usage" in result.stdout


USAGE = {
    "no command": ([], "Usage"),
    "no source": (["train"], "SOURCE"),
    "unknown command": (["trian", "digits"], "train"),
    "no epochs": (["train", "digits", "--epochs", "0"], "epochs"),
    "epochs in words": (["train", "digits", "--epochs", "many"], "epochs"),
    "unknown option": (["train", "digits", "--epoks", "2"], "did you mean --epochs?"),
    "unknown option of the command": (["train", "digits", "--outt", "x"], "did you mean --out?"),
    "setting without value": (["train", "digits", "--mixup"], "--mixup VALUE"),
    "setting before an option": (["train", "digits", "--mixup", "--json"], "--mixup VALUE"),
    "setting of a wrong kind": (["train", "digits", "--mixup", "much"], "'mixup'"),
    "setting out of range": (["train", "digits", "--mixup", "-1"], "greater than or equal to 0"),
    "setting not among those": (["train", "digits", "--flip", "sideways"], "'horizontal'"),
    "two sources": (["train", "digits", "mnist"], "unexpected argument 'mnist'"),
    "epochs and time": (["train", "digits", "--epochs", "2", "--time", "5s"], "give one of them"),
    "no length of time": (["train", "digits", "--time", "soon"], "60s, 10m or 1h"),
    "unknown task": (["train", "digits", "--task", "text"], "image-classification"),
    "unknown model": (["train", "digits", "--model", "block"], "did you mean 'blocks'?"),
    "unknown optimizer": (["train", "digits", "--optimizer", "adm"], "'adamw'"),
    "unknown device": (["train", "digits", "--device", "gpu"], "unknown device 'gpu'"),
    "unknown precision": (["train", "digits", "--precision", "half"], "float32"),
    "huge seed": (["train", "digits", "--seed", "9" * 30], "seed"),
    "share above one": (["train", "digits", "--validation", "1.5"], "share"),
    "shares above one": (["train", "digits", "--validation", "0.6", "--test", "0.6"], "nothing to train on"),
    "tiny size": (["train", "digits", "--size", "1"], "size"),
    "nothing to predict": (["predict", "model"], "SOURCE"),
    "unknown format": (["predict", "model", "a.png", "--format", "xml"], "format"),
    "two formats": (["predict", "model", "a.png", "--format", "csv", "--json"], "--json or --format csv"),
    "no labels shown": (["predict", "model", "a.png", "--top", "0"], "top"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_ends_with_2(command: Command, tmp_path: Path, case: str) -> None:
    words, hint = USAGE[case]
    result = command(*words)
    assert result.exit_code == 2
    assert hint in result.stderr + (result.stdout if case == "no command" else "")
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_errors_leave_standard_output_empty_for_scripts(command: Command) -> None:
    for words in (["train", "nothing"], ["evaluate", "nothing", "digits"], ["predict", "nothing", "a"], ["info", "no"]):
        result = command(*words, "--json")
        assert result.exit_code == 1 and result.stdout == "" and result.stderr.startswith("corecur: ")


def test_debug_shows_the_trace(command: Command) -> None:
    result = command("info", "nothing", "--debug")
    assert result.exit_code == 1 and "Traceback" in result.stderr and "BundleError" in result.stderr


def test_what_should_not_happen_is_told_without_a_trace(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("corecur.learners.tasks.find_task", fail)
    result = command("train", "digits")
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr and "--debug" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("step", "epochs"), [(7, 2), (1, 0)]
)  # 53 samples in batches of 16: the third epoch, the first
def test_a_keyboard_interrupt_says_what_is_left(
    command: Command, shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, epochs: int
) -> None:
    train_step = Trainer.train_step

    def interrupted(self: Trainer, batch: Any) -> Any:
        if self.step == step:
            raise KeyboardInterrupt
        return train_step(self, batch)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    result = command("train", shades, "--epochs", 5, *QUICK)
    (run,) = (tmp_path / "runs").iterdir()
    assert result.exit_code == 130
    assert "corecur: stopped\n" in result.stderr and f"epochs finished: {epochs}, no model" in result.stderr
    assert str(run.relative_to(tmp_path)) in result.stderr
    assert {entry.name for entry in run.iterdir()} == {
        "checkpoints", "config.json", "doctor.jsonl", "log.txt", "metrics.jsonl",
    }  # fmt: skip
    assert "result" not in json.loads((run / "config.json").read_text("utf-8"))
    for words in (("predict", run, shades), ("evaluate", run, shades), ("info", run)):
        refused = command(*words)
        assert refused.exit_code == 1 and "a run that was stopped" in refused.stderr
        assert f"corecur train --resume {run}" in refused.stderr


def test_a_training_that_runs_away_leaves_no_model(command: Command, shades: Path, tmp_path: Path) -> None:
    result = command("train", shades, "--optimizer", "sgd", "--learning-rate", "1e30", "--epochs", 5, *QUICK)
    assert result.exit_code == 75
    assert [result.stderr.count(f"with {rate} of the learning rate") for rate in (0.5, 0.25, 0.125)] == [1, 1, 1]
    assert "ran away 4 times, each time with a lower rate; there is no model" in result.stderr
    assert "do this:  look at the samples named above, and train anew with a lower learning rate" in result.stderr
    assert not list(tmp_path.rglob("bundle")) and list(tmp_path.glob("runs/*/checkpoints/step-0"))


def test_a_folder_of_runs_is_no_model(command: Command, tmp_path: Path, trained: Path) -> None:
    (tmp_path / "runs" / "20260101-000000-a").mkdir(parents=True)
    (tmp_path / "runs" / "20260101-000000-a" / "bundle").symlink_to(trained)
    result = command("info", "runs")
    assert result.exit_code == 1 and "did you mean runs/20260101-000000-a?" in result.stderr


# as a program


def test_the_exact_command_and_odd_names(split_shades: Path, tmp_path: Path) -> None:
    source = tmp_path / "我的 照片"
    source.symlink_to(split_shades)
    result = in_a_process(
        "train", source.name, "--epochs=1", "--out", "出 去", "--threads", 1, "--json", cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert result.returncode == 0 and result.stderr == ""
    found = json.loads(result.stdout)
    line = "corecur train '我的 照片' --epochs=1 --out '出 去' --threads 1 --json"
    run = tmp_path / found["run"]
    assert json.loads((run / "config.json").read_text("utf-8"))["command"] == line
    assert line.replace("'", "&#x27;") in (run / "report.html").read_text("utf-8") or line in (
        run / "report.html"
    ).read_text("utf-8")
    assert f"`{line}`" in (run / "bundle" / "card.md").read_text("utf-8")


def test_a_reader_who_leaves_does_not_end_the_training(shades: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "corecur", "train", str(shades), "--epochs", "1", "--threads", "1"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "3 classes" in process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=300) == 0 and "Error" not in said
    assert len(list(tmp_path.glob("runs/*/bundle/manifest.json"))) == 1


def test_names_that_the_terminal_cannot_spell(trained: Path, shades: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff caf\xc3\xa9.png")
    try:
        (tmp_path / name).write_bytes((shades / "dark" / "0.png").read_bytes())
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    result = in_a_process(
        "predict", trained, ".", "--json", cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[0]["file"] == name


# what the command does itself


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5m", 90), ("2 min", 120), ("1h", 3600), ("5sec", 5)])
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5s", "0", "5d", "1e3", "5 s s"])
def test_no_lengths_of_time(text: str) -> None:
    with pytest.raises(ConfigError, match="length of time"):
        parse_seconds(text)

"""The command ``tune``: what it prints for people and for scripts, and what it says of what it cannot take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
_SMALL = ("--widths", "4", "--epochs", "1", "--threads", "1", "--pruner", "none")


def test_a_search_prints_its_trials_the_best_and_how_to_train_it(command: Command, shades: Path) -> None:
    found = command("tune", shades, "--search", "label_smoothing=0,0.2", *_SMALL)
    assert found.exit_code == 0, found.stderr
    assert "trial 0: validation accuracy" in found.stdout and "the default recipe" in found.stdout
    assert "3 trials: 3 done" in found.stdout and "tested once: test accuracy" in found.stdout
    line = found.stdout.strip().splitlines()[-1]
    assert line.startswith("  corecur train ") and "--widths 4" in line
    again = command("tune", shades, "--search", "label_smoothing=0,0.2", *_SMALL, "--json")
    told = json.loads(again.stdout)
    assert [row["settings"] for row in told["trials"]] == [{}, {"label_smoothing": 0.0}, {"label_smoothing": 0.2}]
    assert told["command"] == line.strip() and Path(told["page"]).is_file() and Path(told["bundle"]).is_dir()
    assert told["metric"] == "val_accuracy" and told["best"]["value"] >= told["default"]["value"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--search", "learning_rat=1..2"), "did you mean 'learning_rate'"),
        (("--search", "learning_rate=2..1"), "reversed"),
        (("--search", "widths"), "no usual values"),
        (("--search", "momentum", "--search", "momentum=0..0.9"), "twice"),
        (("--search", "momentum", "--space", "a.yaml"), "one of them"),
        (("--space", "none.yaml"), "cannot be read"),
        (("--task", "forecastin"), "unknown task"),
        (("--time", "soon"), "no"),
        (("--max-latency", "5"), "no latency"),
        (("--max-parameters", "lots"), "no number of parameters"),
        (("--trails", "5"), "did you mean --trials"),
        (("--sampler", "tpee"), "tpe"),
    ],
)
def test_what_cannot_be_taken_is_told_with_exit_code_2(
    command: Command, shades: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    found = command("tune", shades, *words)
    assert found.exit_code == 2 and said in found.stderr and "Traceback" not in found.stderr
    assert not (tmp_path / "runs").exists()


def test_a_storage_out_of_reach_is_told_without_its_password(
    command: Command, shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORECUR_STORAGE", "postgresql+psycopg://ann:topsecret@127.0.0.1:1/db")
    found = command("tune", shades, *_SMALL)
    assert found.exit_code == 1 and "cannot be reached" in found.stderr
    assert "topsecret" not in found.stderr + found.stdout
    assert not (tmp_path / "runs").exists()


def test_a_source_that_is_not_there_is_told(command: Command) -> None:
    found = command("tune", "no such folder")
    assert found.exit_code in (1, 2) and "no such folder" in found.stderr

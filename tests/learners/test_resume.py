"""Going on with a run: the same end as without a stop, or a refusal that helps; the command, in this process."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur import ImageClassifier, interruption, runtime
from corecur.engine.callback import Callback, Logs
from corecur.errors import ConfigError, RunError, Stopped
from corecur.learners.run_request import RunRequest
from corecur.run_lock import RunLock
from tests.conftest import SHADES, write_shades

Command = Callable[..., Any]
QUICK = ("--threads", 1, "--widths", "4,8", "--epochs", 4)  # 51 samples in batches of 16: 3 steps an epoch


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Ask for a stop, as a signal does, in the step of that number; None takes it back."""
    from corecur.engine.trainer import Trainer

    train_step, place = Trainer.train_step, [-1]

    def asked(self: Trainer, batch: Any) -> Any:
        if self.step == place[0]:
            interruption.request()
        return train_step(self, batch)

    monkeypatch.setattr(Trainer, "train_step", asked)
    return lambda step: place.__setitem__(0, -1 if step is None else step)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_shades(tmp_path / "photos", dict.fromkeys(SHADES, 24))


@pytest.fixture
def stopped(command: Command, photos: Path, stop_at: Callable[[int | None], None]) -> Path:
    """A run that was stopped after 5 of 12 steps."""
    stop_at(4)
    result = command("train", photos, *QUICK)
    assert result.exit_code == 75, result.stderr
    stop_at(None)
    (run,) = Path("runs").iterdir()
    assert result.stderr.endswith(
        f"corecur: stopped on request at step 5\n  where:    {run}/checkpoints/step-5\n"
        f"  do this:  corecur train --resume {run}\n"
    )
    return run


def weights(run: Path) -> bytes:
    return (run / "bundle" / "weights.safetensors").read_bytes()


def rows(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without what a clock says."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "waiting")} for row in found]


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_it_ends_as_a_run_that_was_never_stopped(command: Command, photos: Path, stopped: Path) -> None:
    result = command("train", "--resume", stopped)
    assert result.exit_code == 0, result.stderr
    assert f"{stopped}: going on at step 5" in result.stdout and "trained 4 epochs" in result.stdout
    assert "epoch 2/4" in result.stderr and "epoch 1/4" not in result.stderr
    assert command("train", photos, *QUICK, "--out", "whole").exit_code == 0
    (whole,) = Path("whole").iterdir()
    assert weights(stopped) == weights(whole) and rows(stopped) == rows(whole)
    mine, other = (json.loads((run / "config.json").read_text()) for run in (stopped, whole))
    assert mine["result"]["test"] == other["result"]["test"] and mine["recipe"] == other["recipe"]
    epochs = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert mine["result"]["train_seconds"] >= sum(row["seconds"] for row in epochs)
    assert not (stopped / "lock").exists()


def test_again_and_again_from_another_folder_and_another_place(
    command: Command, photos: Path, stopped: Path, stop_at: Callable[[int | None], None],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    stop_at(7)
    assert command("train", "--resume", stopped, "--save-every", 1).exit_code == 75
    stop_at(None)
    elsewhere = tmp_path / "else where" / 'it\'s "mine"\nnot 你的'
    elsewhere.parent.mkdir()
    stopped.rename(elsewhere)
    (elsewhere.parent / "link").symlink_to(elsewhere)
    monkeypatch.chdir(elsewhere.parent)
    found = command("train", "--resume", "link", "--json")
    assert found.exit_code == 0, found.stderr
    result = json.loads(found.stdout)
    assert found.stdout.count("\n") == 1 and found.stderr == ""
    assert (result["run"], result["epochs"], result["test"]["samples"]) == ("link", 4, 14)
    assert command("train", photos, *QUICK, "--out", "whole").exit_code == 0
    (whole,) = Path("whole").iterdir()
    assert weights(elsewhere) == weights(whole)


def test_a_result_that_cannot_be_written_is_a_stop(command: Command, photos: Path, stopped: Path) -> None:
    (stopped / "bundle").mkdir()
    (stopped / "bundle" / "mine.txt").write_text("in the way")
    result = command("train", "--resume", stopped)
    assert result.exit_code == 75
    assert "the training is over, but there is something else where the model file should go" in result.stderr
    assert result.stderr.endswith(f"corecur train --resume {stopped}\n")
    shutil.rmtree(stopped / "bundle")
    assert command("train", "--resume", stopped).exit_code == 0
    assert command("train", photos, *QUICK, "--out", "whole").exit_code == 0
    (whole,) = Path("whole").iterdir()
    assert weights(stopped) == weights(whole)


def test_a_run_that_is_complete_is_left_as_it_is(command: Command, stopped: Path) -> None:
    assert command("train", "--resume", stopped).exit_code == 0
    before = everything_in(stopped)
    result = command("train", "--resume", stopped)
    assert (result.exit_code, result.stdout) == (0, f"nothing to resume: the run {stopped} is complete\n")
    found = json.loads(command("train", "--resume", stopped, "--json").stdout)
    assert found == {"task": "image-classification", "run": str(stopped), "complete": True}
    assert everything_in(stopped) == before


# wrong paths: never a fresh start, and nothing is made


@pytest.mark.parametrize(
    ("path", "got", "guess"),
    [
        ("no/such", "no such folder", None),
        ("runs", "a folder of runs", "RUN"),
        ("RUN/checkpoints", "a place in a run", "RUN"),
        ("RUN/checkpoints/step-5", "a place in a run", "RUN"),
        ("RUN/config.json", "a place in a run", "RUN"),
        ("RUNs", "no such folder", "RUN"),
        ("NAME", "no such folder", "RUN"),
        ("photos", "another folder", None),
        ("photos/dark/0.png", "a file", None),
        ("empty", "another folder", None),
        ("model", "a model file", None),
        ("x" * 5000, None, None),
    ],
)
def test_a_wrong_path_is_an_error_and_not_a_fresh_start(
    command: Command, stopped: Path, trained: Path, path: str, got: str | None, guess: str | None
) -> None:
    Path("empty").mkdir()
    shutil.copytree(trained, "model")
    before = everything_in(Path())
    result = command("train", "--resume", path.replace("RUN", str(stopped)).replace("NAME", stopped.name))
    assert result.exit_code == 1 and result.stdout == ""
    if got is None:
        assert "too long" in result.stderr
    else:
        assert "there is no run to go on with" in result.stderr and f"got:      {got}\n" in result.stderr
    guessed = re.search(r"did you mean (\S+)\?", result.stderr)
    assert (guessed and Path(guessed[1]).resolve()) == (guess and stopped.resolve())
    assert everything_in(Path()) == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert"}, "does not say what was asked for"),
        ({"request": {"source": "photos"}, "task": "speech"}, "a task that is not known here"),
        ({"request": {"source": "photos", "run": "rm -rf"}, "task": "image-classification"}, "does not say what"),
        ([1], "config.json is damaged"),
    ],
)
def test_a_config_of_another_program_is_no_run(command: Command, tmp_path: Path, config: Any, message: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    before = everything_in(tmp_path)
    result = command("train", "--resume", "other")
    assert result.exit_code == 1 and message in result.stderr
    with pytest.raises(RunError):
        ImageClassifier().fit("digits", resume="other")
    assert everything_in(tmp_path) == before


def test_a_run_of_another_task_is_refused(stopped: Path) -> None:
    from corecur import TextClassifier

    before = everything_in(stopped)
    with pytest.raises(RunError, match=r"(?s)another task.*image-classification.*text-classification"):
        TextClassifier().fit((["a", "b"], ["x", "y"]), resume=stopped)
    assert everything_in(stopped) == before


# what else is given


@pytest.mark.parametrize(
    ("words", "got"),
    [
        (["photos"], "photos"),
        (["--epochs", "5"], "--epochs"),
        (["--out", "o", "--time", "5s", "--threads", "1"], "--out --threads --time"),
        (["--mixup", "0.2"], "--mixup 0.2"),
        (["--deterministic", "--skip-bad"], "--skip-bad --deterministic"),
        (["--show-recipe"], "--show-recipe"),
    ],
)
def test_a_run_goes_on_with_what_it_began_with(command: Command, stopped: Path, words: list[str], got: str) -> None:
    before = everything_in(Path())
    result = command("train", *words, "--resume", stopped)
    assert result.exit_code == 2
    named = re.search("got: +(.*)", result.stderr)
    assert named and sorted(named[1].split()) == sorted(got.split())
    assert everything_in(Path()) == before


@pytest.mark.parametrize("every", ["0", "garbage", "-5", "1.5", "", "1e3", "5d"])
def test_how_often_to_save_is_checked_before_any_work(command: Command, stopped: Path, every: str) -> None:
    before = everything_in(Path())
    for words in (("--resume", stopped), ("photos", *QUICK)):
        result = command("train", *words, "--save-every", every)
        assert result.exit_code == 2 and "500 (steps), 30s, 2m, 1h or never" in result.stderr
        assert result.stdout == ""
    assert everything_in(Path()) == before


def test_never_saving_still_keeps_what_is_stopped(
    command: Command, photos: Path, stop_at: Callable[[int | None], None]
) -> None:
    stop_at(4)
    assert command("train", photos, *QUICK, "--save-every", "never").exit_code == 75
    assert list(Path().glob("runs/*/checkpoints/step-5"))


# what is no longer as it was


def test_other_data_are_refused_by_name(command: Command, photos: Path, stopped: Path) -> None:
    file = photos / "dark" / "3.png"
    (photos / "dark" / "4.png").replace(file)
    shutil.copy(photos / "dark" / "5.png", photos / "dark" / "4.png")
    result = command("train", "--resume", stopped)
    assert result.exit_code == 1 and "the checkpoint is of another training" in result.stderr
    assert re.search(r"got: +data [0-9a-f]+\n +expected: data [0-9a-f]+\n", result.stderr)
    assert "resume with the data and the settings it began with" in result.stderr
    assert (stopped / "checkpoints" / "step-5").exists()


def test_data_that_are_gone_are_named_and_the_run_is_kept(
    command: Command, photos: Path, stop_at: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    stop_at(1)
    with monkeypatch.context() as patch:
        patch.setattr("corecur.engine.checkpoint.CheckpointFolder.write", full)  # a run without a checkpoint
        assert command("train", photos, *QUICK).exit_code == 75
    (run,) = Path("runs").iterdir()
    stop_at(None)
    photos.rename("moved")
    result = command("train", "--resume", run)
    assert result.exit_code == 1 and str(photos) in result.stderr
    assert json.loads((run / "config.json").read_text())["request"]["source"] == str(photos)
    Path("moved").rename(photos)
    result = command("train", "--resume", run)
    assert result.exit_code == 0 and "nothing was saved: the training begins anew" in result.stdout


def test_another_machine_is_told_and_goes_on(command: Command, stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = runtime.describe
    monkeypatch.setattr(runtime, "describe", lambda: here() | {"cpu": "Z80", "torch": "9.9"})
    result = command("train", "--resume", stopped)
    assert result.exit_code == 0
    for name in ("cpu", "torch"):
        assert re.search(rf"! {name} was \S+ and is (Z80|9\.9) now: the result may differ", result.stderr)


def test_the_threads_are_those_it_began_with(command: Command, stopped: Path) -> None:
    torch.set_num_threads(2)
    result = command("train", "--resume", stopped)
    assert result.exit_code == 0 and "threads was" not in result.stderr
    assert torch.get_num_threads() == 1


def test_a_run_that_another_process_writes_is_refused_before_its_data_are_read(
    command: Command, photos: Path, stopped: Path
) -> None:
    photos.rename("away")  # who read them would say so
    with RunLock(stopped):
        result = command("train", "--resume", stopped)
    assert result.exit_code == 1 and "another process writes this run" in result.stderr
    assert f"process {os.getpid()} on " in result.stderr


# from Python


class StopAfter(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if epoch + 1 == self.epoch:
            interruption.request()

    def state(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def arrays() -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    rng, threads = np.random.default_rng(0), torch.get_num_threads()
    labels = np.arange(60) % 3
    yield (rng.integers(0, 80, (60, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8), labels
    torch.set_num_threads(threads)


def learner() -> ImageClassifier:
    return ImageClassifier(epochs=3, threads=1, widths=(4, 8), seed=3)


def test_values_go_on_in_python_alone(command: Command, arrays: Any, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        learner().fit(*arrays, out=tmp_path / "runs", callbacks=[StopAfter(1)])
    (run,) = (tmp_path / "runs").iterdir()
    refused = command("train", "--resume", run)
    assert refused.exit_code == 1 and "given as values in Python" in refused.stderr
    assert f"ImageClassifier(…).fit(…, resume='{run}')" in refused.stderr
    going_on, whole = learner(), learner()
    result = going_on.fit(*arrays, resume=run, callbacks=[StopAfter(9)])
    whole.fit(*arrays)
    assert len(result.history) == 3 and result.run is not None and result.run.path == run
    for mine, other in zip(going_on.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert json.loads((run / "config.json").read_text())["result"]["epochs"] == 3


def test_another_seed_is_another_training(arrays: Any, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        learner().fit(*arrays, out=tmp_path / "runs", callbacks=[StopAfter(1)])
    (run,) = (tmp_path / "runs").iterdir()
    with pytest.raises(RunError, match=r"(?s)another training.*seed 4.*seed 3"):
        ImageClassifier(epochs=3, threads=1, widths=(4, 8), seed=4).fit(*arrays, resume=run)


# what is kept of a request


def test_a_request_is_kept_in_words_that_hold_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"b\xffd")
    for name in ("photos", odd):
        Path(name).mkdir()
    assert RunRequest.of("photos", test=0.2).source == str(tmp_path / "photos")
    assert RunRequest.of("digits", validation="0.1").validation == "0.1"
    assert RunRequest.of(np.zeros(3)).source is None
    assert RunRequest.of("photos", test=[1, 2]).source is None  # nobody could test again
    kept = {"request": {"source": str(tmp_path / "b\\udcffd"), "settings": {}}}  # as config.json spells it
    assert RunRequest.in_config(kept, where=tmp_path).source == str(tmp_path / odd)


@pytest.mark.parametrize("change", [{"source": 1}, {"seed": "x"}, {"threads": "many"}, {"odd": 1}])
def test_a_request_that_was_changed_by_hand_is_no_request(change: dict[str, Any]) -> None:
    kept = RunRequest.of("digits").model_dump(mode="json")
    assert RunRequest.in_config({"request": kept}, where=Path()) == RunRequest.of("digits")
    with pytest.raises(RunError, match="does not say what was asked for"):
        RunRequest.in_config({"request": kept | change}, where=Path())


# determinism


def test_the_promise_of_determinism_is_told_and_kept(
    command: Command, photos: Path, stop_at: Callable[[int | None], None]
) -> None:
    claim = "on the same class of machine, with the same versions, number of threads and batch size"
    try:
        stop_at(5)
        result = command("train", photos, *QUICK, "--deterministic")
        assert (
            result.exit_code == 75 and f"deterministic: {claim}, the same command gives the same bytes" in result.stdout
        )
        stop_at(None)
        torch.use_deterministic_algorithms(False)
        (run,) = Path("runs").iterdir()
        result = command("train", "--resume", run)
        assert result.exit_code == 0 and claim in result.stdout
        assert torch.are_deterministic_algorithms_enabled()
        config = json.loads((run / "config.json").read_text())
        assert config["deterministic"] == runtime.CLAIM and config["request"]["deterministic"] is True
    finally:
        torch.use_deterministic_algorithms(False)
    result = command("train", photos, *QUICK, "--out", "plain")
    assert "deterministic" not in result.stdout
    (plain,) = Path("plain").iterdir()
    assert json.loads((plain / "config.json").read_text())["deterministic"] is None
    assert weights(plain) == weights(run)  # on the CPU these layers are deterministic anyway


def test_settings_of_a_run_are_checked(stopped: Path) -> None:
    config = json.loads((stopped / "config.json").read_text())
    config["recipe"]["epochs"] = "many"
    (stopped / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="epochs"):
        ImageClassifier().fit("digits", resume=stopped)

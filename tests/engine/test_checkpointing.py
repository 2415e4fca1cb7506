"""A training that dies and is gone on with is, to the byte, the training that never died (K07, K08, K11, K15)."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from corecur import interruption
from corecur.data.batches import TensorBatches
from corecur.engine import checkpoint
from corecur.engine.callback import Callback, Logs
from corecur.engine.callbacks import CSVLogger, LearningRateScheduler, ReduceLROnPlateau, WeightAverage
from corecur.engine.checkpoint import CheckpointFolder
from corecur.engine.checkpointing import Interval
from corecur.engine.clipping import Clipping
from corecur.engine.losses import MeanSquaredError
from corecur.engine.optimizers import SGD, Adagrad, AdamW, Muon, RMSprop
from corecur.engine.schedules import CosineDecay
from corecur.engine.stochastic_average import StochasticWeightAverage
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError, RunError, Stopped
from tests.engine.short_training import (
    EPOCHS,
    STEPS,
    Kill,
    KilledError,
    batches,
    end_of,
    fit,
    keeper,
    network,
    same_numbers,
    trainer,
    weights_of,
)

LAST = STEPS * EPOCHS


@pytest.fixture(autouse=True)
def _a_disk_that_needs_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a dead process wrote is there; only a dead machine needs fsync.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def uninterrupted() -> bytes:
    return end_of(fit())


def dying(folder: Path, *kills: Kill, **options: Any) -> Trainer:
    """The training, killed each time, and then left alone."""
    for number, kill in enumerate(kills):
        with pytest.raises(KilledError):
            fit(folder, kill, resume=number > 0, **options)
    return fit(folder, resume=bool(kills), **options)


def test_checkpoints_change_nothing(tmp_path: Path, uninterrupted: bytes) -> None:
    assert end_of(fit(tmp_path)) == uninterrupted


@pytest.mark.parametrize("step", range(1, LAST + 1))
def test_dead_at_every_step(tmp_path: Path, uninterrupted: bytes, step: int) -> None:
    assert end_of(dying(tmp_path, Kill(step))) == uninterrupted


@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
def test_however_often_it_is_kept(tmp_path: Path, uninterrupted: bytes, every: int) -> None:
    assert end_of(dying(tmp_path, Kill(8), Kill(9), every=every)) == uninterrupted


@pytest.mark.parametrize("kills", [(2, 3), (7, 9), (6, 7, 8), (8, 8), (1, 5, 6, 11, 15)], ids=str)
def test_dead_again_in_the_same_epoch(tmp_path: Path, uninterrupted: bytes, kills: tuple[int, ...]) -> None:
    assert end_of(dying(tmp_path, *map(Kill, kills))) == uninterrupted


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_dead_in_a_validation(tmp_path: Path, uninterrupted: bytes, epoch: int) -> None:
    assert end_of(dying(tmp_path, Kill(validation=epoch))) == uninterrupted


def test_after_the_end_nothing_is_done_again(tmp_path: Path, uninterrupted: bytes) -> None:
    fit(tmp_path)
    again = fit(tmp_path, Kill(LAST + 1), resume=True)
    assert end_of(again) == uninterrupted and len(again.history) == EPOCHS and again.step == LAST


class StopAt(Callback):
    """Asks for a stop, as a signal does."""

    def __init__(self, step: int | None = None, *, validation: int | None = None) -> None:
        self.at, self.validation = step, validation

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.trainer.step == self.at:
            interruption.request()

    def on_validation_begin(self, logs: Logs | None = None) -> None:
        if self.validation == self.trainer.epoch:
            interruption.request()


@pytest.mark.parametrize("step", [1, 4, 5, 6, 10, 14])
def test_a_stop_on_request_loses_no_step(tmp_path: Path, uninterrupted: bytes, step: int) -> None:
    with pytest.raises(Stopped, match=f"at step {step}") as stopped:
        fit(tmp_path, StopAt(step), every=1000)
    assert stopped.value.exit_code == 75 and not interruption.wanted()
    assert CheckpointFolder(tmp_path).steps()[-1] == step
    assert end_of(fit(tmp_path, resume=True)) == uninterrupted


def test_a_stop_in_a_validation(tmp_path: Path, uninterrupted: bytes) -> None:
    with pytest.raises(Stopped, match="at step 10"):
        fit(tmp_path, StopAt(validation=1), every=1000)
    resumed = fit(tmp_path, resume=True)
    assert end_of(resumed) == uninterrupted and len(resumed.history) == EPOCHS


def test_a_stop_after_the_last_step_is_a_finished_training(tmp_path: Path, uninterrupted: bytes) -> None:
    with pytest.raises(Stopped):
        fit(tmp_path, StopAt(LAST))
    assert end_of(fit(tmp_path, Kill(LAST + 1), resume=True)) == uninterrupted


# Everything else that has a state: each training against itself, never interrupted, and dead three times.


def made(optimizer: Any) -> Callable[..., Trainer]:
    return lambda: trainer(optimizer=lambda weights: optimizer.make(list(weights)))


def scheduled() -> Trainer:
    schedule = CosineDecay(0.02, LAST, warmup_steps=3) if "warmup_steps" in CosineDecay.__dataclass_fields__ else None
    rate = (schedule or CosineDecay(0.02, LAST)).rate_at
    return trainer(rate=rate, clipping=Clipping(norm=0.5), class_weights={0: 2.0, 1: 0.5})


TRAININGS: dict[str, Callable[[], Trainer]] = {
    "SGD momentum": made(SGD(0.05, momentum=0.9, nesterov=True)),
    "AdamW": made(AdamW(0.01)),
    "RMSprop": made(RMSprop(0.005, momentum=0.9)),
    "Adagrad": made(Adagrad(0.05)),
    "Muon": made(Muon(0.02)),
    "torch SGD": lambda: trainer(optimizer=lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.8)),
    "torch NAdam": lambda: trainer(optimizer=lambda w: torch.optim.NAdam(w, lr=0.01)),
    "schedule, clipping, class weights": scheduled,
}


@pytest.mark.parametrize("name", TRAININGS)
def test_every_kind_of_training(tmp_path: Path, name: str) -> None:
    reference = end_of(fit(trainer=TRAININGS[name]))
    assert end_of(dying(tmp_path, Kill(3), Kill(7), Kill(11), trainer=TRAININGS[name])) == reference


CALLBACKS: dict[str, Callable[[Path], list[Callback]]] = {
    "average": lambda at: [WeightAverage(0.9)],
    "stochastic average": lambda at: [StochasticWeightAverage(0.4)],
    "plateau": lambda at: [ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10)],
    "scheduler": lambda at: [LearningRateScheduler(lambda epoch, rate: rate * 0.5)],
    "log": lambda at: [CSVLogger(at / "log.csv")],
    "log, appended": lambda at: [CSVLogger(at / "log.csv", append=True)],
}


def log_of(at: Path) -> list[list[str]]:
    """The rows, without the columns of times."""
    if not (at / "log.csv").exists():
        return []
    lines = [line.split(",") for line in (at / "log.csv").read_text().splitlines()]
    timed = {number for number, name in enumerate(lines[-4]) if name in ("seconds", "waiting")}
    return [[value for number, value in enumerate(line) if number not in timed] for line in lines]


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("kills", [(3, 7, 8), (5, 10)], ids=str)
def test_every_callback_with_a_state(tmp_path: Path, name: str, kills: tuple[int, ...]) -> None:
    ends, logs = [], []
    for at, dies in ((tmp_path / "a", ()), (tmp_path / "b", kills)):
        at.mkdir()
        if name == "log, appended":
            (at / "log.csv").write_text("epoch,loss,accuracy,learning_rate\n7,1,1,1\n")
        for number, step in enumerate(dies):
            with pytest.raises(KilledError):
                fit(at / "kept", *CALLBACKS[name](at), Kill(step), resume=number > 0)
        ends.append(end_of(fit(at / "kept", *CALLBACKS[name](at), resume=bool(dies))))
        logs.append(log_of(at))
    assert ends[0] == ends[1] and logs[0] == logs[1]
    assert len(logs[0]) == {"log": 1 + EPOCHS, "log, appended": 2 + EPOCHS}.get(name, 0)


def test_a_log_that_was_removed_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with pytest.raises(KilledError):
        fit(tmp_path / "kept", CSVLogger(log), Kill(8))
    log.unlink()
    fit(tmp_path / "kept", CSVLogger(log), resume=True)
    assert len(log.read_text().splitlines()) == 1 + 2 and "\0" not in log.read_text()


# Recurrent layers that carry their states.


def sequences(cell: str, *, stateful: bool = False) -> Callable[[], Trainer]:
    from corecur.layers.dense import Dense
    from corecur.layers.gru import GRU
    from corecur.layers.lstm import LSTM
    from corecur.models import Sequential

    def make() -> Trainer:
        kind = {"LSTM": LSTM, "GRU": GRU}[cell]
        net = Sequential(
            [kind(5, return_sequences=True, stateful=stateful, dropout=0.2, input_shape=(None, 3)), Dense(2)]
        )
        return trainer(net, loss=MeanSquaredError(), metrics=[], bptt_steps=None if stateful else 4)

    return make


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
@pytest.mark.parametrize("stateful", [False, True], ids=["truncated", "stateful"])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_dead_in_the_middle_of_a_sequence(tmp_path: Path, cell: str, stateful: bool, step: int) -> None:
    drawn = torch.Generator().manual_seed(1)
    x, y = torch.randn(8, 10, 3, generator=drawn), torch.randn(8, 10, 2, generator=drawn)

    def run(folder: Path | None, *callbacks: Callback, resume: bool = False) -> bytes:
        same_numbers()
        train = sequences(cell, stateful=stateful)()
        train.fit(
            TensorBatches(x, y, batch_size=4, shuffle=True), epochs=3, callbacks=callbacks,
            checkpoints=None if folder is None else keeper(folder, resume=resume, monitor=None),
        )  # fmt: skip
        return end_of(train)

    with pytest.raises(KilledError):
        run(tmp_path, Kill(step))
    assert run(tmp_path, resume=True) == run(None)


# What is not gone on with.


def refused(folder: Path, match: str, **options: Any) -> str:
    with pytest.raises(RunError, match=match) as found:
        fit(folder, resume=True, **options)
    return str(found.value)


def test_another_training_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KilledError):
        fit(tmp_path, Kill(6))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    weighted = refused(tmp_path, "another training", trainer=lambda: trainer(class_weights={1: 2.0}))
    assert "class_weight {1: 2.0}" in weighted and "class_weight None" in weighted
    rate = lambda: trainer(optimizer=lambda w: torch.optim.Adam(w, lr=0.5))  # noqa: E731
    assert "lr=0.5" in refused(tmp_path, "another training", trainer=rate)
    assert "loss MeanSquaredError()" in refused(tmp_path, "another", trainer=lambda: trainer(loss=MeanSquaredError()))
    for change, name in (({"batch_size": 3}, "batch_size 3"), ({"seed": 3}, "data ")):
        x, y = torch.zeros(18, 1, 6, 6), torch.zeros(18, dtype=torch.int64)
        other = TensorBatches(x, y, batch_size=4, shuffle=True, seed=3) if name == "data " else batches(**change)
        monkeypatch.setattr("tests.engine.short_training.batches", lambda other=other: other)
        assert name in refused(tmp_path, "another training")
        monkeypatch.undo()
    with pytest.raises(BundleError, match="weights of another network"):
        fit(tmp_path, resume=True, trainer=lambda: trainer(network().append(nn.Linear(3, 3))))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_other_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KilledError):
        fit(tmp_path, Kill(12))
    monkeypatch.setattr("tests.engine.short_training.EPOCHS", 2)
    assert "expected: 3 or more" in refused(tmp_path, "further than this training is to go")
    monkeypatch.setattr("tests.engine.short_training.EPOCHS", 4)
    assert len(fit(tmp_path, resume=True).history) == 4
    monkeypatch.setattr("tests.engine.short_training.EPOCHS", 9)
    assert "expected: the 4 that it was given" in refused(tmp_path, "this training is over")


def test_a_schedule_over_other_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KilledError):
        fit(tmp_path, Kill(7), trainer=scheduled)
    monkeypatch.setattr("tests.engine.short_training.EPOCHS", 4)
    assert "scheduled_steps 20" in refused(tmp_path, "another training", trainer=scheduled)


def test_another_number_of_threads_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(KilledError):
        fit(tmp_path, Kill(6))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        fit(tmp_path, resume=True, tell=told.append)
    finally:
        torch.set_num_threads(threads)
    assert told == [f"! threads was {threads} and is {threads + 1} now: the result may differ in its last digits"]


# Disks that fail, and are slow.


def test_the_state_is_that_of_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen, go = checkpoint.write_members, {}, threading.Event()

    def slow(*args: Any) -> None:
        go.wait(20)
        real(*args)

    class Look(Callback):
        def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
            seen[self.trainer.step] = weights_of(self.trainer)
            if self.trainer.step == 4:
                go.set()

    monkeypatch.setattr(checkpoint, "write_members", slow)
    with pytest.raises(KilledError):
        fit(tmp_path, Look(), Kill(5), settled=False)  # the first write begins before step 1 and ends after step 4
    found = CheckpointFolder(tmp_path)
    for step in found.steps():
        kept = found.read(step).state.values["network"]
        wanted = seen.get(step, kept if step == 0 else {})
        assert kept.keys() == wanted.keys() and all(torch.equal(kept[name], wanted[name]) for name in kept)
    same_numbers()
    assert torch.equal(found.read(0).state.values["network"]["5.weight"], network()[5].weight)


def test_a_full_disk_is_told_and_outlived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: bytes
) -> None:
    real, told = checkpoint.write_members, []

    class Disk(Callback):
        full = False

        def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
            self.full = 4 <= self.trainer.step < 9

    disk = Disk()

    def failing(folder: Path, *args: Any) -> None:
        real(folder, *args)
        if disk.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "write_members", failing)
    with pytest.raises(KilledError):
        fit(tmp_path, disk, Kill(9), tell=told.append)
    last = CheckpointFolder(tmp_path).steps()[-1]
    assert last == 4 and [p for p in tmp_path.iterdir() if "tmp" in p.name] == []
    assert told and all(
        line == f"! no checkpoint could be written (No space left on device); the last one is of step {last}, "
        "the training goes on" for line in told
    )  # fmt: skip
    told.clear()
    resumed = fit(tmp_path, disk, resume=True, tell=told.append)
    assert end_of(resumed) == uninterrupted and len(told) == 5
    assert CheckpointFolder(tmp_path).steps()[-1] == LAST


def test_no_room_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: CheckpointFolder, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(CheckpointFolder, "check_space", full)
    with pytest.raises(RunError, match="(?s)cannot be kept here.*No space left.*MB free"):
        fit(tmp_path)


def test_a_run_folder_that_disappears(tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    run.mkdir()

    class Remove(Callback):
        def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
            if self.trainer.step == 3:
                shutil.rmtree(run)

    with pytest.raises(RunError, match="the run folder is gone"):
        fit(run / "kept", Remove())


def test_a_state_that_no_file_can_hold_ends_the_training(tmp_path: Path) -> None:
    class Odd(Callback):
        def state(self) -> dict[str, Any]:
            return {"held": object()}

    with pytest.raises(ConfigError, match="(?s)cannot hold this value.*callbacks/1/1/held"):
        fit(tmp_path, Odd())


def test_the_best_is_kept(tmp_path: Path) -> None:
    class Results(Callback):
        """What each validation is to give."""

        def on_validation_end(self, logs: Logs | None = None) -> None:
            assert logs is not None
            logs["val_loss"] = [0.5, 0.1, 0.9, 0.8, 0.7][self.trainer.epoch]

    fit(tmp_path, Results(), every=2)
    found = CheckpointFolder(tmp_path)
    assert found.best() == 2 * STEPS and found.steps()[-1] == LAST
    state = found.read(2 * STEPS).state
    assert state.epoch == 1 and state.batches == STEPS


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("500", (500, None)), (50, (50, None)), ("30s", (None, 30)), ("1.5m", (None, 90)), ("2 h", (None, 7200)),
     ("never", (None, None))],
)  # fmt: skip
def test_intervals(text: str | int, wanted: tuple[int | None, float | None]) -> None:
    interval = Interval.parse(text)
    assert (interval.steps, interval.seconds) == wanted


@pytest.mark.parametrize("text", ["", "0", "-3", "2.5", "often", "3 days", True, "1e3", "0s", None])
def test_intervals_that_are_none(text: Any) -> None:
    with pytest.raises(ConfigError, match="how often to save"):
        Interval.parse(text)

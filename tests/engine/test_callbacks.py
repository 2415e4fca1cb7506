"""Every callback that comes with the package.

N samples.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.data.batches import TensorBatches
from corecur.engine.callback import Callback
from corecur.engine.callbacks import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
    WeightAverage,
    copy_of,
)
from corecur.engine.losses import MeanSquaredError
from corecur.engine.monitor import Monitor
from corecur.engine.schedules import CosineDecay, StepDecay
from corecur.engine.trainer import Trainer
from corecur.errors import ConfigError, RunError
from corecur.layers.dense import Dense
from corecur.models import Model, Sequential

N = 16
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [2.0], [-1.0]])


def trainer_of(net: nn.Module | None = None, *, lr: float = 0.05, **more: Any) -> Trainer:
    torch.manual_seed(0)
    net = net or nn.Linear(3, 1)
    return Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=lr), **more)


def fitted(callbacks: list[Callback], *, epochs: int = 3, trainer: Trainer | None = None, **more: Any) -> Trainer:
    trainer = trainer or trainer_of()
    trainer.fit(TensorBatches(X, Y, batch_size=8), epochs=epochs, callbacks=callbacks, **more)
    return trainer


def validation() -> TensorBatches:
    return TensorBatches(X, Y)


def told(callback: Callback, results: list[float], name: str = "val_loss") -> list[bool]:
    """Tell a callback a result for each epoch, until it stops; whether it had stopped after each."""
    network = nn.Linear(1, 1)
    stand_in = SimpleNamespace(
        validates=True, validated=True, stop_training=False, learning_rate=1.0, network=network, step=0
    )
    callback.attach(stand_in)  # type: ignore[arg-type]
    callback.on_train_begin({})
    stopped = []
    for epoch, value in enumerate(results):
        with torch.no_grad():
            network.weight.fill_(epoch)
        callback.on_epoch_end(epoch, {name: value})
        stopped.append(stand_in.stop_training)
    callback.on_train_end({})
    return stopped


# what is watched


@pytest.mark.parametrize(
    ("name", "mode", "best"),
    [
        ("val_loss", "auto", 1.0), ("val_accuracy", "auto", 3.0), ("output_1_auc", "auto", 3.0),
        ("f1_score", "auto", 3.0), ("mae", "auto", 1.0), ("val_r2_score", "auto", 3.0),
        ("gain", "max", 3.0), ("accuracy", "min", 1.0),
    ],
)  # fmt: skip
def test_which_way_is_better(name: str, mode: str, best: float) -> None:
    monitor = Monitor(name, mode)
    for value in (2.0, 1.0, 3.0, math.nan):
        monitor.improves({name: value})
    assert monitor.best == best


def test_an_improvement_is_more_than_a_little() -> None:
    monitor = Monitor("loss", min_delta=0.1)
    assert [monitor.improves({"loss": value}) for value in (1.0, 0.95, 0.89, 0.8)] == [True, False, True, False]
    assert [monitor.beats(value) for value in (1.0, 0.95)] == [True, False]


def test_what_is_not_computed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"(?s)nothing called 'val_los'.*expected: +loss, accuracy.*validation data"):
        Monitor("val_los").value({"loss": 1.0, "accuracy": 0.5, "matrix": [1]})
    with pytest.raises(ConfigError, match="unknown mode"):
        Monitor("loss", "best")


@pytest.mark.parametrize("callback", [EarlyStopping(), ReduceLROnPlateau(), ModelCheckpoint("x", save_best_only=True)])
def test_watching_validation_needs_validation(callback: Callback) -> None:
    with pytest.raises(ConfigError, match="nothing called 'val_loss'"):
        fitted([callback])


@pytest.mark.parametrize(
    "callback", [EarlyStopping(patience=99), ReduceLROnPlateau(), ModelCheckpoint("x", save_best_only=True)]
)
def test_epochs_that_do_not_validate_are_passed_over(
    callback: Callback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = Sequential([Dense(1, input_shape=(3,))])
    trainer = fitted([callback], epochs=5, trainer=trainer_of(net), validation=validation(), validate_every=2)
    assert trainer.epoch == 4


# EarlyStopping


@pytest.mark.parametrize(
    ("arguments", "results", "epochs"),
    [
        ({}, [3, 2, 1, 1, 0], 4),
        ({"patience": 2}, [3, 2, 2.5, 2.5, 0], 4),
        ({"patience": 2}, [3, 2, 2.5, 1, 2, 2, 0], 6),
        ({"patience": 1, "min_delta": 0.5}, [3, 2, 1.8, 0], 3),
        ({"patience": 1, "start_from_epoch": 2}, [1, 5, 5, 4, 4, 0], 5),
        ({"patience": 2, "baseline": 1.0}, [3, 2, 1.5, 1.5, 0], 4),  # better, but not good enough to wait for
        ({"patience": 2, "baseline": 1.0}, [3, 0.5, 0.6, 0.4, 0.5, 0.5, 0], 6),
        ({"patience": 1}, [2, math.nan, 0], 2),
        ({"patience": 1, "monitor": "val_accuracy"}, [0.5, 0.6, 0.55, 0.9], 3),
    ],
)
def test_when_to_stop(arguments: dict[str, Any], results: list[float], epochs: int) -> None:
    callback = EarlyStopping(**arguments)
    stopped = told(callback, results, callback.monitor)
    assert stopped.index(True) + 1 == epochs
    assert callback.stopped_epoch is not None


@pytest.mark.parametrize(
    ("arguments", "results", "kept"),
    [
        ({"patience": 1}, [3, 1, 2], 2),
        ({"patience": 1, "restore_best_weights": True}, [3, 1, 2], 1),
        ({"patience": 9, "restore_best_weights": True}, [3, 1, 2], 1),  # without stopping, as in Keras
        ({"patience": 9, "restore_best_weights": True, "only_when_stopped": True}, [3, 1, 2], 2),
        ({"patience": 1, "restore_best_weights": True, "only_when_stopped": True}, [3, 1, 2], 1),
        ({"patience": 2, "restore_best_weights": True, "baseline": 0.0}, [3, 1, 2], 1),
    ],
)
def test_which_weights_are_left(arguments: dict[str, Any], results: list[float], kept: int) -> None:
    callback = EarlyStopping(**arguments)
    told(callback, results)
    assert callback.model.weight.item() == kept
    assert callback.best_epoch == 1


def test_early_stopping_begins_anew_in_each_fit() -> None:
    callback = EarlyStopping("loss", patience=1, restore_best_weights=True)
    assert told(callback, [1.0, 2.0], "loss")[-1]
    assert not told(callback, [9.0, 8.0], "loss")[-1]
    assert callback.stopped_epoch is None


def test_early_stopping_in_a_training() -> None:
    trainer = trainer_of(lr=3.0)  # diverges: the first epoch is the best
    callback = EarlyStopping(patience=2, restore_best_weights=True)
    history = trainer.fit(TensorBatches(X, Y, batch_size=8), epochs=20, validation=validation(), callbacks=[callback])
    assert len(history) == 3
    assert trainer.evaluate(validation())["loss"] == pytest.approx(history[0]["val_loss"])


# WeightAverage


def averages(decay: float, every: int, states: list[Tensor], first: Tensor) -> Tensor:
    """a ← d a + (1 - d) w with d = min(decay^every, (1 + u) / (10 + u)) at update u."""
    average, updates = first.double(), 0
    for step, weight in enumerate(states, start=1):
        if step % every == 0:
            updates += 1
            d = min(decay**every, (1 + updates) / (10 + updates))
            average = d * average + (1 - d) * weight.double()
    return average


@pytest.mark.parametrize(("decay", "every"), [(0.9, 1), (0.2, 1), (0.9, 2), (0.0, 1)])
def test_a_weight_average_is_the_formula(decay: float, every: int) -> None:
    trainer = trainer_of()
    states: list[Tensor] = []
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: states.append(trainer.network.weight.clone()))  # type: ignore[union-attr, operator]
    first = trainer.network.weight.detach().clone()  # type: ignore[operator, union-attr]
    fitted([note, WeightAverage(decay, every=every)], epochs=3, trainer=trainer)
    torch.testing.assert_close(trainer.network.weight.double(), averages(decay, every, states, first))  # type: ignore[operator, union-attr]


def test_an_average_validates_and_the_training_goes_on_without_it() -> None:
    averaged, plain = trainer_of(), trainer_of()
    seen: list[float] = []
    note = LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(averaged.network.weight.sum().item()))  # type: ignore[operator, union-attr]
    expected: list[float] = []
    other = LambdaCallback(on_epoch_begin=lambda epoch, logs: expected.append(plain.network.weight.sum().item()))  # type: ignore[operator, union-attr]
    history = averaged.fit(TensorBatches(X, Y), epochs=4, validation=validation(), callbacks=[WeightAverage(0.5), note])
    reference = plain.fit(TensorBatches(X, Y), epochs=4, validation=validation(), callbacks=[other])
    assert seen == expected
    assert [row["loss"] for row in history] == [row["loss"] for row in reference]
    assert [row["val_loss"] for row in history] != [row["val_loss"] for row in reference]
    assert averaged.evaluate(validation())["loss"] == history[-1]["val_loss"]


def test_whole_numbers_are_taken_over_and_running_statistics_averaged() -> None:
    net = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
    trainer = fitted([WeightAverage(0.9)], trainer=trainer_of(net), epochs=2)
    norm = trainer.network[1]  # type: ignore[index]
    assert norm.num_batches_tracked == 4
    assert norm.running_var.item() != 1.0


def test_stopping_early_after_an_average_restores_averages() -> None:
    trainer = trainer_of(lr=3.0)
    stopping = EarlyStopping(patience=2, restore_best_weights=True, only_when_stopped=True)
    history = trainer.fit(
        TensorBatches(X, Y, batch_size=8),
        epochs=20,
        validation=validation(),
        callbacks=[WeightAverage(0.5), stopping],
    )
    assert len(history) < 20
    assert trainer.evaluate(validation())["loss"] == pytest.approx(min(row["val_loss"] for row in history))


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_the_decay_of_an_average(decay: float) -> None:
    with pytest.raises(ConfigError, match="decay of a weight average"):
        WeightAverage(decay)


# ModelCheckpoint


def model() -> Sequential:
    torch.manual_seed(0)
    made = Sequential([Dense(1, input_shape=(3,))])
    made.compile("sgd", "mse")
    return made


def test_a_checkpoint_of_each_epoch_under_its_name(tmp_path: Path) -> None:
    net = model()
    history = net.fit(
        X, Y, epochs=2, validation_data=(X, Y), verbose=0,
        callbacks=[ModelCheckpoint(tmp_path / "at-{epoch:02d}-{val_loss:.3f}.zip")],
    )  # fmt: skip
    losses = history.history["val_loss"]
    names = [f"at-{number:02d}-{loss:.3f}.zip" for number, loss in enumerate(losses, start=1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert Model.load(tmp_path / names[0]).evaluate(X, Y) == pytest.approx(losses[0])


@pytest.mark.parametrize("weights_only", [False, True])
def test_only_the_best_is_kept(tmp_path: Path, weights_only: bool) -> None:
    net, path = model(), tmp_path / "best"
    net.compile(torch.optim.SGD(net.parameters(), lr=3.0), "mse")  # diverges
    callback = ModelCheckpoint(path, monitor="loss", save_best_only=True, save_weights_only=weights_only)
    written: list[int] = []
    note = LambdaCallback(on_epoch_end=lambda epoch, logs: written.append(path.stat().st_mtime_ns))
    net.fit(X, Y, epochs=3, callbacks=[callback, note], verbose=0)
    assert len(set(written)) == 1
    if weights_only:
        model().load_weights(path)
    else:
        assert Model.load(path).built


def test_a_checkpoint_path_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)the checkpoint path names 'val_loss'.*does not compute"):
        model().fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "{val_loss}")], verbose=0)


# learning rates


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (lambda epoch: 0.1 / (epoch + 1), [0.1, 0.05, 0.1 / 3]),
        (lambda epoch, rate: rate * 0.5, [0.5, 0.25, 0.125]),
        (lambda *both: both[1] * 0.5, [0.5, 0.25, 0.125]),
        (StepDecay(0.4, drop=0.5, every=1), [0.4, 0.2, 0.1]),
    ],
)
def test_a_rate_for_each_epoch(schedule: Any, rates: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []
    trainer = trainer_of(lr=1.0)
    note = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["learning_rate"]))
    fitted([LearningRateScheduler(schedule, verbose=1), note], trainer=trainer)
    assert seen == pytest.approx(rates)
    assert capsys.readouterr().out.splitlines()[0] == f"epoch 1: learning rate {rates[0]:g}"


def test_an_error_in_a_schedule_is_not_hidden() -> None:
    def wrong(epoch: int, rate: float) -> float:
        return rate + None  # type: ignore[operator]

    with pytest.raises(TypeError, match="unsupported operand"):
        fitted([LearningRateScheduler(wrong)])


@pytest.mark.parametrize("callback", [LearningRateScheduler(lambda epoch: 0.1), ReduceLROnPlateau("loss", patience=1)])
def test_two_that_set_the_rate_are_one_too_many(callback: Callback) -> None:
    trainer = trainer_of(lr=3.0, rate=CosineDecay(3.0).rate_at)
    with pytest.raises(ConfigError, match="follows a schedule"):
        fitted([callback], trainer=trainer, epochs=5)


def test_the_rate_falls_on_a_plateau() -> None:
    callback = ReduceLROnPlateau("val_loss", factor=0.5, patience=2, min_lr=0.2, cooldown=1)
    told(callback, [1.0, 1.0, 1.0])
    assert callback.trainer.learning_rate == 0.5
    told(callback, [1.0] * 20)
    assert callback.trainer.learning_rate == 0.2
    rising = ReduceLROnPlateau("val_accuracy", factor=0.5, patience=1)
    told(rising, [0.1, 0.2, 0.3], "val_accuracy")
    assert rising.trainer.learning_rate == 1.0
    told(rising, [0.3, 0.2], "val_accuracy")
    assert rising.trainer.learning_rate == 0.5


def test_a_plateau_in_a_training() -> None:
    trainer = fitted([ReduceLROnPlateau(patience=1, factor=0.1, min_delta=1e9)], epochs=4, validation=validation())
    assert trainer.learning_rate == pytest.approx(0.05 * 0.1**3)


# TerminateOnNaN


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trainer_of()
    bad = torch.where(torch.arange(N)[:, None] == 12, value, Y)
    history = trainer.fit(TensorBatches(X, bad, batch_size=8), epochs=5, callbacks=[TerminateOnNaN()])
    assert (len(history), trainer.step) == (1, 2)
    assert capsys.readouterr().out == f"batch 1: the loss is {value}, stopping\n"
    assert trainer_of().fit(TensorBatches(X, Y), epochs=2, callbacks=[TerminateOnNaN()])[-1]["loss"] > 0


# CSVLogger


def rows_of(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=separator))


def test_a_row_for_each_epoch(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("old\n")
    history = trainer_of().fit(
        TensorBatches(X, Y), epochs=3, validation=validation(), callbacks=[CSVLogger(path, separator=";")]
    )
    rows = rows_of(path, ";")
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in history]
    assert set(rows[0]) == {"epoch", *history[0]}


def test_validation_that_comes_later_has_its_column(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    fitted([CSVLogger(path)], validation=validation(), validate_every=2, epochs=4)
    assert [bool(row["val_loss"]) for row in rows_of(path)] == [False, True, False, True]


def test_appending_keeps_the_columns_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("loss,note,epoch\n0.5,begun by hand,7\n", encoding="utf-8")
    trainer = fitted([CSVLogger(path, append=True)], epochs=2)
    fitted([CSVLogger(path, append=True)], epochs=1, trainer=trainer)
    rows = rows_of(path)
    assert [row["epoch"] for row in rows] == ["7", "0", "1", "0"]
    assert rows[0]["note"] == "begun by hand"
    assert all(float(row["loss"]) > 0 for row in rows)
    fitted([CSVLogger(tmp_path / "new.csv", append=True)], epochs=1)
    assert len(rows_of(tmp_path / "new.csv")) == 1


def test_a_log_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="CSV log cannot be written"):
        fitted([CSVLogger(tmp_path)])


def test_a_log_is_closed_when_the_training_breaks_off(tmp_path: Path) -> None:
    def fail(*args: Any) -> None:
        raise KeyError

    logger = CSVLogger(tmp_path / "log.csv")
    with pytest.raises(KeyError):
        fitted([logger, LambdaCallback(on_epoch_end=fail)])
    assert len(rows_of(tmp_path / "log.csv")) == 1
    assert logger._file is None


# LambdaCallback, TensorBoard, the base


def test_functions_for_hooks() -> None:
    seen: list[str] = []
    hooks = {
        "on_train_begin": lambda logs: seen.append("begin"),
        "on_epoch_begin": lambda epoch, logs: seen.append(f"epoch {epoch}"),
        "on_train_batch_begin": lambda batch, logs: seen.append(f"batch {batch}"),
        "on_train_batch_end": lambda batch, logs: seen.append(sorted(logs)[0]),
        "on_train_end": lambda logs: seen.append("end"),
    }
    fitted([LambdaCallback(**hooks)], epochs=1)
    assert seen == ["begin", "epoch 0", "batch 0", "loss", "batch 1", "loss", "end"]


@pytest.mark.parametrize("name", ["on_epoch_finish", "attach", "on_", "epoch_end"])
def test_a_hook_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)no hook '{name}'.*on_epoch_begin, on_epoch_end"):
        LambdaCallback(**{name: print})


def test_tensorboard_without_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'corecur\[tensorboard\]'"):
        fitted([TensorBoard(tmp_path)])


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra corecur[tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = trainer_of()
    history = trainer.fit(TensorBatches(X, Y), epochs=3, callbacks=[TensorBoard(tmp_path)])
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [event.value for event in events] == pytest.approx([row["loss"] for row in history])


def test_a_copy_of_a_state_stays_as_it_was() -> None:
    net = nn.Linear(2, 1)
    kept = copy_of(net.state_dict())
    with torch.no_grad():
        net.weight.add_(1)
    assert not torch.equal(kept["weight"], net.weight)
    assert not kept["weight"].requires_grad


def test_verbose_callbacks_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(
        Sequential([Dense(1, input_shape=(3,))]),
        loss=MeanSquaredError(),
        optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1),  # changes nothing, so nothing improves
    )
    listening = [
        EarlyStopping("loss", patience=2, verbose=1),
        ReduceLROnPlateau("loss", factor=0.5, patience=1, verbose=1),
        ModelCheckpoint(tmp_path / "m-{epoch}", verbose=1),
    ]
    fitted(listening, epochs=9, trainer=trainer)
    said = capsys.readouterr().out
    assert "epoch 3: loss has not improved since epoch 1, stopping" in said
    assert "epoch 2: learning rate lowered to 0.05" in said
    assert f"epoch 1: saved {tmp_path / 'm-1'}" in said

"""The doctor of trainings: it leaves no trace, it names what is wrong, and it is silent where nothing is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from corecur.data.batches import TensorBatches
from corecur.engine.crossentropy import Crossentropy
from corecur.engine.doctor.diagnose import diagnose
from corecur.engine.doctor.doctor import Doctor
from corecur.engine.doctor.time_gradients import profile_of
from corecur.engine.optimizers import Adam
from corecur.engine.trainer import Trainer
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.norm import BatchNormalization
from corecur.layers.recurrent import Recurrent
from corecur.layers.shape import Flatten
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Sequential
from tests.engine.short_training import Kill, KilledError, Settled

Data = tuple[Tensor, Tensor]


def pictures(count: int = 96) -> Data:
    """Noise with a bright row in one of three places, which is the class."""
    generator = torch.Generator().manual_seed(3)
    x = 0.3 * torch.randn(count, 6, 6, 1, generator=generator)
    y = torch.randint(0, 3, (count,), generator=generator)
    x[torch.arange(count), 2 * y] += 1.0
    return x, y


def sequences(count: int = 96) -> Data:
    """The same read row by row."""
    x, y = pictures(count)
    return x[..., 0], y


def cnn() -> Sequential:
    return Sequential([
        Conv2D(8, 3, activation="relu", input_shape=(6, 6, 1)), BatchNormalization(), Flatten(), Dropout(0.3),
        Dense(3, "softmax"),
    ])  # fmt: skip


def rnn() -> Sequential:
    both = Bidirectional(GRU(6, return_sequences=True, dropout=0.2), input_shape=(None, 6))
    return Sequential([both, LSTM(6, recurrent_dropout=0.2), Dense(3, "softmax")])


def trained(
    make: Callable[[], Sequential], data: Data, *callbacks: Any, rate: float = 0.01, **options: Any
) -> Sequential:
    torch.manual_seed(5)
    np.random.seed(5)
    model = make()
    model.compile(Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    options = {"epochs": 3, "batch_size": 8, "verbose": 0, "validation_split": 0.25} | options
    model.fit(*data, callbacks=list(callbacks), **options)
    return model


@pytest.mark.parametrize(("make", "data"), [(cnn, pictures), (rnn, sequences)], ids=["cnn", "rnn"])
def test_it_changes_no_byte_of_a_training(make: Callable[[], Sequential], data: Callable[[], Data]) -> None:
    alone, drawn = trained(make, data()), torch.rand(3)
    doctor = Doctor()
    watched, drawn_then = trained(make, data(), doctor), torch.rand(3)
    for (name, a), b in zip(alone.state_dict().items(), watched.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert torch.equal(drawn, drawn_then)
    shown = [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in alone.trainer.history]
    assert shown == [
        {k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in watched.trainer.history
    ]
    assert [row["step"] for row in doctor.rows if row["row"] == "look"] == [1, 4, 16]
    assert doctor.findings == ()


@pytest.mark.parametrize("stateful", [False, True])
def test_carried_states_go_on_as_without_it(stateful: bool) -> None:
    def make() -> Sequential:
        return Sequential([GRU(4, input_shape=(None, 6), return_sequences=True, stateful=stateful), Dense(6)])

    x, _ = sequences()
    options = {"validation_split": 0.0, "bptt_steps": None if stateful else 2, "shuffle": False}
    weights = []
    for callbacks in ([], [Doctor()]):
        torch.manual_seed(5)
        model = make()
        model.compile("adam", "mse")
        model.fit(x, x, epochs=2, batch_size=8, verbose=0, callbacks=callbacks, **options)
        weights.append([p.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def by_hand(layer: Recurrent, x: Tensor) -> list[float]:
    """Norms of the gradient of the last output, along +1 -1 +1 …, by steps before the last; one step at a time."""
    leaves = [step.clone().requires_grad_() for step in x.unbind(1)]
    weights = layer.weights()  # type: ignore[operator]
    state = torch.zeros(len(x), weights["weight_hh"].shape[1], dtype=x.dtype)
    for leaf in leaves:
        a = leaf @ weights["weight_ih"].T + weights["bias_ih"] + state @ weights["weight_hh"].T + weights["bias_hh"]
        state = torch.tanh(a)
    direction = torch.ones_like(state)
    direction.reshape(-1)[1::2] = -1
    found = torch.autograd.grad((state * direction).sum(), leaves)
    return [float(g.norm(dim=1).square().mean().sqrt()) for g in reversed(found)]


@pytest.mark.parametrize("backwards", [False, True])
def test_gradients_by_time_are_those_of_a_loop(backwards: bool) -> None:
    torch.manual_seed(0)
    layer = SimpleRNN(5, go_backwards=backwards, input_shape=(None, 3))
    x = torch.randn(4, 7, 3)
    layer(x)
    found = profile_of(layer, x)
    assert found is not None and found.steps == 7
    assert found.gradients == pytest.approx(by_hand(layer, x.flip(1) if backwards else x), rel=1e-4)
    assert layer.return_sequences is False and layer.training and all(p.grad is None for p in layer.parameters())


def test_padding_changes_no_profile() -> None:
    torch.manual_seed(0)
    layer = LSTM(5, input_shape=(None, 3))
    x = torch.randn(2, 6, 3)
    layer(x)
    padded = torch.cat([torch.full((2, 4, 3), 9.0), x, torch.full((2, 3, 3), 9.0)], 1)
    mask = torch.zeros(2, 13, dtype=torch.bool)
    mask[:, 4:10] = True
    whole, found = profile_of(layer, x), profile_of(layer, padded, mask)
    assert whole is not None and found is not None and found.steps == 6
    assert found.gradients == pytest.approx(whole.gradients, rel=1e-4)
    assert found.gates == pytest.approx(whole.gates)


def kinds(doctor: Doctor) -> set[str]:
    return {finding.kind for finding in doctor.findings}


def test_each_finding_is_told_once_with_its_remedy() -> None:
    told: list[str] = []
    x, y = pictures()
    doctor = Doctor(tell=told.append)
    trained(cnn, (500 * x, y), doctor)
    assert kinds(doctor) == {"unnormalised-input"}
    assert len(told) == 1 and told[0].startswith("! doctor: The input is not normalised") and "Remedy: " in told[0]


def test_what_is_learnt_once_the_rate_was_lowered_is_no_excuse() -> None:
    """Steps as large as the weights; the loss falls a little at the end, where a schedule is nearly down at 0."""
    doctor = Doctor(tell=lambda line: None)
    trained(cnn, pictures(), doctor)
    rows = copy.deepcopy(doctor.rows)
    for row in rows:
        for layer in row["layers"] if row["row"] == "look" and row["step"] > 1 else ():
            layer["u"] = 1.0
    epochs = [row for row in rows if row["row"] == "epoch"]
    for number, row in enumerate(epochs, 1):
        row["curve"] = [[1.1 - 0.1 * (number / len(epochs)) ** 3, 1] for _ in row["curve"]]
    assert "learning-rate-too-high" in {finding.kind for finding in diagnose(rows)}
    going_on = [row for row in rows if row["row"] != "end"]
    assert "learning-rate-too-high" not in {finding.kind for finding in diagnose(going_on)}


@pytest.mark.parametrize(("peak", "end", "named"), [(7.0, 2.3, True), (7.0, 0.4, False), (2.6, 2.3, False)])
def test_what_falls_back_from_where_a_rate_threw_it_has_not_been_learnt(peak: float, end: float, named: bool) -> None:
    """Where no answer without the input is known, the loss itself tells: it rose, and ends hardly below its start."""
    doctor = Doctor(tell=lambda line: None)
    trained(cnn, pictures(), doctor)
    rows = copy.deepcopy(doctor.rows)
    for row in rows:
        row.pop("baseline", None)
        if row["row"] == "look":
            row["loss"] = 2.5
        for layer in row["layers"] if row["row"] == "look" and 1 < row["step"] < 16 else ():
            layer["u"] = 0.7
    epochs = [row for row in rows if row["row"] == "epoch"]
    for number, row in enumerate(epochs):
        left = 1 - number / (len(epochs) - 1)
        row["curve"] = [[end + (peak - end) * left**3, 1] for _ in row["curve"]]
    assert ("learning-rate-too-high" in {finding.kind for finding in diagnose(rows)}) == named


def test_a_frozen_layer_is_named() -> None:
    def frozen() -> Sequential:
        model = cnn()
        model.layers[0].trainable = False  # type: ignore[assignment]
        return model

    doctor = Doctor(tell=lambda line: None)
    trained(frozen, pictures(), doctor)
    assert kinds(doctor) == {"frozen-part"} and "conv2d" in doctor.findings[0].verdict


def test_a_network_that_takes_no_other_batch_is_trained_all_the_same() -> None:
    class Stubborn(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(48, 36)

    doctor = Doctor(tell=lambda line: None)
    network = torch.nn.Sequential(Stubborn(), torch.nn.Linear(36, 3))
    trainer = Trainer(network, loss=Crossentropy(), optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    history = trainer.fit(TensorBatches(*pictures(), batch_size=48), epochs=2, callbacks=[doctor])
    assert len(history) == 2 and trainer.step == 4
    assert kinds(doctor) == {"not-looked-at"} and doctor.findings[0].level == "note"


def test_a_healed_training_learns_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    data, ill, well = pictures(192), Doctor(tell=lambda line: None), Doctor(heal=True, tell=lambda line: None)
    options: dict[str, Any] = {"rate": 3.0, "epochs": 4}
    lost = trained(cnn, data, ill, **options).trainer.history[-1]["loss"]
    healed = trained(cnn, data, well, **options)
    assert well.done and healed.trainer.history[-1]["loss"] < 0.5 * lost
    at = tmp_path / "kept"
    with pytest.raises(KilledError):
        killed = Doctor(heal=True, tell=lambda line: None)
        trained(cnn, data, Settled(), killed, Kill(41), checkpoints=at, save_every=1, **options)
    again = Doctor(heal=True, tell=lambda line: None)
    resumed = trained(cnn, data, Settled(), again, resume=at, **options)
    assert again.done == well.done
    for (name, a), b in zip(healed.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert [row for row in again.rows if row["row"] == "look"] == [row for row in well.rows if row["row"] == "look"]


def test_rows_are_judged_again_to_the_same_findings() -> None:
    x, y = pictures()
    doctor = Doctor(tell=lambda line: None)
    trained(cnn, (500 * x, y), doctor)
    assert diagnose(copy.deepcopy(doctor.rows)) == doctor.findings
    assert diagnose([]) == ()

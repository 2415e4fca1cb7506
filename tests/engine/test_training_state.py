"""A state of a training goes back into the training that it is of, and into no other (Q02, Q03)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from corecur.engine.accuracy import SparseTopKCategoricalAccuracy
from corecur.engine.callbacks import EarlyStopping, ReduceLROnPlateau
from corecur.engine.packing import frozen, pack
from corecur.engine.trainer import Trainer
from corecur.engine.training_state import TrainingState
from corecur.errors import BundleError
from tests.engine.short_training import batches, end_of, network, same_numbers, trainer


def begun(train: Trainer, *callbacks: Any, steps: int = 2) -> Trainer:
    train.begin(batches(), epochs=3, callbacks=callbacks)
    for callback in callbacks:
        callback.on_train_begin({})
    for batch in list(batches().epoch(0))[:steps]:
        train.train_step(batch)
    return train


@pytest.fixture
def values() -> dict[str, Any]:
    same_numbers()
    return dict(TrainingState.of(begun(trainer(), EarlyStopping())).values)


def test_back_in_place_it_is_the_same_state(values: dict[str, Any]) -> None:
    other = begun(trainer(), EarlyStopping(), steps=4)
    assert other.step == 4
    TrainingState(values).restore(other)
    again = pack(TrainingState.of(other).values)
    first = pack(values)
    assert again[0] == first[0]
    assert all(torch.equal(again[1][name], first[1][name]) for name in first[1])


def refused(values: dict[str, Any], into: Trainer) -> str:
    """What is said of a state that does not fit; nothing of it may have been put back."""
    own = ("network", "optimizer", "carried", "random", "guard")
    before = end_of(into, own)
    with pytest.raises(BundleError) as found:
        TrainingState(values).restore(into)
    assert found.value.code in ("other-training", "bad-state")
    assert end_of(into, own) == before
    return str(found.value)


OTHERS: dict[str, tuple[Callable[[], Trainer], str]] = {
    "layer": (lambda: begun(trainer(network().append(nn.Linear(3, 3))), EarlyStopping()), "weights of another network"),
    "size": (lambda: begun(trainer(nn.Sequential(*network()[:-1], nn.Linear(64, 4))), EarlyStopping()), "'5.weight'"),
    "type": (lambda: trainer(network().double()), "another shape or type"),
    "optimizer": (
        lambda: begun(trainer(optimizer=lambda w: torch.optim.SGD(w, lr=0.1)), EarlyStopping()), "optimizer is another"
    ),
    "no optimizer": (lambda: Trainer(network(), loss=trainer().loss, metrics=trainer().metrics), "no optimizer"),
    "groups": (
        lambda: begun(trainer(optimizer=lambda w: torch.optim.Adam([{"params": [p]} for p in w])), EarlyStopping()),
        "optimizer is another",
    ),
    "flags": (
        lambda: begun(trainer(optimizer=lambda w: torch.optim.Adam(w, amsgrad=True)), EarlyStopping()), "amsgrad"
    ),
    "callbacks": (lambda: begun(trainer(), ReduceLROnPlateau()), "other callbacks than ReduceLROnPlateau"),
    "no callbacks": (lambda: begun(trainer()), "other callbacks than none"),
    "metrics": (lambda: begun(trainer(metrics=[]), EarlyStopping()), "other metrics than none"),
    "metric": (
        lambda: begun(trainer(metrics=[SparseTopKCategoricalAccuracy(k=2)]), EarlyStopping()), "other metrics than"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_another_training_refuses_it_and_stays_as_it_is(name: str, values: dict[str, Any]) -> None:
    make, said = OTHERS[name]
    assert said in refused(values, make())


def changed(values: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    values = frozen(values)
    place: Any = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return values


ODD = {
    "step -1": (("position", "step"), -1), "step 2^63": (("position", "step"), 2**63),
    "step 1.0": (("position", "step"), 1.0), "step True": (("position", "step"), True),
    "epoch -1": (("position", "epoch"), -1), "no pieces": (("position", "pieces"), 0),
    "a flag": (("position", "finished"), 1), "position": (("position",), []),
    "moments of another shape": (("optimizer", "states", 0, "exp_avg"), torch.zeros(4, 1, 3, 4)),
    "moments of other axes": (("optimizer", "states", 0, "exp_avg"), torch.zeros(36)),
    "moments of text": (("optimizer", "states", 0, "exp_avg"), "text"),
    "fewer moments": (("optimizer", "states"), []), "a moment's kind": (("optimizer", "states", 0), 3),
    "rate of text": (("optimizer", "groups", 0, "lr"), "high"),
    "rate nan": (("optimizer", "groups", 0, "lr"), float("nan")),
    "betas": (("optimizer", "groups", 0, "betas"), (0.9,)), "fused": (("optimizer", "groups", 0, "fused"), True),
    "groups": (("optimizer", "groups"), {}), "optimizer": (("optimizer",), []),
    "weight of text": (("network", "0.weight"), "w"), "network": (("network",), []),
    "tally": (("tally", "total"), torch.zeros(2)), "samples": (("tally", "samples"), -1), "tally's": (("tally",), {}),
    "guard": (("guard", "rate_share"), 0.0), "guard's": (("guard", "in_row"), 1.5),
    "guard nan": (("guard", "rate_share"), float("nan")),
    "history": (("history",), [1]), "carried": (("carried",), [[1]]), "random": (("random",), {}),
    "callback": (("callbacks", 0, 1), {}), "callback's": (("callbacks", 0), "x"), "callbacks": (("callbacks",), {}),
    "metric": (("metrics", 0, 1), []), "metrics": (("metrics",), None), "budget": (("budget",), 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_no_training_leaves_is_refused(name: str, values: dict[str, Any]) -> None:
    path, to = ODD[name]
    refused(changed(values, *path, to=to), begun(trainer(), EarlyStopping()))


def test_a_part_too_few_and_one_too_many(values: dict[str, Any]) -> None:
    for odd in (values | {"more": 1}, {k: v for k, v in values.items() if k != "guard"}):
        with pytest.raises(BundleError, match="parts of a training: (more|guard)"):
            TrainingState(odd)


@pytest.mark.parametrize("wrong", [torch.zeros(1), torch.zeros(4, 1, 3, 1), torch.zeros(4, 1, 3, 3).double()])
def test_a_fused_kernel_is_given_no_memory_but_what_it_expects(wrong: torch.Tensor) -> None:
    def fused() -> Trainer:
        return begun(trainer(optimizer=lambda w: torch.optim.Adam(w, fused=True)))

    same_numbers()
    values = dict(TrainingState.of(fused()).values)
    TrainingState(values).restore(fused())
    assert "exp_avg" in refused(changed(values, "optimizer", "states", 0, "exp_avg", to=wrong), fused())


def test_a_lower_rate_in_a_state(values: dict[str, Any]) -> None:
    train = begun(trainer(), EarlyStopping())
    train.guard.slow_down()
    TrainingState(values).slower(train).restore(train)
    assert train.optimizer is not None and train.optimizer.param_groups[0]["lr"] == 0.005
    assert train.learning_rate == 0.01 and train.guard.times_back == 1


def test_constant_masks_of_infinity_are_no_loss() -> None:
    class Masked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("mask", torch.full((2,), -torch.inf))
            self.register_buffer("mean", torch.zeros(2))

    net = Masked()
    train = trainer(net)
    train.begin(batches(), epochs=1)
    assert TrainingState.of(train).not_finite() is None
    net.mean.fill_(torch.nan)  # type: ignore[operator]
    assert TrainingState.of(train).not_finite() == "the weight mean"

"""Numbers that are none: no step is taken with them, and a training that is lost goes back (K18)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.data.batches import Batches, TensorBatches
from corecur.engine.callback import Callback, Logs
from corecur.engine.callbacks import LearningRateScheduler
from corecur.engine.checkpoint import CheckpointFolder
from corecur.engine.clipping import Clipping
from corecur.engine.finite import FiniteGuard
from corecur.engine.losses import MeanSquaredError
from corecur.engine.trainer import Trainer
from corecur.errors import RunError, Stopped
from corecur.layers.dense import Dense
from corecur.layers.lstm import LSTM
from corecur.models import Sequential
from tests.engine.short_training import Settled, bits_of, end_of, keeper, same_numbers, weights_of


def train(rate: float, x: torch.Tensor) -> int:
    """Epochs trained of a linear network at this rate."""
    network = nn.Linear(1, 1)
    trainer = Trainer(network, loss=MeanSquaredError(), optimizer=torch.optim.SGD(network.parameters(), lr=rate))
    return len(trainer.fit(TensorBatches(x, 3 * x, batch_size=4), epochs=3))


def test_a_good_training_is_left_alone() -> None:
    assert train(0.1, torch.ones(8, 1)) == 3


def test_a_loss_that_is_lost() -> None:
    with pytest.raises(RunError, match="the loss is nan") as refused:
        train(0.1, torch.full((8, 1), torch.nan))
    assert "epoch 2, step 3" in str(refused.value) and "lower learning rate" in str(refused.value)


def test_a_weight_that_is_lost_behind_a_finite_loss() -> None:
    with pytest.raises(RunError, match="the weight (weight|bias) holds NaN or infinity"):
        train(3e38, torch.ones(4, 1) * 10)


def test_weights_whose_squares_are_beyond_float32_are_no_loss() -> None:
    network = nn.ParameterList([torch.full((3,), 1e30), torch.full((2,), 1e300, dtype=torch.float64)])
    FiniteGuard(print).check_weights(network, place="epoch 1")


def test_a_complex_weight_that_is_lost() -> None:
    network = nn.ParameterList([torch.ones(2), torch.tensor([1j, complex(0, float("inf"))])])
    with pytest.raises(RunError, match="the weight 1 holds NaN or infinity"):
        FiniteGuard(print).check_weights(network, place="epoch 1")


class Spoiling(torch.autograd.Function):
    """The identity, whose gradient is not finite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: float) -> Tensor:
        ctx.value = value
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return torch.full_like(gradient[0], ctx.value), None


class Counting(nn.BatchNorm1d):
    """Puts a new tensor in the place of a buffer at each pass, as some modules do."""

    def __init__(self, size: int) -> None:
        super().__init__(size, momentum=None)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, input: Tensor) -> Tensor:
        self.seen = self.seen + input.mean()
        return super().forward(input)


class Net(nn.Module):
    """Batch normalisation, and a gradient that can be spoilt."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 8), Counting(8), nn.Linear(8, 1)
        self.spoilt: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.first(x))
        if self.spoilt is not None:
            hidden = Spoiling.apply(hidden, self.spoilt)
        return self.last(hidden)  # type: ignore[no-any-return]


def data(count: int = 24) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, generator=drawn)
    return x, x.sum(1, keepdim=True)


def ready(**options: Any) -> tuple[Trainer, list[str], TensorBatches]:
    """A trainer that has taken two steps."""
    same_numbers()
    net, told, (x, y) = Net(), [], data()
    made = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.Adam(net.parameters(), lr=0.01), **options)
    made.tell = told.append
    source = TensorBatches(x, y, batch_size=4, shuffle=True, seed=1)
    made.begin(source, epochs=1)
    for batch in list(source)[:2]:
        made.train_step(batch)
    return made, told, source


def in_inputs(made: Trainer, batch: Any, value: float) -> Any:
    batch.inputs[[1, 3], 0] = value
    return batch


def in_targets(made: Trainer, batch: Any, value: float) -> Any:
    batch.targets[[1, 3]] = value
    return batch


def in_gradient(made: Trainer, batch: Any, value: float) -> Any:
    made.network.spoilt = value
    return batch


@pytest.mark.parametrize("clipping", [None, Clipping(norm=1.0), Clipping(value=1.0), Clipping(norm_each=1.0)], ids=str)
@pytest.mark.parametrize("plant", [in_inputs, in_targets, in_gradient], ids=lambda f: f.__name__)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_planted_value_changes_nothing(plant: Callable[..., Any], value: float, clipping: Clipping | None) -> None:
    made, told, source = ready(clipping=clipping)
    batch = list(source)[2]
    parts = ("network", "optimizer", "metrics", "carried")
    before = bits_of(made, parts)
    _, size = made.train_step(plant(made, batch, value))
    assert size == 0 and made.guard.in_row == 1 and bits_of(made, parts) == before
    assert len(told) == 1 and told[0].startswith("! epoch 1, step 3: ")
    index = batch.index.tolist()
    named = [index[1], index[3]] if plant is not in_gradient else index
    assert f"samples {', '.join(map(str, named))} of the training data" in told[0]
    assert ("hold NaN or infinity" in told[0]) == (plant is not in_gradient)
    assert ("the gradient is not finite" in told[0]) == (plant is in_gradient)
    made.network.spoilt = None  # type: ignore[assignment]
    _, size = made.train_step(list(source)[3])
    assert size == 4 and made.guard.in_row == 0


def test_a_large_finite_loss_is_none_of_its_business() -> None:
    made, told, source = ready()
    batch = list(source)[2]
    before = weights_of(made)
    _, size = made.train_step(batch._replace(targets=batch.targets * 100))
    assert size == 4 and told == [] and not torch.equal(before["last.bias"], weights_of(made)["last.bias"])


@pytest.mark.parametrize("stateful", [True, False], ids=["stateful", "truncated"])
def test_carried_states_of_a_step_left_out(stateful: bool) -> None:
    same_numbers()
    net = Sequential([LSTM(4, return_sequences=True, stateful=stateful, input_shape=(None, 3)), Dense(1)])
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    made = Trainer(net, loss=MeanSquaredError(), optimizer=sgd, bptt_steps=None if stateful else 5)
    told: list[str] = []
    made.tell = told.append
    x = torch.randn(4, 5, 3)
    source = TensorBatches(x, torch.zeros(4, 5, 1), batch_size=4)
    made.begin(source, epochs=1)
    with made._carrying():
        made.train_step(next(iter(source)))
        before = [s.clone() for s in net.layers[0]._carried]
        x[2, 4, 0] = torch.nan
        made.train_step(next(iter(source)))
        assert len(told) == 1 and all(map(torch.equal, before, net.layers[0]._carried))


# Set back


class Poison(Batches):
    """Batches of which some steps' inputs are NaN, once or however often they come."""

    def __init__(self, steps: set[int], *, forever: bool) -> None:
        x, y = data()
        self.whole = TensorBatches(x, y, batch_size=4, shuffle=True, seed=1)
        self.batch_size, self.samples = 4, 24
        self.steps, self.forever = set(steps), forever

    def __len__(self) -> int:
        return len(self.whole)

    def epoch(self, epoch: int, start: int = 0) -> Any:
        for number, batch in enumerate(self.whole.epoch(epoch, start), start=start + 1):
            step = epoch * 6 + number
            if step in self.steps:
                batch = batch._replace(inputs=batch.inputs * torch.nan)
                if not self.forever:
                    self.steps.discard(step)
            yield batch


def run(
    folder: Path, source: Batches, *callbacks: Callback, rate: Any = None, every: int = 2, epochs: int = 4
) -> tuple[Trainer, list[str]]:
    same_numbers()
    net, told = Net(), list[str]()
    made = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.Adam(net.parameters(), lr=0.01), rate=rate)
    made.tell = told.append
    made.fit(
        source, epochs=epochs, callbacks=[Settled(), *callbacks],
        checkpoints=keeper(folder, every=every, monitor=None, tell=told.append),
    )  # fmt: skip
    return made, told


class Rates(Callback):
    """The rate of each step."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        assert self.trainer.optimizer is not None
        self.seen.append((self.trainer.step, self.trainer.optimizer.param_groups[0]["lr"]))


@pytest.mark.parametrize("scheduled", [False, True])
def test_three_in_a_row_go_back_with_half_the_rate(tmp_path: Path, scheduled: bool) -> None:
    rates = Rates()
    schedule = (lambda step, progress: 0.01) if scheduled else None
    made, told = run(tmp_path, Poison({7, 8, 9}, forever=False), rates, rate=schedule)
    assert told[3] == "! the training goes back from step 9 to step 6, with 0.5 of the learning rate"
    assert [step for step, _ in rates.seen] == [*range(1, 9), *range(7, 25)]  # the third raised before it was heard of
    assert {rate for _, rate in rates.seen[:8]} == {0.01} and {rate for _, rate in rates.seen[8:]} == {0.005}
    assert len(made.history) == 4 and made.history[-1]["loss"] < made.history[0]["loss"]
    assert made.guard.times_back == 1 and made.learning_rate == 0.01


def test_a_callback_that_sets_rates_sets_the_lower_ones(tmp_path: Path) -> None:
    rates = Rates()
    halving = LearningRateScheduler(lambda epoch, rate: 0.01 if epoch == 0 else rate / 2)
    made, _ = run(tmp_path, Poison({7, 8, 9}, forever=False), halving, rates)
    by_step = dict(rates.seen)
    assert [by_step[step] for step in (1, 7, 13, 19)] == [0.01, 0.0025, 0.00125, 0.000625]
    assert made.history[-1]["learning_rate"] == 0.000625


def test_three_times_back_and_then_a_stop(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="ran away 4 times") as stopped:
        run(tmp_path, Poison({9, 10, 11}, forever=True))
    assert stopped.value.exit_code == 75
    found = CheckpointFolder(tmp_path).newest()
    assert found is not None and found.state.not_finite() is None


def test_the_same_again(tmp_path: Path) -> None:
    ends = [run(tmp_path / name, Poison({7, 8, 9, 14, 15, 16}, forever=False)) for name in "ab"]
    assert end_of(ends[0][0]) == end_of(ends[1][0])
    assert ends[0][1] == ends[1][1] and ends[0][0].guard.times_back == 2


def test_a_rate_that_explodes_ends_finite(tmp_path: Path) -> None:
    """A plain network that diverges at its first rate converges at an eighth of it."""
    same_numbers()
    x = torch.randn(64, 1)
    net = nn.Linear(1, 1)
    made = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=2.5))
    told: list[str] = []
    made.tell = told.append
    made.fit(
        TensorBatches(x, 3 * x, batch_size=16), epochs=120, callbacks=[Settled()],
        checkpoints=keeper(tmp_path, every=50, monitor=None, tell=told.append),
    )  # fmt: skip
    assert any("goes back" in line for line in told) and made.guard.rate_share < 1
    assert made.history[-1]["loss"] < 1e-3 and bool(torch.isfinite(net.weight).all())


def test_no_lost_weight_is_ever_on_the_disk(tmp_path: Path) -> None:
    """Each checkpoint is looked at as soon as it is there, while weights become infinite behind finite losses."""
    same_numbers()
    net = nn.Linear(1, 1)
    folder, seen = CheckpointFolder(tmp_path), set[int]()

    class Look(Callback):
        def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
            for step in folder.steps():
                seen.add(step)
                assert folder.read(step).state.not_finite() is None

    made = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=3e38))
    made.tell = lambda line: None
    with pytest.raises(Stopped):
        made.fit(
            TensorBatches(torch.ones(8, 1) * 10, torch.ones(8, 1), batch_size=4), epochs=20,
            callbacks=[Settled(), Look()], checkpoints=keeper(tmp_path, monitor=None),
        )  # fmt: skip
    assert seen == {0}

"""The one loop, against plain torch.

N samples, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.data.batches import Batch, Batches, TensorBatches
from corecur.engine.accuracy import Accuracy
from corecur.engine.budget import StepBudget, TimeBudget
from corecur.engine.callback import Callback
from corecur.engine.callbacks import LambdaCallback
from corecur.engine.clipping import Clipping
from corecur.engine.crossentropy import Crossentropy, SparseCategoricalCrossentropy
from corecur.engine.evaluating import evaluating
from corecur.engine.losses import MeanSquaredError
from corecur.engine.schedules import CosineDecay, ExponentialDecay, OneCycle
from corecur.engine.trainer import EVENTS, Trainer
from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.dense import Dense
from corecur.layers.regularizers import L1, L2
from corecur.models import Sequential

N = 24
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(0))  # (N, 4)
Y = X @ torch.randn(4, 2, generator=torch.Generator().manual_seed(1))  # (N, 2)
LABELS = Y.argmax(1)  # (N,)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


def trainer_of(net: nn.Module, *, lr: float = 0.1, loss: Any = None, **more: Any) -> Trainer:
    return Trainer(net, loss=loss or MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=lr), **more)


def batches(size: int = 8) -> TensorBatches:
    return TensorBatches(X, Y, batch_size=size)


def weights_of(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


# what happens in a training, in order


class Diary(Callback):
    """Writes down every event with what came along."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.logs: dict[str, Any] = {}

    def __getattribute__(self, name: str) -> Any:
        if name not in EVENTS:
            return super().__getattribute__(name)

        def note(*args: Any) -> None:
            self.lines.append(" ".join([name, *(str(a) for a in args[:-1])]))
            self.logs[name] = dict(args[-1])

        return note

    @property
    def hears_batches(self) -> bool:
        return True

    def close(self) -> None:
        self.lines.append("close")


def test_every_event_is_a_hook_of_every_callback() -> None:
    assert all(callable(getattr(Callback, event)) for event in EVENTS)
    assert {name for name in dir(Callback) if name.startswith("on_")} == set(EVENTS)


def test_the_order_of_events_and_what_they_tell() -> None:
    diary = Diary()
    trainer_of(network()).fit(batches(12), epochs=2, validation=batches(), callbacks=[diary])
    epoch = [
        "on_epoch_begin {0}", "on_train_batch_begin 0", "on_train_batch_end 0", "on_train_batch_begin 1",
        "on_train_batch_end 1", "on_validation_begin", "on_validation_end", "on_epoch_end {0}",
    ]  # fmt: skip
    steps = [line.format(number) for number in range(2) for line in epoch]
    assert diary.lines == ["on_train_begin", *steps, "on_train_end", "close"]
    seen = dict.fromkeys(line.split()[0] for line in diary.lines[:-1])
    assert sorted(seen, key=EVENTS.index) == list(EVENTS)
    assert set(diary.logs["on_epoch_end"]) == {"loss", "val_loss", "learning_rate", "seconds", "waiting"}
    assert set(diary.logs["on_train_batch_end"]) == {"loss"}
    assert diary.logs["on_train_end"] == diary.logs["on_epoch_end"]


def test_what_is_held_open_is_given_back_after_an_error_too() -> None:
    class Fails(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    diary = Diary()
    with pytest.raises(KeyboardInterrupt):
        trainer_of(network()).fit(batches(), epochs=2, callbacks=[diary, Fails()])
    assert diary.lines[-1] == "close"
    assert "on_train_end" not in diary.lines


def test_callbacks_without_batch_hooks_are_not_asked() -> None:
    class Epochs(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...

    class Steps(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None: ...

    assert not Epochs().hears_batches
    assert Steps().hears_batches
    assert LambdaCallback(on_train_batch_begin=print).hears_batches
    assert not LambdaCallback(on_epoch_end=print).hears_batches


@pytest.mark.parametrize("what", [print, Diary, "early_stopping"])
def test_what_is_no_callback(what: Any) -> None:
    with pytest.raises(ConfigError, match=r"(?s)no callback.*object of a Callback class"):
        trainer_of(network()).fit(batches(), epochs=1, callbacks=[what])


# the step


def test_a_training_is_a_loop_in_plain_torch() -> None:
    net, raw = network(), network()
    history = trainer_of(net).fit(batches(10), epochs=3)
    optimizer = torch.optim.SGD(raw.parameters(), lr=0.1)
    for epoch in range(3):
        total = 0.0
        for start in range(0, N, 10):
            x, y = X[start : start + 10], Y[start : start + 10]
            loss = F.mse_loss(raw(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        assert history[epoch]["loss"] == pytest.approx(total / N, rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(net), weights_of(raw), strict=True))


def test_a_loop_of_one_s_own_over_train_step() -> None:
    net, same = network(), network()
    trainer = trainer_of(net)
    trainer.begin(batches(), epochs=2)
    sizes = [trainer.train_step(batch)[1] for _ in range(2) for batch in batches()]
    assert sizes == [8] * 6
    assert trainer.step == trainer.steps_done == 6
    trainer_of(same).fit(batches(), epochs=2)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(net), weights_of(same), strict=True))


def test_penalties_join_the_loss_of_the_training_only() -> None:
    torch.manual_seed(0)
    net = Sequential([
        Dense(5, "tanh", input_shape=(4,), kernel_regularizer=L2(0.1), activity_regularizer=L1(0.01)),
        Sequential([Dense(2, bias_regularizer=L1(0.5), bias_initializer="ones")]),
    ])  # fmt: skip
    first, last = net.layers[0], net.layers[1].layers[0]  # type: ignore[union-attr]
    hidden = first(X)
    plain = F.mse_loss(last(hidden), Y)
    penalty = 0.1 * first.weight.square().sum() + 0.5 * last.bias.abs().sum() + 0.01 * hidden.abs().sum() / N
    gradients = torch.autograd.grad(plain + penalty, list(net.parameters()))
    trainer = trainer_of(net, lr=1.0)
    assert trainer.evaluate(batches(N))["loss"] == pytest.approx(plain.item(), rel=1e-6)
    before = weights_of(net)
    logs = trainer.fit(batches(N), epochs=1)[0]
    assert logs["loss"] == pytest.approx((plain + penalty).item(), rel=1e-6)
    for old, new, gradient in zip(before, net.parameters(), gradients, strict=True):
        torch.testing.assert_close(new.detach(), old - gradient)


CLIPPINGS = {
    "norm": (Clipping(norm=0.1), lambda p: nn.utils.clip_grad_norm_(p, 0.1)),
    "value": (Clipping(value=0.01), lambda p: nn.utils.clip_grad_value_(p, 0.01)),
    "norm of each": (Clipping(norm_each=0.05), lambda p: [nn.utils.clip_grad_norm_(one, 0.05) for one in p]),
    "nothing to clip": (Clipping(norm=1e9), lambda p: None),
    "none": (Clipping(), lambda p: None),
}


@pytest.mark.parametrize("kind", CLIPPINGS)
def test_clipping_is_torch_s(kind: str) -> None:
    clipping, clip = CLIPPINGS[kind]
    net, raw = network(), network()
    trainer_of(net, clipping=clipping).fit(batches(N), epochs=1)
    F.mse_loss(raw(X), Y).backward()
    clip(list(raw.parameters()))
    torch.optim.SGD(raw.parameters(), lr=0.1).step()
    for mine, theirs in zip(weights_of(net), weights_of(raw), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_bfloat16_multiplies_in_it_and_keeps_the_rest_wide() -> None:
    seen: list[torch.dtype] = []
    net = Sequential([Dense(32, "relu", input_shape=(4,)), Dense(2, "softmax")])
    net.layers[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    trainer = trainer_of(net, loss=Crossentropy(), metrics=[Accuracy()], precision=torch.bfloat16)
    labelled = TensorBatches(X, LABELS, batch_size=8)
    history = trainer.fit(labelled, epochs=40, validation=labelled)
    assert set(seen) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["val_accuracy"] > 0.9
    (output,) = Trainer(net, loss=Crossentropy(), precision=torch.bfloat16).predict(TensorBatches(X, batch_size=N))
    assert output.dtype == torch.float32
    assert output.logits.dtype == torch.float32  # the loss is exact from these
    torch.testing.assert_close(output, net(X), rtol=0.02, atol=0.02)


# the learning rate

SCHEDULES = [ExponentialDecay(0.1, 2, 0.5), CosineDecay(0.1), OneCycle(0.1), CosineDecay(0.1, 4)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_a_schedule_is_followed_at_every_step(schedule: Any) -> None:
    rates: list[float] = []
    trainer = trainer_of(network(), rate=schedule.rate_at)
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: rates.append(trainer.learning_rate))
    history = trainer.fit(batches(), epochs=2, callbacks=[note])
    assert rates == [schedule.rate_at(step, step / 6) for step in range(6)]
    assert [row["learning_rate"] for row in history] == [rates[2], rates[5]]


def test_the_rate_decides_the_step() -> None:
    net = network()
    before = weights_of(net)
    trainer_of(net, rate=lambda step, progress: 0.0).fit(batches(), epochs=2)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(net), strict=True))


def test_groups_keep_their_share_of_the_rate() -> None:
    net = network()
    groups = [{"params": net[0].parameters(), "lr": 0.2}, {"params": net[2].parameters(), "lr": 0.05}]  # type: ignore[index]
    optimizer = torch.optim.SGD(groups)  # type: ignore[arg-type]
    Trainer(net, loss=MeanSquaredError(), optimizer=optimizer, rate=lambda step, progress: 1.0).fit(batches(), epochs=1)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.25]


def test_a_rate_that_follows_a_schedule_cannot_be_set_by_hand() -> None:
    trainer = trainer_of(network(), rate=CosineDecay(0.1).rate_at)
    with pytest.raises(ConfigError, match="follows a schedule"):
        trainer.learning_rate = 0.5
    free = trainer_of(network())
    free.learning_rate = 0.5
    assert free.learning_rate == 0.5


# how long


def test_epochs_and_steps_are_counted_on() -> None:
    trainer = trainer_of(network())
    trainer.fit(batches(), epochs=2)
    assert (trainer.step, trainer.steps_done, trainer.epoch) == (6, 6, 1)
    trainer.fit(batches(), epochs=4, initial_epoch=2)
    assert (trainer.step, trainer.steps_done, trainer.epoch) == (12, 12, 3)
    trainer.fit(batches(), epochs=1)
    assert (trainer.step, trainer.steps_done) == (15, 3)


def test_a_resumed_schedule_goes_on_where_it_was() -> None:
    rates: list[float] = []
    trainer = trainer_of(network(), rate=lambda step, progress: progress)
    note = LambdaCallback(
        on_train_batch_begin=lambda batch, logs: rates.append(trainer.budget.progress(trainer.steps_done))
    )
    trainer.fit(batches(), epochs=4, initial_epoch=2, callbacks=[note])
    assert rates == [step / 12 for step in range(6, 12)]


class Clock:
    """A clock that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_time_budget_ends_a_training_in_the_middle_of_an_epoch() -> None:
    clock, seen = Clock(), []
    trainer = trainer_of(network(), rate=lambda step, progress: progress)

    def tick(batch: int, logs: Any) -> None:
        clock.now += 1.0
        seen.append(trainer.learning_rate)

    budget = TimeBudget(4.0, clock=clock)
    note = LambdaCallback(on_train_batch_end=tick)
    history = trainer.fit(batches(), epochs=100, validation=batches(), budget=budget, callbacks=[note])
    assert seen == [0.0, 0.25, 0.5, 0.75]  # the schedule has reached its end when the time has
    assert trainer.step == 4
    assert len(history) == 2
    assert "val_loss" in history[-1]


def test_a_step_budget_spans_the_training_and_ends_nothing() -> None:
    trainer = trainer_of(network())
    trainer.fit(batches(), epochs=2, budget=StepBudget(3))
    assert trainer.step == 6
    assert trainer.budget.progress(trainer.steps_done) == 1.0


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_begin", "on_epoch_end", "on_validation_end"])
def test_a_callback_stops_the_training(hook: str) -> None:
    trainer = trainer_of(network())

    def stop(*args: Any) -> None:
        trainer.stop_training = True

    history = trainer.fit(batches(), epochs=9, validation=batches(), callbacks=[LambdaCallback(**{hook: stop})])
    assert len(history) == 1
    assert "val_loss" in history[0]
    assert trainer.step == (1 if hook == "on_train_batch_end" or hook == "on_epoch_begin" else 3)
    assert len(trainer.fit(batches(), epochs=1)) == 1


def test_the_share_of_time_spent_waiting_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("corecur.engine.trainer.time", SimpleNamespace(perf_counter=clock))

    class Slow(Batches):
        batch_size, samples = 8, N

        def __len__(self) -> int:
            return 3

        def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
            for batch in batches().epoch(epoch, start):
                clock.now += 3.0
                yield batch

    def work(batch: int, logs: Any) -> None:
        clock.now += 1.0

    trainer = trainer_of(network())
    history = trainer.fit(Slow(), epochs=2, callbacks=[LambdaCallback(on_train_batch_end=work)])
    assert [(row["seconds"], row["waiting"]) for row in history] == [(12.0, 0.75), (12.0, 0.75)]
    assert trainer.seconds_waiting == 18.0


def test_batches_of_no_known_number() -> None:
    class Endless(Batches):
        batch_size, samples = 8, None

        def __len__(self) -> int:
            raise TypeError("nobody knows")

        def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
            yield from batches().epoch(epoch, start)

    trainer = trainer_of(network())
    assert len(trainer.fit(Endless(), epochs=2)) == 2
    assert trainer.budget.progress(trainer.steps_done) == 0.0


# validation, evaluation, prediction


def test_validation_now_and_then() -> None:
    history = trainer_of(network()).fit(batches(), epochs=5, validation=batches(), validate_every=2)
    assert ["val_loss" in row for row in history] == [False, True, False, True, True]


def test_evaluate_weighs_batches_by_their_size() -> None:
    net = network()
    trainer = trainer_of(net, metrics=[Accuracy()], loss=SparseCategoricalCrossentropy(from_logits=True))
    results = trainer.evaluate(TensorBatches(X, LABELS, batch_size=10))
    assert results["loss"] == pytest.approx(F.cross_entropy(net(X), LABELS).item(), rel=1e-6)
    assert results["accuracy"] == pytest.approx((net(X).argmax(1) == LABELS).float().mean().item())
    assert Trainer(net, loss=MeanSquaredError()).evaluate(batches())["loss"] > 0


def test_neither_evaluating_nor_predicting_leaves_a_trace() -> None:
    net = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Dropout(0.5).eval())
    trainer = trainer_of(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    drawn = torch.get_rng_state()
    trainer.evaluate(batches())
    outputs = list(trainer.predict(batches()))
    assert [module.training for module in net] == [True, True, True, False]
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not any(output.requires_grad for output in outputs)
    torch.testing.assert_close(torch.cat(outputs), net.eval()(X).detach())


def test_evaluating_goes_back_after_an_error() -> None:
    net = network()
    with pytest.raises(KeyError), evaluating(net):
        assert not net.training
        raise KeyError
    assert net.training


def test_a_trainer_without_an_optimizer_cannot_train() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        Trainer(network(), loss=MeanSquaredError()).fit(batches(), epochs=1)


# weights and targets


def test_class_weights_are_sample_weights() -> None:
    table = {0: 2.0, 1: 0.25}
    by_class = torch.where(LABELS == 0, 2.0, 0.25)
    kinds: dict[str, tuple[Any, Tensor, int]] = {
        "class numbers": (SparseCategoricalCrossentropy(from_logits=True), LABELS, 2),
        "class numbers (B, 1)": (SparseCategoricalCrossentropy(from_logits=True), LABELS[:, None], 2),
        "one-hot": (MeanSquaredError(), F.one_hot(LABELS, 2).float(), 2),
        "one unit": (MeanSquaredError(), LABELS.float(), 1),
    }
    for name, (loss, targets, units) in kinds.items():
        trained = []
        for weights, class_weights in ((None, table), (by_class, None)):
            torch.manual_seed(0)
            net = nn.Linear(4, units)
            trainer = trainer_of(net, loss=loss, class_weights=class_weights)
            trainer.fit(TensorBatches(X, targets, weights, batch_size=8), epochs=2)
            trained.append(weights_of(net))
        assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True)), name


@pytest.mark.parametrize("steps", [3, 2])  # 2: as many as classes, and still no one-hot targets
def test_class_weights_of_each_step_of_a_sequence(steps: int) -> None:
    x, labels = torch.randn(5, steps, 4), torch.arange(5 * steps).reshape(5, steps) % 2  # (B, T, C), (B, T)
    loss = SparseCategoricalCrossentropy(from_logits=True)
    net = nn.Linear(4, 2)
    trainer = trainer_of(net, loss=loss, class_weights={1: 3.0}, lr=0.0)
    given = torch.linspace(0.5, 1, 5)
    found = trainer.fit(TensorBatches(x, labels, given, batch_size=5), epochs=1)[0]["loss"]
    losses = F.cross_entropy(net(x).movedim(-1, 1), labels, reduction="none")  # (B, T)
    expected = (losses * torch.where(labels == 1, 3.0, 1.0) * given[:, None]).mean()
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_need_one_output() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.inner(x), self.inner(x)

    def sum_of_both(target: Any, output: Any, weights: Any) -> Tensor:
        return output[0].sum() + output[1].sum()

    two = Two()
    with pytest.raises(ConfigError, match="one output"):
        trainer_of(two, loss=sum_of_both, class_weights={0: 1.0}).fit(batches(), epochs=1)
    assert len(trainer_of(two, loss=sum_of_both).fit(batches(), epochs=1)) == 1
    with pytest.raises(ShapeError, match="one loss cannot judge several outputs"):
        trainer_of(two).fit(batches(), epochs=1)


def test_targets_are_looked_at_before_the_first_step() -> None:
    net = Sequential([Dense(2, "softmax", input_shape=(4,))])
    trainer = trainer_of(net, loss=SparseCategoricalCrossentropy())
    wrong = torch.where(torch.arange(N) == N - 1, 5, LABELS)
    with pytest.raises(DataError, match="label 5 is not a class"):
        trainer.fit(TensorBatches(X, wrong, batch_size=4), epochs=1)
    assert trainer.step == 0
    with pytest.raises(DataError, match="no targets"):
        trainer.fit(TensorBatches(X), epochs=1)


def test_a_network_without_weights_is_on_the_cpu() -> None:
    assert Trainer(nn.ReLU(), loss=MeanSquaredError()).device == torch.device("cpu")
    assert math.isfinite(Trainer(nn.Flatten(), loss=MeanSquaredError()).evaluate(TensorBatches(Y, Y))["loss"])

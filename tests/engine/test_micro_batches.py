"""Where memory is short: the update of the whole batch from its pieces, a stop to go on from, a real limit (T12)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.data.batches import Batch, TensorBatches
from corecur.engine.callback import Callback, Logs
from corecur.engine.checkpoint import CheckpointFolder
from corecur.engine.losses import MeanSquaredError
from corecur.engine.micro_batches import MemoryShortError, MicroBatches, is_out_of_memory, pieces_of, rows_of
from corecur.engine.trainer import Trainer
from corecur.errors import RunError, Stopped
from corecur.layers.crf import CRF
from corecur.layers.dense import Dense
from corecur.layers.embedding import Embedding
from corecur.layers.lstm import LSTM
from corecur.models import Input, Model, Sequential
from tests.engine.short_training import Settled, end_of, fit, keeper, network, same_numbers, trainer

TEXT = (
    "[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
)
ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: torch.OutOfMemoryError("CUDA out of memory."), lambda: RuntimeError(TEXT), MemoryError,
    lambda: RuntimeError("std::bad_alloc"), lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
)  # fmt: skip


class Limit:
    """A memory that holds so many rows of a network's input, and how often it was too short."""

    def __init__(self, net: nn.Module, rows: int, error: Callable[[], BaseException] = ERRORS[0]) -> None:
        self.rows, self.error, self.times = rows, error, 0
        self.handle = net.register_forward_pre_hook(self.check)

    def check(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if len(args[0]) > self.rows:
            self.times += 1
            raise self.error()


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_what_says_that_memory_is_short(number: int) -> None:
    assert is_out_of_memory(ERRORS[number]())


def test_what_says_something_else() -> None:
    assert not is_out_of_memory(RuntimeError("shape '[2]' is invalid")) and not is_out_of_memory(ValueError())


@pytest.mark.parametrize("rows", range(1, 12))
@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 16])
def test_pieces_are_the_batch(rows: int, count: int) -> None:
    fields = (torch.arange(rows), torch.arange(2 * rows).view(rows, 2))
    batch = Batch(fields, fields[0], fields[0].float(), fields[0])
    pieces = pieces_of(batch, count)
    assert len(pieces) <= max(1, count) and all(rows_of(piece) > 0 for piece in pieces)
    assert torch.equal(torch.cat([piece.inputs[1] for piece in pieces]), fields[1])
    for name in ("targets", "weights", "index"):
        assert torch.equal(torch.cat([getattr(piece, name) for piece in pieces]), getattr(batch, name))


# The same gradient


def tokens() -> tuple[Tensor, Tensor]:
    """Rows of 7, 5, 3, 1, 1 and 6 real steps, and a class for each step."""
    lengths = torch.tensor([7, 5, 3, 1, 1, 6])
    drawn = torch.Generator().manual_seed(2)
    x = torch.randint(1, 9, (6, 7), generator=drawn)
    x[torch.arange(7) >= lengths[:, None]] = 0
    return x, torch.randint(0, 3, (6, 7), generator=drawn)


def tagger(*last: nn.Module, loss: Any = "crossentropy") -> Sequential:
    model = Sequential([Embedding(9, 4, mask_zero=True), LSTM(5, return_sequences=True), *(last or (Dense(3),))])
    model.compile("sgd", loss, metrics=["accuracy"] if loss != "crf" else None)
    return model


def regularised() -> Sequential:
    layers = [
        Dense(6, "relu", kernel_regularizer="l2", activity_regularizer="l1", input_shape=(4,)),
        Dense(3, bias_regularizer="l1"),
    ]
    model = Sequential(layers)
    model.compile("sgd", "crossentropy")
    return model


def joint() -> Model:
    x = Input((None,), dtype=torch.int64)
    shared = LSTM(5, return_sequences=True)(Embedding(9, 4, mask_zero=True)(x))
    whole = LSTM(3)(shared)
    model = Model(x, [Dense(3)(shared), Dense(2)(whole), Dense(1)(shared)])
    model.compile("sgd", ["crossentropy", "mse", "mae"], loss_weights=[1.0, 0.3, 2.0])
    return model


def rows(classes: int = 3) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(3)
    return torch.randn(6, 4, generator=drawn), torch.randint(classes, (6,), generator=drawn)


def plain() -> Sequential:
    model = Sequential([Dense(6, "tanh", input_shape=(4,)), Dense(3)])
    model.compile("sgd", "crossentropy", metrics=["accuracy"])
    return model


def ignoring() -> Sequential:
    from corecur.engine.crossentropy import SparseCategoricalCrossentropy

    model = Sequential([Dense(6, "tanh", input_shape=(4,)), Dense(3)])
    model.compile("sgd", SparseCategoricalCrossentropy(from_logits=True, ignore_class=0))
    return model


def custom() -> Sequential:
    model = Sequential([Dense(6, "tanh", input_shape=(4,)), Dense(3)])
    model.compile("sgd", lambda target, output: ((output - 1) ** 2).mean())
    return model


WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0, 0.25])
CASES: dict[str, tuple[Callable[[], Model], Callable[[], Batch], dict[int, float] | None]] = {
    "rows": (plain, lambda: Batch(*rows()), None),
    "sample weights": (plain, lambda: Batch(*rows(), WEIGHTS), None),
    "class weights": (plain, lambda: Batch(*rows(), WEIGHTS), {0: 3.0, 2: 0.1}),
    "an ignored class": (ignoring, lambda: Batch(*rows()), None),
    "penalties": (regularised, lambda: Batch(*rows()), None),
    "a loss of one's own": (custom, lambda: Batch(*rows()), None),
    "masks": (tagger, lambda: Batch(*tokens()), None),
    "masks and weights": (tagger, lambda: Batch(*tokens(), WEIGHTS), {1: 4.0}),
    "weights of steps": (tagger, lambda: Batch(*tokens(), torch.rand(6, 7)), None),
    "CRF": (lambda: tagger(Dense(3), CRF(3), loss="crf"), lambda: Batch(*tokens()), None),
    "several outputs": (
        joint,
        lambda: Batch(tokens()[0], (tokens()[1], torch.ones(6, 2), torch.ones(6, 7, 1))),
        None,
    ),
}


def gradients(
    make: Callable[[], Model], batch: Batch, weights: dict[int, float] | None, limit: int | None
) -> tuple[dict[str, Tensor], float, Trainer]:
    same_numbers()
    model = make()
    model(batch.inputs)
    made = model.trainer
    made.class_weights = weights
    made.tell = lambda line: None
    made.begin(TensorBatches(batch.inputs, batch.targets, batch_size=6), epochs=1)
    if limit is not None:
        Limit(model, limit)
    loss, size = made.train_step(batch)
    assert size > 0
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, float(loss), made


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_the_whole_batch(name: str, limit: int) -> None:
    make, batch, weights = CASES[name]
    torch.manual_seed(5)
    given = batch()
    whole, loss, _ = gradients(make, given, weights, None)
    found, again, made = gradients(make, given, weights, limit)
    assert made.micro.count > 1 and found.keys() == whole.keys()
    for key in whole:
        torch.testing.assert_close(found[key], whole[key], atol=1e-6, rtol=1e-5)
    assert again == pytest.approx(loss, rel=1e-5)


def test_the_count_is_remembered_and_kept(tmp_path: Path) -> None:
    told: list[str] = []

    class Held(Callback):
        def on_train_begin(self, logs: Logs | None = None) -> None:
            self.trainer.tell = told.append
            self.limit = Limit(self.trainer.network, 2)

        def on_train_end(self, logs: Logs | None = None) -> None:
            self.limit.handle.remove()

    held = Held()
    made = fit(tmp_path, held)
    # Each training step of 4 rows and of 2, and each validation of 4; the first of both was tried once too often.
    assert made.micro.count == 2 and held.limit.times == 2
    assert told[0] == (
        "! memory is short: batches of 4 are computed in 2 pieces from now on, the update is that of the whole batch "
        "(up to rounding, and to layers that look at a whole batch)"
    )
    saved = CheckpointFolder(tmp_path).newest()
    assert saved is not None and saved.state.values["position"]["pieces"] == 2


def test_what_a_failed_try_changed_is_put_back() -> None:
    same_numbers()
    net = network()
    made = trainer(net)
    made.tell = lambda line: None
    x, y = torch.randn(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])
    made.begin(TensorBatches(x, y, batch_size=4), epochs=1)
    fails = [True]

    def late(module: nn.Module, args: Any, output: Any) -> None:
        if fails:  # after the statistics of the normalisation have moved
            fails.clear()
            raise MemoryError

    net[5].register_forward_hook(late)
    made.train_step(Batch(x, y))
    norm = nn.BatchNorm2d(4)
    for half in (x[:2], x[2:]):
        norm(torch.nn.functional.conv2d(half, *[p.detach() for p in _first_weights()]))
    torch.testing.assert_close(net[1].running_mean, norm.running_mean)
    assert int(net[1].num_batches_tracked) == 2


def _first_weights() -> list[Tensor]:
    same_numbers()
    return [p.detach().clone() for p in network()[0].parameters()]


def test_other_errors_pass() -> None:
    def fail(pieces: list[Batch]) -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        MicroBatches(lambda line: None).run(Batch(torch.zeros(2)), fail)


# One row is too much


def test_a_single_row_too_large_without_checkpoints() -> None:
    made = trainer(net := network())
    Limit(net, 0)
    made.tell = lambda line: None
    with pytest.raises(RunError, match="not enough memory for a single sample"):
        made.fit(TensorBatches(torch.randn(4, 1, 6, 6), torch.zeros(4, dtype=torch.int64)), epochs=1)
    assert made.micro.count == 1


@pytest.mark.parametrize("step", [0, 3, 7])
def test_a_single_row_too_large_is_a_stop_to_go_on_from(tmp_path: Path, step: int) -> None:
    """With memory again, the training ends as it would have without the shortage."""

    class Short(Callback):
        def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
            if self.trainer.step == step:
                self.trainer.tell = lambda line: None
                Limit(self.trainer.network, 0)

    with pytest.raises(Stopped, match="not enough memory for a single sample") as stopped:
        fit(tmp_path, Short(), every=1000)
    assert stopped.value.exit_code == 75
    assert CheckpointFolder(tmp_path).steps()[-1] == step
    assert end_of(fit(tmp_path, resume=True)) == end_of(fit())


def test_sequences_whose_states_are_carried_stop_at_once(tmp_path: Path) -> None:
    net = Sequential([LSTM(4, return_sequences=True, input_shape=(None, 3)), Dense(1)])
    Limit(net, 2)
    made = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1), bptt_steps=2)
    made.tell = lambda line: None
    source = TensorBatches(torch.zeros(4, 6, 3), torch.zeros(4, 6, 1))
    with pytest.raises(MemoryShortError, match="carry their states"):
        made.fit(source, epochs=1)
    with pytest.raises(Stopped, match="carry their states"):
        made.fit(source, epochs=1, checkpoints=keeper(tmp_path, monitor=None), callbacks=[Settled()])


REAL = """
import resource, torch
from torch import nn
from corecur.data.batches import TensorBatches
from corecur.engine.losses import MeanSquaredError
from corecur.engine.trainer import Trainer
torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(4, 4000), nn.Tanh(), nn.Linear(4000, 1))
trainer = Trainer(net, loss=MeanSquaredError(), optimizer=torch.optim.SGD(net.parameters(), lr=1e-4))
source = TensorBatches(torch.randn(4096, 4), torch.zeros(4096, 1), batch_size=4096)
small = TensorBatches(torch.randn(8, 4), torch.zeros(8, 1), batch_size=8)
trainer.fit(small, epochs=1)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 80 * 2**20,) * 2)
trainer.fit(source, epochs=2)
print(trainer.micro.count, trainer.history[-1]["loss"] < 1e3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on a process's memory")
def test_a_real_limit_is_lived_with() -> None:
    found = subprocess.run(
        [sys.executable, "-c", REAL], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    count, finite = found.stdout.split()
    assert int(count) >= 2 and finite == "True" and "memory is short" in found.stderr

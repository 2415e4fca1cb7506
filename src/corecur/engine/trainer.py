"""The one training loop: data → forward → loss → backward → clip → optimiser → schedule.

B batch.
"""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corecur import runtime
from corecur.data.batches import Batch, Batches
from corecur.data.time_pieces import TimePieces
from corecur.engine.budget import Budget, StepBudget
from corecur.engine.callbacks import Callback, Logs
from corecur.engine.loss import Loss, spread
from corecur.engine.losses import FunctionLoss
from corecur.engine.metric import Metric
from corecur.engine.optimizer import set_rate
from corecur.engine.outputs import JointLoss, loss_of, real_weights
from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.layer import Layer
from corecur.layers.masks import mask_of, with_mask
from corecur.layers.recurrent import carrying_state, reset_states

#: What happens in a training, in this order; each is a method of every callback.
EVENTS = (
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_validation_begin",
    "on_validation_end",
    "on_epoch_end",
    "on_train_end",
)

LossFunction = Callable[[Any, Any, Tensor | None], Tensor]


@dataclass(frozen=True)
class Clipping:
    """Bounds on the gradients of a step; None leaves them alone."""

    norm: float | None = None  # of all gradients together
    value: float | None = None  # of each element
    norm_each: float | None = None  # of each parameter's gradient

    def __call__(self, parameters: Sequence[Tensor]) -> None:
        if self.value is not None:
            nn.utils.clip_grad_value_(parameters, self.value)
        if self.norm_each is not None:
            for parameter in parameters:
                nn.utils.clip_grad_norm_(parameter, self.norm_each)
        if self.norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.norm)

    @property
    def idle(self) -> bool:
        """Whether nothing is clipped."""
        return self.norm is None and self.value is None and self.norm_each is None


class Trainer:
    """Trains, evaluates and runs one network.

    ``rate(step, progress)`` gives the learning rate of each step; parameter groups keep their ratio to the first.
    ``bptt_steps`` truncates back-propagation through time: each batch (B, T, …) is cut into pieces of so many steps, an
    update each, and recurrent layers carry their states from piece to piece (Williams & Peng 1990).

    >>> from corecur.data.batches import TensorBatches
    >>> from corecur.engine.losses import MeanSquaredError
    >>> network, x = nn.Linear(1, 1), torch.linspace(-1, 1, 64)[:, None]
    >>> sgd = torch.optim.SGD(network.parameters(), lr=0.5)
    >>> trainer = Trainer(network, loss=MeanSquaredError(), optimizer=sgd)
    >>> history = trainer.fit(TensorBatches(x, 3 * x, batch_size=16), epochs=20)
    >>> history[-1]["loss"] < 0.001
    True
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: LossFunction,
        optimizer: torch.optim.Optimizer | None = None,
        metrics: Iterable[Metric] = (),
        rate: Callable[[int, float], float] | None = None,
        clipping: Clipping | None = None,
        precision: torch.dtype = torch.float32,
        class_weights: Mapping[int, float] | None = None,
        bptt_steps: int | None = None,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = tuple(metrics)
        self.rate = rate
        self.clipping = clipping if clipping is not None and not clipping.idle else None
        self.precision = precision
        self.class_weights = class_weights
        self.bptt_steps = bptt_steps
        self.step = 0
        self.epoch = 0
        self.stop_training = False
        self.validates = False
        self.validated = False
        self._steps_before = 0
        self.batches: Batches | None = None
        self.budget: Budget = StepBudget(None)
        self.seconds_waiting = 0.0
        self._layers_with_penalty: list[Layer] = []
        self._parameters: list[nn.Parameter] = []
        self._callbacks: tuple[Callback, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        tensor = next(self.network.parameters(), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def fit(
        self,
        batches: Batches,
        *,
        epochs: int,
        initial_epoch: int = 0,
        validation: Batches | None = None,
        validate_every: int = 1,
        budget: Budget | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> list[Logs]:
        """Train for ``epochs`` or until the budget is spent or a callback stops it; one dict of results per epoch."""
        self.validates = validation is not None
        self.begin(batches, epochs=epochs, initial_epoch=initial_epoch, budget=budget, callbacks=callbacks)
        try:
            return self._run_epochs(batches, range(initial_epoch, epochs), validation, validate_every)
        finally:
            for callback in self._callbacks:
                callback.close()
            # What is left is the training alone, which can be copied; a terminal cannot, and data need not.
            self._callbacks, self.batches = (), None

    def _run_epochs(
        self, batches: Batches, epochs: range, validation: Batches | None, validate_every: int
    ) -> list[Logs]:
        history: list[Logs] = []
        self._emit("on_train_begin", {})
        for self.epoch in epochs:
            self._emit("on_epoch_begin", self.epoch, {})
            logs = self._train_epoch(batches)
            last = self.epoch + 1 == epochs.stop or self.stop_training
            self.validated = validation is not None and (last or (self.epoch + 1) % validate_every == 0)
            if validation is not None and self.validated:
                self._emit("on_validation_begin", {})
                logs |= {f"val_{name}": value for name, value in self.evaluate(validation).items()}
                self._emit("on_validation_end", logs)
            history.append(logs)
            self._emit("on_epoch_end", self.epoch, logs)
            if self.stop_training:
                break
        self._emit("on_train_end", history[-1] if history else {})
        return history

    def begin(
        self,
        batches: Batches,
        *,
        epochs: int,
        initial_epoch: int = 0,
        budget: Budget | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Get ready for ``train_step``: what ``fit`` does first, and what a loop of your own calls once."""
        runtime.keep_freed_memory()
        length = operator.length_hint(self._pieces(batches)) or None
        self.batches = batches
        self.budget = budget or StepBudget(None if length is None else epochs * length)
        self._steps_before = self.step - initial_epoch * (length or 0)
        self.stop_training = False
        self._check_targets(batches)
        if self.optimizer is not None:
            _share_rates(self.optimizer)
        self.network.train()
        self._parameters = [p for p in self.network.parameters() if p.requires_grad]
        self._layers_with_penalty = [m for m in self.network.modules() if isinstance(m, Layer) and m.penalizes]
        self._callbacks = tuple(callbacks)
        for callback in self._callbacks:
            if not isinstance(callback, Callback):
                raise ConfigError("this is no callback", got=repr(callback), expected="an object of a Callback class")
            callback.attach(self)

    def _check_targets(self, batches: Batches) -> None:
        """Name a label that no output stands for before the first step, where all targets lie in memory."""
        targets, classes = getattr(batches, "targets", None), _output_size(self.network)
        if isinstance(self.loss, Loss) and isinstance(targets, Tensor) and classes is not None:
            self.loss.check(targets, classes)

    def _emit(self, event: str, *args: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(*args)

    def _train_epoch(self, batches: Batches) -> Logs:
        self.network.train()
        self._reset_metrics()
        began, waited = time.perf_counter(), 0.0
        heard = [c for c in self._callbacks if c.hears_batches]
        total, samples = torch.zeros((), device=self.device), 0
        with self._carrying():
            for number, (batch, seconds) in enumerate(_timed(self._pieces(batches).epoch(self.epoch))):
                waited += seconds
                for callback in heard:
                    callback.on_train_batch_begin(number, {})
                loss, size = self.train_step(batch)
                total.add_(loss, alpha=size)
                samples += size
                for callback in heard:
                    callback.on_train_batch_end(number, {"loss": loss})
                if self.stop_training or self.budget.spent(self.steps_done):
                    self.stop_training = True
                    break
        self.seconds_waiting += waited
        seconds = time.perf_counter() - began
        results = {"loss": float(total) / max(1, samples)} | {m.name: m.result() for m in self.metrics}
        timing = {"seconds": seconds, "waiting": waited / max(seconds, 1e-9)}
        return results | {"learning_rate": self.learning_rate} | timing

    def _pieces(self, batches: Batches) -> Batches:
        """The batches, cut along time where back-propagation is truncated."""
        if self.bptt_steps is None:
            return batches
        return TimePieces(batches, self.bptt_steps, before_each=lambda: reset_states(self.network))

    def _carrying(self) -> contextlib.AbstractContextManager[object]:
        """Where back-propagation is truncated: recurrent layers keep their states from call to call."""
        return contextlib.nullcontext() if self.bptt_steps is None else carrying_state(self.network)

    def train_step(self, batch: Batch) -> tuple[Tensor, int]:
        """One update from one batch; the loss (a scalar, detached) and how many samples (or real steps) it averages."""
        optimizer = self.optimizer
        if optimizer is None:
            raise ConfigError(
                "there is nothing to train: no optimizer, or no weights that training may change",
                do="give the network layers with weights, or set trainable = True before compile",
            )
        self._set_learning_rate(optimizer)
        output = self._forward(batch)
        weights = self._weights_of(batch, output)
        loss = self._loss_of(batch, output, weights)
        for layer in self._layers_with_penalty:
            term = layer.penalty()
            loss = loss if term is None else loss + term
        _forget_gradients(optimizer)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clipping is not None:
            self.clipping(self._parameters)
        optimizer.step()
        self.step += 1
        with torch.no_grad():
            self._update_metrics(batch, output)
        return loss.detach(), self._size_of(batch, output)

    @torch.no_grad()
    def evaluate(self, batches: Batches) -> Logs:
        """Mean loss and metrics over all batches, the network in evaluation mode."""
        self._reset_metrics()
        total, samples = torch.zeros((), device=self.device), 0
        with evaluating(self.network), self._carrying():
            for batch in self._pieces(batches):
                output = self._forward(batch)
                size = self._size_of(batch, output)
                total += self._loss_of(batch, output, batch.weights) * size
                samples += size
                self._update_metrics(batch, output)
        return {"loss": float(total) / max(1, samples)} | {m.name: m.result() for m in self.metrics}

    @torch.no_grad()
    def predict(self, batches: Batches) -> Iterator[Any]:
        """The network's output for each batch, in evaluation mode."""
        with evaluating(self.network):
            for batch in batches:
                yield self._forward(batch)

    @property
    def steps_done(self) -> int:
        """Steps since this ``fit`` began, those of the epochs before ``initial_epoch`` included."""
        return self.step - self._steps_before

    @property
    def learning_rate(self) -> float:
        """The first parameter group's rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"]) if self.optimizer is not None else 0.0

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self.rate is not None:
            raise ConfigError(
                "the learning rate follows a schedule, which sets it anew before each step",
                do="give the optimizer a number as learning_rate, or leave out the callback that changes it",
            )
        if self.optimizer is not None:
            set_rate(self.optimizer, value)

    def _set_learning_rate(self, optimizer: torch.optim.Optimizer) -> None:
        if self.rate is not None:
            set_rate(optimizer, self.rate(self.step, self.budget.progress(self.steps_done)))

    def _forward(self, batch: Batch) -> Any:
        inputs = batch.inputs if isinstance(batch.inputs, tuple) else (batch.inputs,)
        if self.precision == torch.float32:
            return self.network(*inputs)
        with runtime.precision(self.precision, self.device):
            return _as_float32(self.network(*inputs))

    def _loss_of(self, batch: Batch, output: Any, weights: Tensor | None) -> Tensor:
        if isinstance(self.loss, (Loss, JointLoss)) and not isinstance(self.loss, FunctionLoss):
            if batch.targets is None:
                raise DataError("there are no targets to compare the outputs with", do="pass y beside x")
            if isinstance(self.loss, Loss) and not isinstance(output, Tensor):
                raise ShapeError("one loss cannot judge several outputs", do="compile with a list of losses")
        return loss_of(self.loss, batch.targets, output, weights)

    def _weights_of(self, batch: Batch, output: Any) -> Tensor | None:
        """Sample weights times the weight of each sample's class: (B,), or (B, T) where each step has a class."""
        if self.class_weights is None:
            return batch.weights
        target = batch.targets
        if not isinstance(target, Tensor) or not isinstance(output, Tensor):
            raise ConfigError("class_weight needs a model with one output", do="pass sample_weight instead")
        classes = max(output.shape[-1], 2, 1 + max(self.class_weights))
        table = torch.tensor([self.class_weights.get(number, 1.0) for number in range(classes)], device=output.device)
        if target.ndim > 1 and target.shape == output.shape and output.shape[-1] > 1:  # one-hot or soft: (B, …, K)
            by_class = target.float() @ table[: target.shape[-1]]
        else:  # class numbers: (B,), (B, 1) or one at each of T steps (B, T)
            numbers = target.squeeze(-1) if target.ndim > 1 else target
            by_class = table[numbers.long().clamp(0, classes - 1)]  # the loss names a label that is no class
        return by_class if batch.weights is None else by_class * spread(batch.weights, by_class)

    def _reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset()

    def _update_metrics(self, batch: Batch, output: Any) -> None:
        targets: Any = batch.targets
        weights = real_weights(output, batch.weights)
        for metric in self.metrics:
            metric.update(targets, output, weights)

    def _size_of(self, batch: Batch, output: Any) -> int:
        """How many samples a batch has; real steps, where the loss is a mean over those or batches are cut in time."""
        mask = mask_of(output)
        if mask is not None:
            return int(mask.sum())
        first = batch.inputs[0] if isinstance(batch.inputs, tuple) else batch.inputs
        return int(first.shape[0]) * (1 if self.bptt_steps is None else int(first.shape[1]))


def checked_class_weights(weights: Mapping[int, float] | None) -> Mapping[int, float] | None:
    """The same weights; ConfigError where a key is no class number.

    >>> checked_class_weights({0: 1.0, 1: 5.0})
    {0: 1.0, 1: 5.0}
    """
    if weights is not None and not all(isinstance(key, (int, np.integer)) and key >= 0 for key in weights):
        raise ConfigError("class_weight maps class numbers to weights", got=weights, expected="{0: 1.0, 1: 5.0, …}")
    return weights


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds spent waiting for it."""
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began


def _share_rates(optimizer: torch.optim.Optimizer) -> None:
    """Note each group's rate as a share of the first group's, which a schedule then moves all together."""
    first = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        group.setdefault("rate_share", group["lr"] / first if first else 1.0)


def _output_size(network: nn.Module) -> int | None:
    """Size of the last axis of the network's one output, where its shape is known."""
    symbols = getattr(network, "output_symbols", [])
    size: int | None = symbols[0].shape[-1] if len(symbols) == 1 else None
    return size


def _forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """What ``zero_grad`` does, without bookkeeping that costs a small network more than the work."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def _as_float32(output: Any) -> Any:
    """The same outputs in float32, logits included."""
    if isinstance(output, Tensor):
        if output.dtype == torch.float32:
            return output
        converted = output.float()
        logits = getattr(output, "logits", None)
        if logits is not None:
            converted.logits = logits.float()  # type: ignore[attr-defined]
            converted.logits_of = getattr(output, "logits_of", None)  # type: ignore[attr-defined]
        return with_mask(converted, mask_of(output))
    if isinstance(output, Mapping):
        return {key: _as_float32(value) for key, value in output.items()}
    return type(output)(_as_float32(value) for value in output)


class evaluating:  # noqa: N801 - reads as a statement: with evaluating(network)
    """Puts a network in evaluation mode, and each module in it back into the mode it was in.

    >>> network = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluating(network):
    ...     modes = [module.training for module in network]
    >>> modes, [module.training for module in network]
    ([False, False], [True, False])
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.in_training = [module for module in network.modules() if module.training]

    def __enter__(self) -> None:
        self.network.eval()

    def __exit__(self, *_: object) -> None:
        for module in self.in_training:
            module.training = True

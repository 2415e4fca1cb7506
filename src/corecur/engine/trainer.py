"""The one training loop: data → forward → loss → backward → clip → optimiser → schedule.

B batch.
"""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from corecur import runtime
from corecur.data.batches import Batch, Batches
from corecur.data.time_pieces import TimePieces
from corecur.engine.budget import Budget, StepBudget
from corecur.engine.callback import Callback, Logs
from corecur.engine.clipping import Clipping, norm_of_gradients
from corecur.engine.complain import complain
from corecur.engine.evaluating import evaluating
from corecur.engine.finite import FiniteGuard, SetBack
from corecur.engine.loss import Loss
from corecur.engine.losses import FunctionLoss
from corecur.engine.metric import Metric
from corecur.engine.micro_batches import MemoryShortError, MicroBatches
from corecur.engine.optimizer import set_rate
from corecur.engine.outputs import JointLoss, as_float32, loss_of, real_weights
from corecur.engine.passes import differentiate, size_of
from corecur.engine.random_states import random_states, set_random_states
from corecur.engine.tally import Tally
from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.layer import Layer
from corecur.layers.recurrent import carrying_state, reset_states

if TYPE_CHECKING:
    from corecur.engine.checkpointing import Checkpointing
    from corecur.engine.training_state import TrainingState

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
        self.history: list[Logs] = []
        self.tally = Tally(torch.zeros(()))
        self.batches: Batches | None = None
        #: The batch of the step, for callbacks, and the norm of the step's gradient before it was bounded.
        self.batch: Batch | None = None
        self.gradient_norm: Tensor | float = 0.0
        self.budget: Budget = StepBudget(None)
        self.checkpoints: Checkpointing | None = None
        self.tell: Callable[[str], object] = complain
        self.guard = FiniteGuard(self._tell)
        self.micro = MicroBatches(self._tell, undo=self.guard.undo)
        self.epoch_random: dict[str, Any] = {}
        self.callbacks: tuple[Callback, ...] = ()
        self.steps_before = 0
        self.seconds_waiting = 0.0
        self.layers_with_penalty: list[Layer] = []
        self.parameters: list[nn.Parameter] = []
        self._state: TrainingState | None = None
        self._micro_evaluation = MicroBatches(self._tell)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return device_of(self.network)

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
        checkpoints: Checkpointing | None = None,
    ) -> list[Logs]:
        """Train for ``epochs`` or until the budget is spent or a callback stops it; one dict of results per epoch.

        With ``checkpoints`` the state is kept on disk as it says, a training goes on from the state it was opened
        with, and SIGINT or SIGTERM end it with ``Stopped`` after the step.
        """
        self.validates = validation is not None
        self.begin(batches, epochs=epochs, initial_epoch=initial_epoch, budget=budget, callbacks=callbacks)
        self.checkpoints = checkpoints
        self.guard.can_go_back = checkpoints is not None
        try:
            with contextlib.nullcontext() if checkpoints is None else checkpoints:
                return self._run_epochs(batches, range(initial_epoch, epochs), validation, validate_every)
        finally:
            for callback in self.callbacks:
                callback.close()
            # What is left is the training alone, which can be copied; a terminal cannot, and data need not.
            self.callbacks, self.batches, self.checkpoints, self._state = (), None, None, None
            self.batch = None
            self.epoch_random = {}
            self.guard.can_go_back = False

    def _run_epochs(
        self, batches: Batches, epochs: range, validation: Batches | None, validate_every: int
    ) -> list[Logs]:
        self.history = []
        keeper = self.checkpoints
        self._state = None if keeper is None else keeper.begin(self, epochs.stop)
        self._emit("on_train_begin", {})
        if self._state is not None and self._state.finished:
            self._state.restore(self)
            return self.history
        epoch = epochs.start if self._state is None else self._state.epoch
        while epoch < epochs.stop and not self.stop_training:
            try:
                self._run_epoch(batches, epoch, epochs.stop, validation, validate_every)
                epoch += 1
            except SetBack:
                self._state = None if keeper is None else keeper.set_back(self)
                epoch = epochs.start if self._state is None else self._state.epoch
        self._emit("on_train_end", self.history[-1] if self.history else {})
        if keeper is not None:
            keeper.finish(self)
        return self.history

    def _run_epoch(
        self, batches: Batches, epoch: int, stop: int, validation: Batches | None, validate_every: int
    ) -> None:
        self.epoch = epoch
        self._emit("on_epoch_begin", epoch, {})
        logs = self._train_epoch(batches)
        self.guard.check_weights(self.network, place=f"epoch {epoch + 1}")
        last = epoch + 1 == stop or self.stop_training
        self.validated = validation is not None and (last or (epoch + 1) % validate_every == 0)
        if self.checkpoints is not None:
            self.checkpoints.after_steps(self)
        if validation is not None and self.validated:
            self._emit("on_validation_begin", {})
            logs |= {f"val_{name}": value for name, value in self.evaluate(validation).items()}
            self._emit("on_validation_end", logs)
        self.history.append(logs)
        self._emit("on_epoch_end", epoch, logs)
        if self.checkpoints is not None:
            self.checkpoints.after_epoch(self, logs)

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
        self.steps_before = self.step - initial_epoch * (length or 0)
        self.stop_training = False
        self._check_targets(batches)
        if self.optimizer is not None:
            _share_rates(self.optimizer)
        self.network.train()
        self.guard.watch(self.network)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.layers_with_penalty = [m for m in self.network.modules() if isinstance(m, Layer) and m.penalizes]
        self.callbacks = tuple(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise ConfigError("this is no callback", got=repr(callback), expected="an object of a Callback class")
            callback.attach(self)

    def _check_targets(self, batches: Batches) -> None:
        """Name a label that no output stands for before the first step, where all targets lie in memory."""
        targets, classes = getattr(batches, "targets", None), _output_size(self.network)
        if isinstance(self.loss, Loss) and isinstance(targets, Tensor) and classes is not None:
            self.loss.check(targets, classes)

    @property
    def is_plain(self) -> bool:
        """Whether a step takes the mean loss of the network's outputs, in float32, and nothing more."""
        more = self.class_weights or self.layers_with_penalty or self.bptt_steps is not None
        return type(self) is Trainer and self.precision == torch.float32 and not more

    @property
    def resumes(self) -> bool:
        """Whether the training is about to go on from a saved state."""
        return self._state is not None

    def _emit(self, event: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*args)

    def _tell(self, line: str) -> None:
        self.tell(line)

    def _train_epoch(self, batches: Batches) -> Logs:
        self.network.train()
        self._reset_metrics()
        self.tally = Tally(torch.zeros((), device=self.device))
        heard = [c for c in self.callbacks if c.hears_batches]
        keeper = self.checkpoints
        with self._carrying():
            stream = self._stream(batches)
            tally = self.tally
            began = time.perf_counter() - tally.seconds
            for batch, seconds in _timed(stream):
                self.batch = batch
                for callback in heard:
                    callback.on_train_batch_begin(tally.batches, {})
                loss, size = self._step_or_stop(batch)
                tally.add(loss, size)
                tally.waited += seconds
                for callback in heard:
                    callback.on_train_batch_end(tally.batches - 1, {"loss": loss})
                tally.seconds = time.perf_counter() - began
                if self.stop_training or self.budget.spent(self.steps_done):
                    self.stop_training = True
                    break
                if keeper is not None:
                    keeper.after_step(self)
        return self._results_of_epoch(tally)

    def _stream(self, batches: Batches) -> Iterator[Batch]:
        """The batches of this epoch; those still to come, where the training goes on from a state."""
        pieces, generators = self._pieces(batches), batches.generators
        state, self._state = self._state, None
        if state is None:
            self.epoch_random = random_states(generators)
            if self.checkpoints is not None:
                self.checkpoints.before_steps(self)
            return pieces.epoch(self.epoch)
        # A loader that draws from generators draws what it drew when this epoch began.
        set_random_states(state.epoch_random, generators)
        stream = pieces.epoch(self.epoch, state.batches)
        begun = random_states()
        state.restore(self)
        if not state.batches:
            set_random_states(begun)
        return iter(()) if self.stop_training else stream

    def _step_or_stop(self, batch: Batch) -> tuple[Tensor, int]:
        """``train_step``; where memory is too short for it, a stop from which the training can go on."""
        try:
            return self.train_step(batch)
        except MemoryShortError as error:
            if self.checkpoints is None:
                raise
            self.checkpoints.give_up(self, error)

    def _results_of_epoch(self, tally: Tally) -> Logs:
        self.seconds_waiting += tally.waited
        results = {"loss": float(tally.total) / max(1, tally.samples)} | {m.name: m.result() for m in self.metrics}
        timing = {"seconds": tally.seconds, "waiting": tally.waited / max(tally.seconds, 1e-9)}
        return results | {"learning_rate": self._rate_now()} | timing

    def _pieces(self, batches: Batches) -> Batches:
        """The batches, cut along time where back-propagation is truncated."""
        if self.bptt_steps is None:
            return batches
        return TimePieces(batches, self.bptt_steps, before_each=lambda: reset_states(self.network))

    def _carrying(self) -> contextlib.AbstractContextManager[object]:
        """Where back-propagation is truncated: recurrent layers keep their states from call to call."""
        return contextlib.nullcontext() if self.bptt_steps is None else carrying_state(self.network)

    def train_step(self, batch: Batch) -> tuple[Tensor, int]:
        """One update from one batch; the loss (a scalar, detached) and how many samples (or real steps) it averages.

        Where loss or gradient is not finite nothing is updated, and the size is 0.
        """
        optimizer = self.optimizer
        if optimizer is None:
            raise ConfigError(
                "there is nothing to train: no optimizer, or no weights that training may change",
                do="give the network layers with weights, or set trainable = True before compile",
            )
        self._set_learning_rate(optimizer)
        self.guard.remember()
        passes = self.micro.run(batch, lambda pieces: differentiate(self, optimizer, pieces))
        norm = norm_of_gradients(self.parameters) if self.clipping is None else self.clipping(self.parameters)
        self.gradient_norm = norm
        self.step += 1
        if not self.guard.accepts(passes.loss, norm):
            self.guard.refuse(batch, passes.loss, place=f"epoch {self.epoch + 1}, step {self.step}")
            return passes.loss, 0
        optimizer.step()
        with torch.no_grad():
            for piece, output in passes.outputs:
                self._update_metrics(piece, output)
        return passes.loss, passes.size

    @torch.no_grad()
    def evaluate(self, batches: Batches) -> Logs:
        """Mean loss and metrics over all batches, the network in evaluation mode."""
        runtime.keep_freed_memory()
        self._reset_metrics()
        total, samples = torch.zeros((), device=self.device), 0
        with evaluating(self.network), self._carrying():
            for batch in self._pieces(batches):
                for piece, output in self._micro_evaluation.run(batch, self._answered):
                    size = size_of(self, piece, output)
                    total += self.loss_on(piece, output, piece.weights) * size
                    samples += size
                    self._update_metrics(piece, output)
                if self.checkpoints is not None:
                    self.checkpoints.heed()
        return {"loss": float(total) / max(1, samples)} | {m.name: m.result() for m in self.metrics}

    def _answered(self, pieces: Sequence[Batch]) -> list[tuple[Batch, Any]]:
        return [(piece, self.forward(piece)) for piece in pieces]

    @torch.no_grad()
    def predict(self, batches: Batches) -> Iterator[Any]:
        """The network's output for each batch, in evaluation mode."""
        runtime.keep_freed_memory()
        with evaluating(self.network):
            for batch in batches:
                yield self.forward(batch)

    @property
    def steps_done(self) -> int:
        """Steps since this ``fit`` began, those of the epochs before ``initial_epoch`` included."""
        return self.step - self.steps_before

    @property
    def learning_rate(self) -> float:
        """The first parameter group's rate of the last step, as it was set: a training that was set back takes less."""
        return self._rate_now() / self.guard.rate_share

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self.rate is not None:
            raise ConfigError(
                "the learning rate follows a schedule, which sets it anew before each step",
                do="give the optimizer a number as learning_rate, or leave out the callback that changes it",
            )
        if self.optimizer is not None:
            set_rate(self.optimizer, value * self.guard.rate_share)

    def _rate_now(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"]) if self.optimizer is not None else 0.0

    def _set_learning_rate(self, optimizer: torch.optim.Optimizer) -> None:
        if self.rate is not None:
            rate = self.rate(self.step, self.budget.progress(self.steps_done))
            set_rate(optimizer, rate * self.guard.rate_share)

    def forward(self, batch: Batch) -> Any:
        """The network's output for a batch, in the training's precision."""
        inputs = batch.inputs if isinstance(batch.inputs, tuple) else (batch.inputs,)
        if self.precision == torch.float32:
            return self.network(*inputs)
        with runtime.precision(self.precision, self.device):
            return as_float32(self.network(*inputs))

    def loss_on(self, batch: Batch, output: Any, weights: Tensor | None) -> Tensor:
        """The loss of a batch's output, a scalar."""
        if isinstance(self.loss, (Loss, JointLoss)) and not isinstance(self.loss, FunctionLoss):
            if batch.targets is None:
                raise DataError("there are no targets to compare the outputs with", do="pass y beside x")
            if isinstance(self.loss, Loss) and not isinstance(output, Tensor):
                raise ShapeError("one loss cannot judge several outputs", do="compile with a list of losses")
        return loss_of(self.loss, batch.targets, output, weights)

    def _reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset()

    def _update_metrics(self, batch: Batch, output: Any) -> None:
        targets: Any = batch.targets
        weights = real_weights(output, batch.weights)
        for metric in self.metrics:
            metric.update(targets, output, weights)


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are; the CPU where it has none.

    >>> device_of(nn.Flatten())
    device(type='cpu')
    """
    tensor = next(network.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


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

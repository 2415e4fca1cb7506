"""Everything that decides how a training goes on, as plain values: taken between two steps, put back to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from corecur.engine.packing import frozen
from corecur.engine.random_states import random_states, set_random_states
from corecur.engine.tally import Tally
from corecur.errors import BundleError
from corecur.layers.recurrent import carried_states, recurrent_layers, set_carried_states

if TYPE_CHECKING:
    from corecur.engine.callback import Callback
    from corecur.engine.trainer import Trainer

_PARTS = (
    "position", "tally", "network", "optimizer", "metrics", "callbacks", "carried", "random", "epoch_random", "history",
    "budget", "guard",
)  # fmt: skip
_COUNTS = ("step", "steps_before", "epoch", "batches", "pieces")
_FLAGS = ("stop_training", "finished")


class TrainingState:
    """The state of a training between two steps; ``values`` holds it as plain values, tensors and numbers.

    >>> from corecur.data.batches import TensorBatches
    >>> from corecur.engine.losses import MeanSquaredError
    >>> from corecur.engine.trainer import Trainer
    >>> network = nn.Linear(1, 1)
    >>> trainer = Trainer(network, loss=MeanSquaredError(), optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    >>> _ = trainer.fit(TensorBatches(torch.ones(8, 1), torch.ones(8, 1), batch_size=4), epochs=2)
    >>> state = TrainingState.of(trainer)
    >>> state.epoch, state.batches, state.step
    (1, 2, 4)
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        missing = set(_PARTS) ^ set(values)
        if missing:
            raise _misfit(f"it has not the parts of a training: {', '.join(sorted(missing))}")
        position = values["position"]
        if not isinstance(position, dict) or set(position) != {*_COUNTS, *_FLAGS}:
            raise _misfit("its position is of no known form")
        for name in _COUNTS:
            if type(position[name]) is not int or not -(2**62) < position[name] < 2**62:
                raise _misfit(f"its {name} is {position[name]!r}")
        if any(position[name] < 0 for name in ("step", "epoch", "batches")) or position["pieces"] < 1:
            raise _misfit("it stands before the beginning")
        if any(type(position[name]) is not bool for name in _FLAGS):
            raise _misfit("its position is of no known form")
        self.values = values

    @classmethod
    def of(cls, trainer: Trainer, *, finished: bool = False) -> TrainingState:
        """The state of a training now, between two steps; tensors are copies, on the CPU."""
        values = {
            "position": {
                "step": trainer.step,
                "steps_before": trainer.steps_before,
                "epoch": trainer.epoch,
                "batches": trainer.tally.batches,
                "pieces": trainer.micro.count,
                "stop_training": trainer.stop_training,
                "finished": finished,
            },
            "tally": {name: getattr(trainer.tally, name) for name in ("total", "samples", "waited", "seconds")},
            "network": tensors_of(trainer.network),
            "optimizer": None if trainer.optimizer is None else _optimizer_state(trainer.optimizer),
            "metrics": [metric.state() for metric in trainer.metrics],
            "callbacks": [[type(callback).__name__, state] for callback, state in _stateful(trainer)],
            "carried": carried_states(trainer.network),
            "random": random_states(),
            "epoch_random": trainer.epoch_random,
            "history": trainer.history,
            "budget": trainer.budget.state(),
            "guard": trainer.guard.state(),
        }
        return cls(frozen(values))

    @property
    def epoch(self) -> int:
        """The epoch it stands in, counted from 0."""
        return int(self.values["position"]["epoch"])

    @property
    def batches(self) -> int:
        """How many batches of the epoch are done."""
        return int(self.values["position"]["batches"])

    @property
    def step(self) -> int:
        """How many steps the trainer has taken."""
        return int(self.values["position"]["step"])

    @property
    def finished(self) -> bool:
        """Whether the training is over."""
        return bool(self.values["position"]["finished"])

    @property
    def seconds(self) -> float:
        """How long the steps before it took."""
        unfinished = 0.0 if self.finished else float(self.values["tally"]["seconds"])
        return unfinished + sum(float(row.get("seconds", 0.0)) for row in self.values["history"])

    @property
    def epoch_random(self) -> Any:
        """The states of the random generators when the epoch began."""
        return self.values["epoch_random"]

    def not_finite(self) -> str | None:
        """What holds NaN or infinity among weights and the optimiser's values; None where all are finite."""
        optimizer = self.values["optimizer"] or {"states": []}
        held = [(f"the weight {name}", tensor) for name, tensor in self.values["network"].items()]
        for number, state in enumerate(optimizer["states"]):
            held += [(f"{name} of weight {number} in the optimizer", value) for name, value in (state or {}).items()]
        return next((name for name, value in held if isinstance(value, Tensor) and not _is_finite(value)), None)

    def slower(self, guard: Mapping[str, Any], *, scheduled: bool) -> TrainingState:
        """This state with a guard's count of set-backs and its lower rate; a schedule is slowed down by the guard."""
        values = dict(self.values) | {"guard": dict(guard)}
        optimizer = values["optimizer"]
        if optimizer is not None and not scheduled:
            share = guard["rate_share"] / self.values["guard"]["rate_share"]
            groups = [group | {"lr": group["lr"] * share} for group in optimizer["groups"]]
            values["optimizer"] = optimizer | {"groups": groups}
        return TrainingState(values)

    def restore(self, trainer: Trainer) -> None:
        """Put everything back; BundleError where the state is that of another training."""
        values, position = self.values, self.values["position"]
        _restore_network(trainer.network, values["network"])
        _restore_optimizer(trainer.optimizer, values["optimizer"])
        _restore_each("metrics", trainer.metrics, values["metrics"])
        _restore_callbacks(trainer, values["callbacks"])
        _restore_carried(trainer.network, values["carried"], trainer.device)
        trainer.step, trainer.steps_before = position["step"], position["steps_before"]
        trainer.epoch, trainer.stop_training = position["epoch"], position["stop_training"]
        trainer.micro.count = position["pieces"]
        trainer.history = _checked("history", values["history"], list)
        trainer.epoch_random = values["epoch_random"]
        trainer.tally = _read_tally(values["tally"], position["batches"], trainer.device)
        trainer.budget.load_state(_checked("budget", values["budget"], dict))
        trainer.guard.load_state(_checked("guard", values["guard"], dict))
        set_random_states(_checked("random", values["random"], dict))


def _is_finite(tensor: Tensor) -> bool:
    # NumPy stays on this thread: torch would take the cores from the training that goes on beside.
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return not tensor.is_floating_point() or bool(np.isfinite(tensor.numpy()).all())


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of a network by name, those a state dict leaves out included.

    >>> list(tensors_of(nn.BatchNorm1d(1)))
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """
    return dict(network.named_parameters()) | dict(network.named_buffers())


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        "kind": type(optimizer).__name__,
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
        "states": [dict(optimizer.state[p]) if p in optimizer.state else None for p in parameters],
    }


@torch.no_grad()
def _restore_network(network: nn.Module, found: Any) -> None:
    own = tensors_of(network)
    if not isinstance(found, dict) or set(found) != set(own):
        raise _misfit("it holds the weights of another network")
    for name, tensor in own.items():
        value = found[name]
        if not isinstance(value, Tensor) or value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise _misfit(f"the weight {name!r} has another shape or type")
    for name, tensor in own.items():
        tensor.copy_(found[name])


def _restore_optimizer(optimizer: torch.optim.Optimizer | None, found: Any) -> None:
    if optimizer is None or found is None:
        if optimizer is not found:
            raise _misfit("one of the trainings has no optimizer")
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    fits = (
        isinstance(found, dict)
        and set(found) == {"kind", "groups", "states"}
        and found["kind"] == type(optimizer).__name__
        and len(found["states"]) == len(parameters)
        and len(found["groups"]) == len(optimizer.param_groups)
    )
    if not fits:
        raise _misfit("its optimizer is another one")
    for group, saved in zip(optimizer.param_groups, found["groups"], strict=True):
        if set(saved) != set(group) - {"params"}:
            raise _misfit("its optimizer has other settings")
    for parameter, state in zip(parameters, found["states"], strict=True):
        _check_moments(parameter, state)
    for group, saved in zip(optimizer.param_groups, found["groups"], strict=True):
        group.update(saved)
    optimizer.state.clear()
    for parameter, state in zip(parameters, found["states"], strict=True):
        if state is not None:
            optimizer.state[parameter] = {key: _at_home(value, parameter) for key, value in state.items()}


def _check_moments(parameter: Tensor, state: Any) -> None:
    """An optimiser keeps single numbers, or values along the axes of a parameter; fused kernels trust their shapes."""
    if state is None:
        return
    if not isinstance(state, dict):
        raise _misfit("its optimizer's state is of no known form")
    for name, value in state.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            aligned = value.dim() == parameter.dim() and all(
                size in (1, own) for size, own in zip(value.shape, parameter.shape, strict=True)
            )
            if not aligned:
                raise _misfit(f"the optimizer's {name!r} has a shape that fits no weight")


def _at_home(value: Any, parameter: Tensor) -> Any:
    """A value of the optimiser where its parameter is; counts of steps stay on the CPU, where torch makes them."""
    if not isinstance(value, Tensor):
        return value
    return value.clone() if value.dim() == 0 else value.to(parameter.device, copy=True)


def _restore_each(what: str, own: Any, found: Any) -> None:
    if not isinstance(found, list) or len(found) != len(own):
        raise _misfit(f"it has other {what}")
    for one, state in zip(own, found, strict=True):
        one.load_state(_checked(what, state, dict))


def _stateful(trainer: Trainer) -> list[tuple[Callback, dict[str, Any]]]:
    """Callbacks that decide something, with their states; the others, such as a progress bar, may come and go."""
    states = ((callback, callback.state()) for callback in trainer.callbacks)
    return [(callback, state) for callback, state in states if state]


def _restore_callbacks(trainer: Trainer, found: Any) -> None:
    own = [callback for callback, _ in _stateful(trainer)]
    names = [type(callback).__name__ for callback in own]
    entries = found if isinstance(found, list) else []
    if [entry[0] if isinstance(entry, list) and len(entry) == 2 else None for entry in entries] != names:
        raise _misfit(f"it was made with other callbacks than {', '.join(names) or 'none'}")
    _restore_each("callbacks", own, [entry[1] for entry in entries])


def _restore_carried(network: nn.Module, found: Any, device: torch.device) -> None:
    if not isinstance(found, list) or len(found) != len(recurrent_layers(network)):
        raise _misfit("it has other recurrent layers")
    set_carried_states(network, [None if state is None else [s.to(device) for s in state] for state in found])


def _read_tally(found: Any, batches: int, device: torch.device) -> Tally:
    if not isinstance(found, dict) or set(found) != {"total", "samples", "waited", "seconds"}:
        raise _misfit("its results so far are of no known form")
    total = found["total"]
    if not isinstance(total, Tensor) or total.dim():
        raise _misfit("its results so far are of no known form")
    return Tally(**(found | {"total": total.to(device), "batches": batches}))


def _checked(what: str, value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise _misfit(f"its {what} is of no known form")
    return value


def _misfit(what: str) -> BundleError:
    return BundleError(
        "other-training",
        f"the checkpoint does not fit this training: {what}",
        do="give the network, the optimizer, the callbacks and the data that the training began with",
    )

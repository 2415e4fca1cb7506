"""Everything that decides how a training goes on, as plain values: taken between two steps, put back to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from corecur.engine.misfit import misfit
from corecur.engine.optimizer_state import check_optimizer_state, optimizer_state, restore_optimizer
from corecur.engine.packing import frozen, is_finite
from corecur.engine.random_states import check_random_states, random_states, set_random_states
from corecur.engine.tally import Tally
from corecur.layers.recurrent import carried_states, recurrent_layers, set_carried_states

if TYPE_CHECKING:
    from corecur.engine.callback import Callback
    from corecur.engine.trainer import Trainer

_PARTS: Mapping[str, tuple[type, ...]] = {
    "position": (dict,),
    "tally": (dict,),
    "network": (dict,),
    "optimizer": (dict, type(None)),
    "metrics": (list,),
    "callbacks": (list,),
    "carried": (list,),
    "random": (dict,),
    "epoch_random": (dict,),
    "history": (list,),
    "budget": (dict,),
    "guard": (dict,),
}
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

    def __init__(self, values: Mapping[str, Any], *, constants: frozenset[str] = frozenset()) -> None:
        odd = set(_PARTS) ^ set(values)
        if odd:
            raise misfit(f"it has not the parts of a training: {', '.join(sorted(odd))}")
        for name, kinds in _PARTS.items():
            if not isinstance(values[name], kinds):
                raise misfit(f"its {name} is of no known form")
        _check_position(values["position"])
        _check_tally(values["tally"])
        _check_guard(values["guard"])
        if not all(isinstance(row, dict) for row in values["history"]):
            raise misfit("its history is of no known form")
        self.values = values
        self._constants = constants

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
            "optimizer": None if trainer.optimizer is None else optimizer_state(trainer.optimizer),
            "metrics": [[metric.name, metric.state()] for metric in trainer.metrics],
            "callbacks": [[type(callback).__name__, state] for callback, state in _stateful(trainer)],
            "carried": carried_states(recurrent_layers(trainer.network)),
            "random": random_states(),
            "epoch_random": trainer.epoch_random,
            "history": trainer.history,
            "budget": trainer.budget.state(),
            "guard": trainer.guard.state(),
        }
        return cls(frozen(values), constants=trainer.guard.constants)

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

    @property
    def stopped(self) -> bool:
        """Whether a callback or the budget ended the training."""
        return bool(self.values["position"]["stop_training"])

    def not_finite(self) -> str | None:
        """What holds NaN or infinity among weights and the optimiser's values; None where all are finite.

        A buffer that was not finite when the training began, such as a mask to be added, is left out.
        """
        optimizer = self.values["optimizer"] or {"states": []}
        network = self.values["network"].items()
        held = [(f"the weight {name}", tensor) for name, tensor in network if name not in self._constants]
        for number, state in enumerate(optimizer["states"]):
            held += [(f"{name} of weight {number} in the optimizer", value) for name, value in (state or {}).items()]
        return next((name for name, value in held if isinstance(value, Tensor) and not is_finite(value)), None)

    def slower(self, trainer: Trainer) -> TrainingState:
        """This state with the trainer's count of set-backs and its lower rate; a schedule is slowed down as it goes."""
        values = dict(self.values) | {"guard": trainer.guard.state()}
        optimizer = values["optimizer"]
        if optimizer is not None and trainer.rate is None and trainer.optimizer is not None:
            check_optimizer_state(trainer.optimizer, optimizer)
            share = trainer.guard.rate_share / self.values["guard"]["rate_share"]
            groups = [group | {"lr": group["lr"] * share} for group in optimizer["groups"]]
            values["optimizer"] = optimizer | {"groups": groups}
        return TrainingState(values)

    def restore(self, trainer: Trainer) -> None:
        """Put everything back; BundleError where the state is that of another training, whose weights stay theirs."""
        values, position = self.values, self.values["position"]
        _check_network(trainer.network, values["network"])
        _check_optimizer(trainer.optimizer, values["optimizer"])
        check_random_states(values["random"])
        carried = _read_carried(trainer, values["carried"])
        _restore_each("metrics", [(metric.name, metric) for metric in trainer.metrics], values["metrics"])
        stateful = [(type(callback).__name__, callback) for callback, _ in _stateful(trainer)]
        _restore_each("callbacks", stateful, values["callbacks"])
        _restore_each("budget", [("budget", trainer.budget)], [["budget", values["budget"]]])
        with torch.no_grad():
            for name, tensor in tensors_of(trainer.network).items():
                tensor.copy_(values["network"][name])
        if trainer.optimizer is not None:
            restore_optimizer(trainer.optimizer, values["optimizer"])
        set_carried_states(recurrent_layers(trainer.network), carried)
        trainer.step, trainer.steps_before = position["step"], position["steps_before"]
        trainer.epoch, trainer.stop_training = position["epoch"], position["stop_training"]
        trainer.micro.count = position["pieces"]
        trainer.history = [dict(row) for row in values["history"]]
        trainer.epoch_random = values["epoch_random"]
        tally = values["tally"]
        trainer.tally = Tally(**(tally | {"total": tally["total"].to(trainer.device), "batches": position["batches"]}))
        trainer.guard.load_state(values["guard"])
        set_random_states(values["random"])


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of a network by name, those a state dict leaves out included.

    >>> list(tensors_of(nn.BatchNorm1d(1)))
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """
    return dict(network.named_parameters()) | dict(network.named_buffers())


def _check_position(found: dict[str, Any]) -> None:
    if set(found) != {*_COUNTS, *_FLAGS} or any(type(found[name]) is not bool for name in _FLAGS):
        raise misfit("its position is of no known form")
    for name in _COUNTS:
        if type(found[name]) is not int or not -(2**62) < found[name] < 2**62:
            raise misfit(f"its {name} is {str(found[name])[:40]}")
    if any(found[name] < 0 for name in ("step", "epoch", "batches")) or found["pieces"] < 1:
        raise misfit("it stands before the beginning")


def _check_tally(found: dict[str, Any]) -> None:
    known = set(found) == {"total", "samples", "waited", "seconds"}
    total = found["total"] if known else None
    is_sum = isinstance(total, Tensor) and not total.dim() and total.is_floating_point()
    if not is_sum or type(found["samples"]) is not int or found["samples"] < 0:
        raise misfit("its results so far are of no known form")
    if not all(_is_number(found[name]) and found[name] >= 0 for name in ("waited", "seconds")):
        raise misfit("its results so far are of no known form")


def _check_guard(found: dict[str, Any]) -> None:
    known = set(found) == {"in_row", "times_back", "rate_share"}
    if not known or any(type(found[name]) is not int or found[name] < 0 for name in ("in_row", "times_back")):
        raise misfit("its guard is of no known form")
    if not _is_number(found["rate_share"]) or not 0 < found["rate_share"] <= 1:
        raise misfit("its guard is of no known form")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _check_network(network: nn.Module, found: dict[str, Any]) -> None:
    own = tensors_of(network)
    if set(found) != set(own):
        odd = sorted(set(found) ^ set(own))
        raise misfit(f"it holds the weights of another network ({', '.join(odd[:3])})")
    for name, tensor in own.items():
        value = found[name]
        if not isinstance(value, Tensor) or value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise misfit(f"the weight {name!r} has another shape or type")


def _check_optimizer(optimizer: torch.optim.Optimizer | None, found: dict[str, Any] | None) -> None:
    if optimizer is not None and found is not None:
        check_optimizer_state(optimizer, found)
    elif optimizer is not None or found is not None:
        raise misfit("one of the trainings has no optimizer")


def _stateful(trainer: Trainer) -> list[tuple[Callback, dict[str, Any]]]:
    """Callbacks that decide something, with their states; the others, such as a progress bar, may come and go."""
    states = ((callback, callback.state()) for callback in trainer.callbacks)
    return [(callback, state) for callback, state in states if state]


def _restore_each(what: str, own: list[tuple[str, Any]], found: list[Any]) -> None:
    """Let each take over its state; the file is believed in nothing, so whatever fails means that it does not fit."""
    entries = [entry if isinstance(entry, list) and len(entry) == 2 else [None, None] for entry in found]
    names = [name for name, _ in own]
    if [entry[0] for entry in entries] != names:
        raise misfit(f"it was made with other {what} than {', '.join(names) or 'none'}")
    for (name, one), (_, state) in zip(own, entries, strict=True):
        if not isinstance(state, dict):
            raise misfit(f"its {what} are of no known form")
        try:
            one.load_state(state)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise misfit(f"{name} does not take the state that it holds ({error!r})") from error


def _read_carried(trainer: Trainer, found: list[Any]) -> list[list[Tensor] | None]:
    """The states of the recurrent layers; their shapes are looked at by the layers, which know the batch."""
    if len(found) != len(recurrent_layers(trainer.network)):
        raise misfit("it has other recurrent layers")
    states: list[list[Tensor] | None] = []
    for state in found:
        parts = [] if state is None else state
        if not isinstance(parts, list) or not all(isinstance(s, Tensor) and s.is_floating_point() for s in parts):
            raise misfit("what its recurrent layers carry is of no known form")
        states.append(None if state is None else [s.to(trainer.device) for s in parts])
    return states

"""A look into a network between two steps: one more forward and backward pass that leaves no trace.

B batch, C channels or units, K classes, T time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from corecur.data.batches import Batch
from corecur.engine.class_weights import weights_by_class
from corecur.engine.doctor.target_means import TargetMeans
from corecur.engine.doctor.time_gradients import NEAR, profile_of
from corecur.engine.loss import Loss
from corecur.engine.losses import FunctionLoss
from corecur.engine.outputs import JointLoss
from corecur.engine.random_states import random_states, set_random_states
from corecur.layers.activation import ReLU
from corecur.layers.activation import sigmoid as logistic
from corecur.layers.gated import GatedLayer
from corecur.layers.layer import Layer
from corecur.layers.masks import mask_of, with_mask
from corecur.layers.recurrent import Recurrent, carried_states

if TYPE_CHECKING:
    from corecur.engine.trainer import Trainer

#: Rows of a batch that a look takes: enough to know a unit that is never active, few beside a step of training.
MOST_ROWS = 32
# More classes than these are not counted one by one.
_MOST_CLASSES = 4096
# So many looks in a row without any activity make a unit a dead one.
_LOOKS = 2
# The activations whose outputs can tell that a unit is dead or saturated.
_RELU, _TANH, _SIGMOID = "relu", "tanh", "sigmoid"
_FUNCTIONS = (
    (_RELU, (torch.relu, torch.relu_)),
    (_TANH, (torch.tanh, torch.tanh_)),
    (_SIGMOID, (logistic, torch.sigmoid)),
)
_MODULES = ((_RELU, (nn.ReLU,)), (_TANH, (nn.Tanh,)), (_SIGMOID, (nn.Sigmoid,)))


@dataclass
class _Call:
    """One layer's part in a forward pass."""

    name: str
    module: nn.Module
    x: Any
    mask: Tensor | None
    y: Tensor


class Probe:
    """Looks into the network of a trainer; ``layers`` are those with weights of their own, by name."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.layers = {
            name or type(module).__name__: module
            for name, module in trainer.network.named_modules()
            if any(p is not None for p in module._parameters.values())
        }
        # How many looks in a row each unit of a layer has been dead.
        self.dead: dict[str, Tensor] = {}

    def look(self, batch: Batch, means: TargetMeans) -> dict[str, Any]:
        """What is found on (some rows of) a batch, as plain values; ``means`` are those of the targets so far."""
        trainer = self.trainer
        rows = None if any(s is not None for s in carried_states(trainer.guard.layers)) else MOST_ROWS
        batch = _first_rows(batch, rows)
        generators = () if trainer.batches is None else trainer.batches.generators
        random = random_states(generators)
        trainer.guard.remember()
        calls: dict[str, _Call] = {}
        try:
            with _heard(trainer.network, calls), torch.enable_grad():
                output = trainer.forward(batch)
                weights = weights_by_class(trainer.class_weights, batch, output)
                loss = trainer.loss_on(batch, output, weights)
                terms = [layer.penalty() for layer in trainer.layers_with_penalty]
            penalty = sum(float(term.detach()) for term in terms if term is not None)
            found = self._measured(list(calls.values()), loss)
            with torch.no_grad():
                found |= {
                    "loss": float(loss.detach()),
                    "penalty": penalty,
                    "baseline": _baseline(trainer, batch, output, weights, means),
                    "outputs": int(output.shape[-1]) if isinstance(output, Tensor) and output.dim() > 1 else None,
                    "twice": _is_twice(trainer.loss, batch.targets, output),
                    "rows": len(batch.inputs[0] if isinstance(batch.inputs, tuple) else batch.inputs),
                }
            return found
        finally:
            trainer.guard.undo()
            set_random_states(random, generators)

    def _measured(self, calls: list[_Call], loss: Tensor) -> dict[str, Any]:
        """Gradients of the weights by layer, activations, and gradients by time."""
        named = [(name, _matrices(module)) for name, module in self.layers.items()]
        weights = [(name, w) for name, several in named for w in several if w.requires_grad]
        gradients: list[Tensor | None] = [None] * len(weights)
        if weights and loss.requires_grad:
            gradients = list(torch.autograd.grad(loss, [w for _, w in weights], allow_unused=True))
        order = {call.name: place for place, call in enumerate(calls)}
        layers: dict[str, dict[str, Any]] = {}
        for (name, weight), gradient in zip(weights, gradients, strict=True):
            row = layers.setdefault(name, {"name": name, "kind": type(self.layers[name]).__name__, "g": 0.0, "w": 0.0})
            row["w"] = (row["w"] ** 2 + float(weight.detach().norm()) ** 2) ** 0.5
            row["g"] = (row["g"] ** 2 + (0.0 if gradient is None else float(gradient.norm())) ** 2) ** 0.5
        for row in layers.values():
            row["sparse"] = "Embedding" in row["kind"]
        places = [name for name, _ in named]
        listed = sorted(layers.values(), key=lambda row: order.get(row["name"], places.index(row["name"])))
        inner = [call for call in calls if call.y is not calls[-1].y] or calls
        return {
            "layers": listed,
            "units": [found for call in inner if (found := self._activity(call)) is not None],
            "time": [found for call in calls if (found := _over_time(call)) is not None],
            "inputs": [found for call in calls if (found := _input_of(call)) is not None],
        }

    @torch.no_grad()
    def _activity(self, call: _Call) -> dict[str, Any] | None:
        """How many units of a layer are dead, or how many of its values saturated."""
        kind = _function_of(call.module)
        if kind is None or not call.y.is_floating_point() or call.y.dim() < 2:
            return None
        y = call.y.detach()
        if kind != _RELU:
            share = (y.abs() > 1 - NEAR) if kind == _TANH else ((y - 0.5).abs() > 0.5 - NEAR)
            return {"name": call.name, "function": kind, "saturated": float(share.float().mean())}
        channels = 1 if not isinstance(call.module, Layer) and y.dim() > 2 else y.dim() - 1
        silent = y.amax([axis for axis in range(y.dim()) if axis != channels]) <= 0  # (C,)
        streak = self.dead.get(call.name)
        streak = torch.zeros_like(silent, dtype=torch.int64) if streak is None else streak.to(silent.device)
        self.dead[call.name] = streak = torch.where(silent, streak + 1, 0) if len(streak) == len(silent) else streak
        return {"name": call.name, "function": kind, "units": len(silent), "dead": int((streak >= _LOOKS).sum()),
                "silent": int(silent.sum()), "zeros": float((y <= 0).count_nonzero()) / y.numel()}  # fmt: skip


@contextlib.contextmanager
def _heard(network: nn.Module, calls: dict[str, _Call]) -> Iterator[None]:
    """Every layer tells what it was given and what it gave, in the order of their last calls."""

    def hear(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any], result: Any) -> None:
            y = result[0] if isinstance(result, (tuple, list)) and result else result
            x = args[0] if args else None
            if isinstance(y, Tensor):
                calls.pop(name, None)
                mask = options.get("mask")
                calls[name] = _Call(name, module, x, mask_of(x) if mask is None else mask, y)

        return hook

    handles = []
    for name, module in network.named_modules():
        own = any(p is not None for p in module._parameters.values())
        if own or isinstance(module, Recurrent) or _function_of(module) is not None:
            name = name or type(module).__name__
            handles.append(module.register_forward_hook(hear(name), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _function_of(module: nn.Module) -> str | None:
    """The activation at the end of a layer, where its outputs tell something."""
    if isinstance(module, ReLU):
        return _RELU if module._plain else None
    function = getattr(module, "_activate", None)
    if isinstance(module, GatedLayer) and module._kind == "simple_rnn" and module._phi is torch.relu:
        return _RELU
    if function is None:
        return next((name for name, kinds in _MODULES if type(module) in kinds), None)
    return next((name for name, known in _FUNCTIONS if function in known), None)


def _matrices(module: nn.Module) -> list[Tensor]:
    return [p for p in module._parameters.values() if p is not None and p.dim() > 1]


def _first_rows(batch: Batch, most: int | None) -> Batch:
    def cut(field: Any) -> Any:
        if field is None:
            return None
        if not isinstance(field, Tensor):
            return tuple(map(cut, field))
        mask = mask_of(field)
        return with_mask(field[:most], None if mask is None else mask[:most])

    return batch if most is None else Batch(cut(batch.inputs), cut(batch.targets), cut(batch.weights), cut(batch.index))


def _over_time(call: _Call) -> dict[str, Any] | None:
    if not isinstance(call.module, Recurrent) or not isinstance(call.x, Tensor):
        return None
    profile = profile_of(call.module, call.x, call.mask)
    if profile is None:
        return None
    return {"name": call.name, "kind": type(call.module).__name__, "steps": profile.steps,
            "distances": profile.distances, "gradients": profile.gradients, "gates": profile.gates}  # fmt: skip


def _input_of(call: _Call) -> dict[str, Any] | None:
    """Size and spread of what a first layer multiplies: values that no weight has touched."""
    x = call.x
    weighs = isinstance(call.module, Recurrent) or bool(_matrices(call.module))
    if not weighs or not isinstance(x, Tensor) or not x.is_floating_point() or x.requires_grad or x.dim() < 2:
        return None
    if "Embedding" in type(call.module).__name__:
        return None
    values = x.detach().float()
    if call.mask is not None and call.mask.shape == values.shape[: call.mask.dim()]:
        values = values[call.mask]
    if not values.numel():
        return None
    rows = x.detach().float().flatten(1)
    differs = float((rows - rows[:1]).abs().max()) if len(rows) > 1 else None
    return {"name": call.name, "rms": float(values.square().mean().sqrt()), "mean": float(values.mean()),
            "low": float(values.min()), "high": float(values.max()), "differs": differs}  # fmt: skip


def _baseline(trainer: Trainer, batch: Batch, output: Any, weights: Any, means: TargetMeans) -> float | None:
    """The loss of the best answer that does not look at the input; None where nobody can say which that is."""
    mean = means.mean_for(output)
    if mean is None or hasattr(output, "chain") or isinstance(trainer.loss, JointLoss):
        return None
    if mean.shape != output.shape[1:] and mean.shape != output.shape[-1:]:
        return None
    same = mean.to(output.device, output.dtype)
    if getattr(output, "logits_of", None) is None and _asks_for_logits(trainer.loss):
        near = same.clamp(1e-7, 1 - 1e-7)
        same = torch.logit(near) if "Binary" in type(trainer.loss).__name__ else near.log()
    shares = means.shares()
    if shares is not None and isinstance(trainer.loss, Loss) and not isinstance(trainer.loss, FunctionLoss):
        return _expected(trainer, shares, same, batch.targets)
    constant = with_mask(same.expand_as(output).clone(), mask_of(output))
    return float(trainer.loss_on(batch, constant, weights))


def _expected(trainer: Trainer, shares: Tensor, same: Tensor, targets: Any) -> float | None:
    """The mean loss of one answer to everything, over classes by their shares (K,)."""
    classes = len(shares) if same.numel() == 1 else same.numel()
    if classes > _MOST_CLASSES or len(shares) > classes:
        return None
    labels = torch.arange(classes, device=same.device)
    if targets.is_floating_point():
        labels = labels[:, None].to(same.dtype) if same.numel() == 1 else torch.eye(classes, device=same.device)
    constant = same.reshape(1, -1).expand(classes, -1)
    losses = trainer.loss.per_sample(labels, constant)  # type: ignore[attr-defined]
    weights = weights_by_class(trainer.class_weights, Batch(constant, labels), constant)
    losses = losses if weights is None else losses * weights
    return float((losses[: len(shares)] * shares.to(losses)).sum())


def _asks_for_logits(loss: Any) -> bool:
    """Whether a loss takes numbers before the softmax from an output that carries none."""
    if isinstance(loss, FunctionLoss):
        named = getattr(loss.function, "__name__", type(loss.function).__name__).casefold()
        return "cross_entropy" in named or "crossentropy" in named or "with_logits" in named
    return bool(getattr(loss, "from_logits", type(loss).__name__ == "Crossentropy"))


def _is_twice(loss: Any, targets: Any, output: Any) -> str | None:
    """The function that the network ends with and that is computed again behind it; None in all other cases."""
    if not isinstance(output, Tensor) or isinstance(loss, JointLoss):
        return None
    logits, kind = getattr(output, "logits", None), getattr(output, "logits_of", None)
    if logits is not None and not getattr(loss, "from_logits", False):
        taken = logits
    elif _asks_for_logits(loss):
        taken = output
        if kind is not None:
            return str(kind)
    else:
        return None
    if taken.shape[-1:] == (1,) or taken.dim() < 2 or "Binary" in type(loss).__name__:
        return None
    sums = taken.detach().float().sum(-1)
    return "softmax" if bool((taken >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()) else None

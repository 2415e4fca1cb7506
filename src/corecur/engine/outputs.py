"""Losses, metrics and predictions of networks with one output or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from corecur.engine.crf_loss import CRFLoss
from corecur.engine.loss import Loss, both, spread
from corecur.engine.losses import FunctionLoss, find_loss
from corecur.engine.metric import Metric
from corecur.engine.metrics import find_metric
from corecur.errors import ConfigError, ShapeError
from corecur.layers.crf import Chain
from corecur.layers.masks import mask_of, with_mask


class JointLoss:
    """The weighted sum of one loss per output.

    >>> from corecur.engine.losses import MeanSquaredError
    >>> zero, one = torch.zeros(2, 1), torch.ones(2, 1)
    >>> JointLoss([MeanSquaredError(), MeanSquaredError()], [1.0, 0.5])((one, one), (zero, zero))
    tensor(1.5000)
    """

    def __init__(self, losses: Sequence[Any], weights: Sequence[float]) -> None:
        self.losses = tuple(losses)
        self.weights = tuple(weights)

    def __call__(self, target: Any, output: Any, weights: Tensor | None = None) -> Tensor:
        targets, outputs = parts(target), parts(output)
        if len(targets) != len(self.losses) or len(outputs) != len(self.losses):
            raise ShapeError(
                f"there are {len(self.losses)} losses",
                got=f"{len(targets)} targets, {len(outputs)} outputs",
                do="give a list of losses as long as the lists of targets and of outputs",
            )
        terms = [
            share * loss_of(loss, t, o, weights)
            for loss, share, t, o in zip(self.losses, self.weights, targets, outputs, strict=True)
        ]
        return torch.stack(terms).sum()


def loss_of(loss: Any, target: Any, output: Any, weights: Tensor | None) -> Tensor:
    """The loss of one output over the positions that its mask leaves in.

    >>> from corecur.engine.losses import MeanSquaredError
    >>> from corecur.layers.masks import with_mask
    >>> output = with_mask(torch.tensor([[1.0, 9.0]]), torch.tensor([[True, False]]))
    >>> loss_of(MeanSquaredError(), torch.zeros(1, 2), output, None)
    tensor(1.)
    """
    if not isinstance(loss, Loss):
        found: Tensor = loss(target, output, weights)
        return found
    if isinstance(getattr(output, "chain", None), Chain) and not isinstance(loss, (CRFLoss, FunctionLoss)):
        raise ConfigError(
            "the network ends in a CRF, which another loss would leave untrained", got=repr(loss), do='loss="crf"'
        )
    return loss(target, output, weights, mask=mask_of(output))


def real_positions(loss: Any, target: Any, output: Any) -> int | None:
    """How many positions a loss averages over, where a mask or an ignored class leaves some out; else None.

    >>> from corecur.engine.losses import MeanSquaredError
    >>> from corecur.layers.masks import with_mask
    >>> masked = with_mask(torch.zeros(1, 3), torch.tensor([[True, True, False]]))
    >>> real_positions(MeanSquaredError(), torch.zeros(1, 3), masked)
    2
    """
    mask = mask_of(output)
    if isinstance(loss, Loss) and isinstance(target, Tensor):
        mask = both(loss.real(target), mask)
    return None if mask is None else int(mask.sum())


def real_weights(output: Any, weights: Tensor | None) -> Tensor | None:
    """Sample weights with 0 where the output's mask leaves a position out.

    >>> from corecur.layers.masks import with_mask
    >>> real_weights(with_mask(torch.zeros(1, 2, 3), torch.tensor([[True, False]])), torch.tensor([0.5]))
    tensor([[0.5000, 0.0000]])
    """
    mask = mask_of(output)
    if mask is None:
        return weights
    return mask.float() if weights is None else mask * spread(weights, mask)


def parts(field: Any) -> tuple[Any, ...]:
    """The tensors of several targets or outputs, in order.

    >>> parts({"a": 1, "b": 2}), parts(torch.tensor(3))
    ((1, 2), (tensor(3),))
    """
    if isinstance(field, Tensor):
        return (field,)
    return tuple(field.values() if isinstance(field, Mapping) else field)


class OutputMetric(Metric):
    """A metric of one of several outputs, named after it."""

    def __init__(self, metric: Metric, output: int, output_name: str) -> None:
        self.metric = metric
        self.output = output
        self.name = f"{output_name}_{metric.name}"

    def update(self, target: Any, output: Any, weights: Tensor | None = None) -> None:
        """Add a batch: ``target`` and ``output`` are those of the whole network."""
        mine = parts(output)[self.output]
        self.metric.update(parts(target)[self.output], mine, real_weights(mine, weights))

    def result(self) -> Any:
        """The metric's value."""
        return self.metric.result()

    def state(self) -> dict[str, Any]:
        """What has been counted so far."""
        return self.metric.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self.metric.load_state(state)

    def reset(self) -> None:
        """Forget all batches."""
        self.metric.reset()


def find_losses(loss: Any, weights: Sequence[float] | None, outputs: int | None) -> Any:
    """The loss, or the joint one of a list; ConfigError where it does not fit the number of outputs, if that is known.

    >>> find_losses("mse", None, 1)
    MeanSquaredError()
    """
    several = isinstance(loss, (list, tuple))
    count = len(loss) if several else 1
    if outputs not in (None, count):
        raise ConfigError(
            "a model takes one loss for each output", got=f"{count} for {outputs}", do='loss=["mse", …], a list of them'
        )
    if weights is not None and (not several or len(weights) != count):
        raise ConfigError("loss_weights is a list of one number for each loss of a list", got=weights)
    if not several:
        return find_loss(loss)
    return JointLoss([find_loss(one) for one in loss], [1.0] * count if weights is None else weights)


def find_metrics(metrics: Any, outputs: int | None) -> list[Metric]:
    """The metrics: a list of them, or for several outputs a list with one or a list of them for each.

    >>> [metric.name for metric in find_metrics(["mae", ["mse", "mae"]], 2)]
    ['output_0_mae', 'output_1_mse', 'output_1_mae']
    """
    if outputs is None:
        return [find_metric(metric) for metric in _several(metrics)]
    groups = _several(metrics)
    if len(groups) not in (0, outputs):
        raise ConfigError(
            "several outputs take a list with one metric, or a list of them, for each",
            got=f"{len(groups)} for {outputs}",
            do='metrics=[["accuracy"], []]',
        )
    return [
        OutputMetric(find_metric(metric), number, f"output_{number}")
        for number, group in enumerate(groups)
        for metric in _several(group)
    ]


def _several(value: Any) -> list[Any]:
    """A list as it is, one thing as a list of it, and None as an empty one."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [value]


def as_float32(output: Any) -> Any:
    """The same outputs in float32, logits included.

    >>> as_float32({"a": torch.ones(1, dtype=torch.bfloat16)})
    {'a': tensor([1.])}
    """
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
        return {key: as_float32(value) for key, value in output.items()}
    return type(output)(as_float32(value) for value in output)


def joined(outputs: list[Any], *, as_tensor: bool) -> Any:
    """The outputs of all batches, one after the other along the batch axis; nested outputs keep their form.

    >>> joined([torch.zeros(2, 3), torch.ones(1, 3)], as_tensor=True).shape
    torch.Size([3, 3])
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        whole = torch.cat(outputs)
        if whole.dtype in (torch.bfloat16, torch.float16):
            whole = whole.float()  # NumPy has no bfloat16
        return whole if as_tensor else whole.cpu().numpy()
    if isinstance(first, dict):
        return {key: joined([output[key] for output in outputs], as_tensor=as_tensor) for key in first}
    return [joined([output[number] for output in outputs], as_tensor=as_tensor) for number in range(len(first))]

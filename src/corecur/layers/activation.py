"""Activation functions by name, and the layer that applies one.

A softmax or sigmoid leaves its input on the result as ``output.logits``, so that a cross-entropy can be computed
from the logits, which is exact where the probabilities have long been rounded to 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.kernels.native_softmax import probabilities
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape
from corecur.names import Table

Function = Callable[[Tensor], Tensor]


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last axis; the result carries its logits.

    >>> y = softmax(torch.tensor([[0.0, 0.0]]))
    >>> y, y.logits
    (tensor([[0.5000, 0.5000]]), tensor([[0., 0.]]))
    """
    return with_logits(probabilities(x), x, of="softmax")


def sigmoid(x: Tensor) -> Tensor:
    """The logistic function; the result carries its logits."""
    return with_logits(torch.sigmoid(x), x, of="sigmoid")


def with_logits(output: Tensor, logits: Tensor, *, of: str) -> Tensor:
    """``output`` carrying the logits that the function ``of`` made it of: the tensor itself, which should be a new one.

    >>> with_logits(torch.ones(1, 1), torch.zeros(1, 1), of="softmax").logits
    tensor([[0.]])
    """
    output.logits = logits  # type: ignore[attr-defined]
    output.logits_of = of  # type: ignore[attr-defined]
    return output


def _hard_sigmoid(x: Tensor) -> Tensor:
    return F.hardsigmoid(x)  # Keras 3's: relu6(x + 3) / 6


def _exponential(x: Tensor) -> Tensor:
    return torch.exp(x)


def _linear(x: Tensor) -> Tensor:
    return x


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)  # Keras' default slope


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _log_softmax(x: Tensor) -> Tensor:
    return F.log_softmax(x, dim=-1)


ACTIVATIONS: Table[Function] = Table(
    "activation",
    {
        "linear": _linear,
        "relu": torch.relu,
        "relu6": F.relu6,
        "leaky_relu": _leaky_relu,
        "elu": F.elu,
        "selu": F.selu,
        "celu": F.celu,
        "gelu": F.gelu,
        "gelu_tanh": _gelu_tanh,
        "silu": F.silu,
        "mish": F.mish,
        "softplus": F.softplus,
        "softsign": F.softsign,
        "sigmoid": sigmoid,
        "hard_sigmoid": _hard_sigmoid,
        "hard_silu": F.hardswish,
        "tanh": torch.tanh,
        "softmax": softmax,
        "log_softmax": _log_softmax,
        "exponential": _exponential,
    },
    aliases={"swish": "silu", "hard_swish": "hard_silu", "identity": "linear", "none": "linear"},
)


def find_activation(spec: str | Function | None) -> Function:
    """The activation of that name, the function given, or the identity for None.

    >>> find_activation("relu")(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    if spec is None:
        return _linear
    if isinstance(spec, str):
        return ACTIVATIONS[spec]
    if not callable(spec):
        raise ConfigError("an activation is a name or a function of a tensor", got=repr(spec))
    return spec


# Functions of single elements whose gradient needs their result alone, as torch writes them over their input.
_IN_PLACE: tuple[tuple[Function, Function], ...] = ((torch.relu, torch.relu_), (torch.tanh, torch.tanh_))


def in_place(function: Function) -> Function | None:
    """The same function of single elements written over its input, or None where there is none.

    For a product that nobody else holds: it saves a tensor and a passage through memory.

    >>> x = torch.tensor([-1.0, 2.0])
    >>> in_place(torch.relu)(x) is x, in_place(softmax)
    (True, None)
    """
    return next((twin for known, twin in _IN_PLACE if known is function), None)


class Activation(Layer):
    """Applies an activation function to every element (softmax: over the last axis).

    >>> Activation("relu")(torch.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    supports_masking = True

    def __init__(self, activation: str | Function, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.activation = activation
        self._activate = find_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self._activate(x)


class ReLU(Layer):
    """``x`` from ``threshold`` on and at most ``max_value``; below, ``negative_slope · (x - threshold)``.

    >>> ReLU(max_value=6)(torch.tensor([[-1.0, 2.0, 9.0]]))
    tensor([[0., 2., 6.]])
    """

    supports_masking = True

    def __init__(
        self,
        max_value: float | None = None,
        *,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        given = {"max_value": max_value, "negative_slope": negative_slope, "threshold": threshold}
        for what, value in given.items():
            if value is not None and value < 0:
                raise ConfigError(f"ReLU's {what} cannot be negative", got=value, expected="a number from 0")
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold
        self._plain = negative_slope == threshold == 0

    def forward(self, x: Tensor) -> Tensor:
        if self._plain:
            y = torch.relu(x)
        else:
            y = torch.where(x >= self.threshold, x, self.negative_slope * (x - self.threshold))
        return y if self.max_value is None else y.clamp(max=self.max_value)


class LeakyReLU(Layer):
    """``x`` above 0, ``negative_slope · x`` below.

    >>> LeakyReLU()(torch.tensor([[-1.0, 2.0]]))
    tensor([[-0.3000,  2.0000]])
    """

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)


class ELU(Layer):
    """``x`` above 0, ``alpha · (exp(x) - 1)`` below (Clevert et al. 2016).

    >>> ELU()(torch.tensor([[-1.0, 2.0]]))
    tensor([[-0.6321,  2.0000]])
    """

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha)


class PReLU(Layer):
    """``x`` above 0, ``alpha · x`` below, with ``alpha`` learned (He et al. 2015).

    ``alpha`` has the shape of a sample, with 1 along ``shared_axes`` (counted from 1, the batch axis being 0): a slope
    for each channel of images is ``shared_axes=(1, 2)``, and then ``alpha.flatten()`` is ``nn.PReLU``'s weight.

    >>> PReLU("ones", shared_axes=(1, 2))(torch.full((1, 5, 5, 3), -2.0)).unique().item()
    -2.0
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: str | Initializer = "zeros",
        *,
        alpha_regularizer: str | Regularizer | None = None,
        shared_axes: tuple[int, ...] | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = alpha_initializer
        self.alpha_regularizer = alpha_regularizer
        self.shared_axes = shared_axes

    def build(self, input_shape: Shape) -> None:
        rank, shared = len(input_shape), set()
        for axis in self.shared_axes or ():
            if axis % rank == 0 or not -rank <= axis < rank:
                raise ConfigError(f"{self.title} has no axis {axis} to share", expected=f"axes from 1 to {rank - 1}")
            shared.add(axis % rank)
        sizes = [1 if axis in shared else input_shape[axis] for axis in range(1, rank)]
        if None in sizes:
            raise ShapeError(
                f"{self.title} needs to know the sizes it learns a slope for",
                got=input_shape,
                do="name the axes of unknown size in shared_axes",
            )
        self.alpha = self.add_weight(
            tuple(size for size in sizes if size is not None),
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
        )

    def check_input(self, shape: Shape | torch.Size) -> None:
        super().check_input(shape)
        if not self.built:
            return
        wanted = self.alpha.shape
        if len(shape) != len(wanted) + 1 or any(w not in (1, s) for w, s in zip(wanted, shape[1:], strict=True)):
            raise ShapeError(f"{self.title} was built for samples of another shape", got=shape, expected=tuple(wanted))

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is not None:  # the gradient of the slopes would take up a NaN there, times 0
            x = blank(x, mask)
        return torch.relu(x) - self.alpha * torch.relu(-x)  # twice as fast as torch.where with its broadcast slope


class Softmax(Layer):
    """Softmax over ``axis``; over the last axis, the result carries its logits.

    Over time (``axis=1`` of (B, T, C)), steps that a mask leaves out get 0 and the others sum to 1.

    >>> Softmax()(torch.tensor([[0.0, 0.0]]))
    tensor([[0.5000, 0.5000]])
    """

    supports_masking = True

    def __init__(self, axis: int = -1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.axis = axis

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is not None and x.ndim > 2 and self.axis % x.ndim == 1:
            y = torch.softmax(blank(x, mask, torch.finfo(x.dtype).min), dim=1)
            return blank(y, mask)
        # a cross-entropy reads logits along the last axis only
        return softmax(x) if self.axis in (-1, x.ndim - 1) else torch.softmax(x, dim=self.axis)

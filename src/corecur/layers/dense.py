"""Dense: a linear map of the last axis and an activation.

B batch, C features in, U units.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor, nn

from corecur.errors import ConfigError
from corecur.kernels.native_softmax import time_first
from corecur.kernels.products import linear
from corecur.layers.activation import Function, find_activation, in_place
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape


class Dense(Layer):
    """``activation(x W^T + b)`` over the last axis; ``weight`` is (U, C) as in ``nn.Linear``.

    >>> import torch
    >>> Dense(4)(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """

    fixes_channels = True
    supports_masking = True
    keras_weights = (("weight", (1, 0)), ("bias", None))

    def __init__(
        self,
        units: int,
        activation: str | Function | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        kernel_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        if not isinstance(units, int) or isinstance(units, bool) or units < 1:
            raise ConfigError("Dense needs a number of units", got=repr(units), expected="a whole number from 1")
        self.units = units
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self._function = find_activation(activation)
        self._activate = in_place(self._function) or self._function
        self.bias: nn.Parameter | None
        self.register_parameter("weight", None)  # first, as in torch.nn
        self.register_parameter("bias", None)

    def build(self, input_shape: Shape) -> None:
        channels = int(input_shape[-1] or 0)
        self.weight = self.add_weight(
            (self.units, channels), initializer=self.kernel_initializer, regularizer=self.kernel_regularizer
        )
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,), initializer=self.bias_initializer, regularizer=self.bias_regularizer
            )

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is not None:  # the gradient of the weights would take up a NaN there, times 0
            x = blank(x, mask)
        # In place on what lies time first, a view, would cost a copy on the way back.
        activate = self._function if time_first(x) else self._activate
        return activate(linear(x, self.weight, self.bias))  # (…, C) -> (…, U)

    def window(self) -> tuple[int, int] | None:
        return None if self.input_shape is not None and len(self.input_shape) == 2 else (1, 1)

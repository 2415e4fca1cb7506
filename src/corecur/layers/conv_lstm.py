"""ConvLSTM2D: an LSTM over a sequence of pictures, whose products are convolutions.

B batch, T time, H, W height and width in, h, w out, C channels, F filters.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.errors import ConfigError
from corecur.kernels.cell import conv_lstm
from corecur.kernels.choose import Request, decide
from corecur.kernels.time_loop import TimeLoop, compiled_loop
from corecur.layers.activation import Function
from corecur.layers.conv import Padding, Size, each_axis, same_padding
from corecur.layers.dropout import check_rate, drop
from corecur.layers.gated import step_function
from corecur.layers.initializers import Initializer
from corecur.layers.recurrent import Recurrent, RecurrentOptions
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape

_KIND = "conv_lstm"


class ConvLSTM2D(Recurrent):
    """``c' = σ(f) c + σ(i) φ(g)``, ``h' = σ(o) φ(c')``, gates ``W_x * x + W_h * h + b``, ``*`` a convolution.

    (B, T, H, W, C) -> (B, h, w, F), or (B, T, h, w, F) with ``return_sequences`` (Shi et al. 2015, without
    peepholes, as in Keras). Strides, padding and dilation are those of the input's convolution; the recurrent one keeps
    the size. ``weight_ih`` is (4F, C, k, k), ``weight_hh`` (4F, F, k, k), gates in the order i, f, g, o. States are
    (B, h, w, F). Masks are those of steps, (B, T).

    >>> ConvLSTM2D(4, 3, padding="same", return_sequences=True)(torch.zeros(2, 5, 8, 8, 1)).shape
    torch.Size([2, 5, 8, 8, 4])
    """

    rank = 5
    keras_weights = (("weight_ih", (2, 3, 1, 0)), ("weight_hh", (2, 3, 1, 0)), ("bias", None))

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = 1,
        padding: Padding = "valid",
        *,
        dilation_rate: Size = 1,
        activation: str | Function | None = "tanh",
        recurrent_activation: str | Function | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        bias_initializer: str | Initializer = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: str | Regularizer | None = None,
        recurrent_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **options: Unpack[RecurrentOptions],
    ) -> None:
        super().__init__(**options)
        if padding not in ("valid", "same"):
            raise ConfigError(f"ConvLSTM2D has no padding {padding!r}", expected="'valid' or 'same'")
        each_axis(filters, 1, what="ConvLSTM2D's number of filters")
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.dilation_rate = dilation_rate
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.unit_forget_bias = unit_forget_bias
        self.kernel_regularizer = kernel_regularizer
        self.recurrent_regularizer = recurrent_regularizer
        self.bias_regularizer = bias_regularizer
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self._kernel = each_axis(kernel_size, 2, what="ConvLSTM2D's kernel_size")
        self._strides = each_axis(strides, 2, what="ConvLSTM2D's strides")
        self._dilation = each_axis(dilation_rate, 2, what="ConvLSTM2D's dilation_rate")
        self._dropout = check_rate(dropout, "ConvLSTM2D's dropout")
        self._recurrent_dropout = check_rate(recurrent_dropout, "ConvLSTM2D's recurrent_dropout")
        self._phi_name, self._phi = step_function(activation)
        self._sigma_name, self._sigma = step_function(recurrent_activation)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None)

    def build(self, input_shape: Shape) -> None:
        gates, channels = 4 * self.filters, int(input_shape[-1] or 0)
        self.weight_ih = self.add_weight(
            (gates, channels, *self._kernel), initializer=self.kernel_initializer, regularizer=self.kernel_regularizer
        )
        self.weight_hh = self.add_weight(
            (gates, self.filters, *self._kernel),
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
        )
        if self.use_bias:
            self.bias = self.add_weight((gates,), initializer=self.bias_initializer, regularizer=self.bias_regularizer)
            if self.unit_forget_bias:
                with torch.no_grad():
                    self.bias[self.filters : 2 * self.filters] = 1.0

    def state_shapes(self, x: Tensor) -> list[tuple[int, ...]]:
        sizes = []
        for size, kernel, stride, dilation in zip(
            x.shape[2:4], self._kernel, self._strides, self._dilation, strict=True
        ):
            reach = 0 if self.padding == "same" else (kernel - 1) * dilation
            sizes.append(max(0, -(-(size - reach) // stride)))
        return [(sizes[0], sizes[1], self.filters)] * 2

    def over_shapes(self, x: Tensor) -> Tensor:
        pictures = self._input_part(x.to(self.weight_ih.dtype)).flatten(0, 1)  # (T·B, 4F, h, w)
        F.conv2d(pictures[:, : self.filters], self.weight_hh, padding="same")
        return super().over_shapes(x)

    def over_time(
        self, x: Tensor, state: list[Tensor], lengths: Tensor | None, *, need_state: bool
    ) -> tuple[Tensor, list[Tensor]]:
        dtype, steps = self.weight_ih.dtype, x.shape[1]
        real = None
        if lengths is not None and need_state:
            real = (torch.arange(steps, device=x.device)[:, None] < lengths)[..., None, None, None]  # (T, B, 1, 1, 1)
        with torch.autocast(x.device.type, enabled=False):
            outputs, last = self._loop()(
                self._input_part(x.to(dtype)),
                [s.to(dtype).permute(0, 3, 1, 2) for s in state],  # (B, h, w, F) -> (B, F, h, w)
                [self.weight_hh],
                real,
                self._pattern(state[0].to(dtype)),
                [],
            )
        # (T, B, F, h, w) -> (B, T, h, w, F)
        return outputs.permute(1, 0, 3, 4, 2), [s.permute(0, 2, 3, 1) for s in last]

    def _loop(self) -> nn.Module:
        """The loop over time: compiled where the activations are the package's."""
        decided = decide(Request(_KIND, activation=self._phi_name, recurrent_activation=self._sigma_name))
        if decided.kernel == "python loop":
            return TimeLoop(conv_lstm(self._phi, self._sigma))
        return compiled_loop(conv_lstm, self._phi, self._sigma)

    def _input_part(self, x: Tensor) -> Tensor:
        """The input's convolution for all steps at once, (B, T, H, W, C) -> (T, B, 4F, h, w)."""
        batch, steps, *size, channels = x.shape
        if self.training and self._dropout:
            x = drop(x, self._dropout, (batch, 1, *size, channels))
        pictures = x.transpose(0, 1).flatten(0, 1).permute(0, 3, 1, 2)  # (T·B, C, H, W)
        if self.padding == "same":
            pads = [same_padding(*axis) for axis in zip(size, self._kernel, self._strides, self._dilation, strict=True)]
            pictures = F.pad(pictures, (*pads[1], *pads[0]))
        y = F.conv2d(pictures, self.weight_ih, self.bias, self._strides, 0, self._dilation)
        return y.view(steps, batch, *y.shape[1:])

    def _pattern(self, h: Tensor) -> Tensor | None:
        """What hides values of the state (B, h, w, F) from the recurrent convolution, one pattern for all steps."""
        if not self.training or not self._recurrent_dropout:
            return None
        return drop(torch.ones_like(h), self._recurrent_dropout, h.shape).permute(0, 3, 1, 2)

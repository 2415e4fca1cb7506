"""DepthwiseConv1D, DepthwiseConv2D: each channel is convolved with kernels of its own, channels are not mixed.

B batch, S… spatial axes (T | H W), C channels in, M multiplier, k… kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Unpack

import torch.nn.functional as F
from torch import Tensor

from corecur.layers.activation import Function
from corecur.layers.conv import Convolution, Size, each_axis
from corecur.layers.initializers import Initializer
from corecur.layers.keras_weight import KerasWeight, permuted
from corecur.layers.layer import LayerOptions
from corecur.layers.masks import blank
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape
from corecur.layers.window_mask import window_mask


class DepthwiseConvolution(Convolution):
    """What the depthwise convolutions over 1 and 2 axes share."""

    #: From (C, M, k…) to Keras' (k…, C, M).
    keras_order: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        kernel_size: Size,
        strides: Size = 1,
        padding: Literal["valid", "same"] = "valid",
        *,
        depth_multiplier: int = 1,
        dilation_rate: Size = 1,
        activation: str | Function | None = None,
        use_bias: bool = True,
        depthwise_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        depthwise_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        each_axis(depth_multiplier, 1, what=f"{type(self).__name__}'s depth_multiplier")
        super().__init__(
            depth_multiplier,  # becomes C·M with the first input
            kernel_size,
            strides,
            padding,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            bias_initializer=bias_initializer,
            bias_regularizer=bias_regularizer,
            **options,
        )
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = depthwise_initializer
        self.depthwise_regularizer = depthwise_regularizer

    def build(self, input_shape: Shape) -> None:
        channels = int(input_shape[-1] or 0)
        self.groups, self.filters = channels, channels * self.depth_multiplier
        # made as (M, C, k…), on which the initialisers count the connections as Keras does
        self.weight = self.add_weight(
            (self.depth_multiplier, channels, *self._kernel),
            initializer=self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
        )
        self.weight.data = self.weight.data.transpose(0, 1).reshape(self.filters, 1, *self._kernel)  # (C·M, 1, k…)
        if self.use_bias:
            self.bias = self.add_weight(
                (self.filters,), initializer=self.bias_initializer, regularizer=self.bias_regularizer
            )

    def keras_state(self) -> Iterator[KerasWeight]:
        by_channel = self.weight.view(self.groups, self.depth_multiplier, *self._kernel)  # (C·M, 1, k…) -> (C, M, k…)
        yield permuted("weight", by_channel, self.keras_order)
        if self.bias is not None:
            yield permuted("bias", self.bias, None)


class DepthwiseConv1D(DepthwiseConvolution):
    """Depthwise convolution over time: (B, T, C) -> (B, T', C·M).

    ``weight`` is (C·M, 1, k) as in ``nn.Conv1d(C, C·M, k, groups=C)``. Masks as in ``Conv1D``.

    >>> import torch
    >>> DepthwiseConv1D(3, depth_multiplier=2)(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 8, 8])
    """

    axes = 1
    rank = 3
    convolve = staticmethod(F.conv1d)
    keras_order = (2, 0, 1)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        return super().forward(x if mask is None else blank(x, mask))

    def compute_mask(self, inputs: Any, mask: Tensor | None) -> Tensor | None:
        """The mask of the windows."""
        return None if mask is None else window_mask(mask, self.window_over_time, self._strides[0], self.padding)


class DepthwiseConv2D(DepthwiseConvolution):
    """Depthwise convolution over images: (B, H, W, C) -> (B, H', W', C·M).

    ``weight`` is (C·M, 1, kH, kW) as in ``nn.Conv2d(C, C·M, k, groups=C)``.

    >>> import torch
    >>> DepthwiseConv2D((3, 3), padding="same")(torch.zeros(2, 14, 14, 8)).shape
    torch.Size([2, 14, 14, 8])
    """

    axes = 2
    rank = 4
    convolve = staticmethod(F.conv2d)
    keras_order = (2, 3, 0, 1)

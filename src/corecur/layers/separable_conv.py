"""SeparableConv1D, SeparableConv2D: a depthwise convolution, then a 1x1 convolution that mixes the channels.

B batch, S… spatial axes (T | H W), C channels in, M multiplier, F filters, k… kernel.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal, Unpack

from torch import Tensor

from corecur.layers.activation import Function
from corecur.layers.conv import Conv1D, Conv2D, Convolution, Size
from corecur.layers.depthwise_conv import DepthwiseConv1D, DepthwiseConv2D, DepthwiseConvolution
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape


class SeparableConvolution(Layer):
    """What the separable convolutions over 1 and 2 axes share (Chollet 2017, without anything between the two)."""

    depthwise_type: ClassVar[type[DepthwiseConvolution]]
    pointwise_type: ClassVar[type[Convolution]]
    fixes_channels = True

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = 1,
        padding: Literal["valid", "same"] = "valid",
        *,
        dilation_rate: Size = 1,
        depth_multiplier: int = 1,
        activation: str | Function | None = None,
        use_bias: bool = True,
        depthwise_initializer: str | Initializer = "glorot_uniform",
        pointwise_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        depthwise_regularizer: str | Regularizer | None = None,
        pointwise_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.dilation_rate = dilation_rate
        self.depth_multiplier = depth_multiplier
        self.activation = activation
        self.use_bias = use_bias
        self.depthwise_initializer = depthwise_initializer
        self.pointwise_initializer = pointwise_initializer
        self.bias_initializer = bias_initializer
        self.depthwise_regularizer = depthwise_regularizer
        self.pointwise_regularizer = pointwise_regularizer
        self.bias_regularizer = bias_regularizer
        self.depthwise = self.depthwise_type(
            kernel_size,
            strides,
            padding,
            depth_multiplier=depth_multiplier,
            dilation_rate=dilation_rate,
            use_bias=False,
            depthwise_initializer=depthwise_initializer,
            depthwise_regularizer=depthwise_regularizer,
            name=self.name,
        )
        self.pointwise = self.pointwise_type(
            filters,
            1,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=pointwise_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=pointwise_regularizer,
            bias_regularizer=bias_regularizer,
            name=self.name,
        )

    def build(self, input_shape: Shape) -> None:
        channels = int(input_shape[-1] or 0)
        self.depthwise.build_for(input_shape)
        self.pointwise.build_for((*input_shape[:-1], channels * self.depth_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.pointwise(self.depthwise(x))  # (B, S…, C) -> (B, S'…, C·M) -> (B, S'…, F)
        return output

    def window(self) -> tuple[int, int | Fraction] | None:
        return self.depthwise.window()


class SeparableConv1D(SeparableConvolution):
    """Separable convolution over time: (B, T, C) -> (B, T', F).

    State names: ``depthwise.weight`` (C·M, 1, k), ``pointwise.weight`` (F, C·M, 1), ``pointwise.bias`` (F,).
    Masks as in ``Conv1D``.

    >>> import torch
    >>> SeparableConv1D(8, 3)(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 8, 8])
    """

    rank = 3
    depthwise_type = DepthwiseConv1D
    pointwise_type = Conv1D

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        output: Tensor = self.pointwise(self.depthwise(x, mask=mask))  # which carries the mask on
        return output


class SeparableConv2D(SeparableConvolution):
    """Separable convolution over images: (B, H, W, C) -> (B, H', W', F).

    State names: ``depthwise.weight`` (C·M, 1, kH, kW), ``pointwise.weight`` (F, C·M, 1, 1), ``pointwise.bias`` (F,).

    >>> import torch
    >>> SeparableConv2D(8, (3, 3), padding="same")(torch.zeros(2, 14, 14, 4)).shape
    torch.Size([2, 14, 14, 8])
    """

    rank = 4
    depthwise_type = DepthwiseConv2D
    pointwise_type = Conv2D

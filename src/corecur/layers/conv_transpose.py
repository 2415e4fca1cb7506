"""Conv1DTranspose, Conv2DTranspose, Conv3DTranspose: the gradient of a convolution as a layer, which enlarges.

B batch, S… spatial axes (T | H W | D H W), C channels in, F filters, G groups, k… kernel.
Public tensors are (B, S…, C); inside, the same memory is seen as (B, C, S…).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Unpack

import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.activation import Function
from corecur.layers.conv import Convolution, Size, channels_first, channels_last, each_axis
from corecur.layers.initializers import Initializer
from corecur.layers.layer import LayerOptions
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape, shape_of


def last_stretch(reach: int, stride: int, padding: str, output_padding: int | None) -> int:
    """Keras' rule for the size of the output: ``(size - 1) * stride`` plus this.

    Without ``output_padding`` that is the size of which a convolution with this padding makes ``size``.

    >>> last_stretch(3, 2, "same", None), last_stretch(3, 2, "valid", None), last_stretch(3, 2, "same", 0)
    (2, 3, 1)
    """
    if output_padding is None:
        return stride if padding == "same" else max(reach, stride)
    return (reach % 2 if padding == "same" else reach) + output_padding


class TransposedConvolution(Convolution):
    """What the transposed convolutions over 1, 2 and 3 axes share.

    Each position of the input adds its share of the kernel to the output, ``strides`` apart; then the ends are cut by
    what a convolution with the same ``padding`` would have added, the smaller half before and the larger after.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = 1,
        padding: Literal["valid", "same"] = "valid",
        *,
        output_padding: Size | None = None,
        dilation_rate: Size = 1,
        groups: int = 1,
        activation: str | Function | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        kernel_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **options,
        )
        self.output_padding = output_padding
        self._plan_ends()

    def _plan_ends(self) -> None:
        """How much torch cuts from both ends and adds after, and which axes lose one more position after."""
        kind = type(self).__name__
        extra: tuple[int | None, ...] = (None,) * self.axes
        if self.output_padding is not None:
            extra = each_axis(self.output_padding, self.axes, what=f"{kind}'s output_padding", least=0)
            if any(e is not None and e >= s for e, s in zip(extra, self._strides, strict=True)):
                raise ConfigError(
                    f"{kind}'s output_padding must be less than its strides",
                    got=self.output_padding,
                    expected=f"less than {self.strides}",
                )
        reaches = [(k - 1) * d + 1 for k, d in zip(self._kernel, self._dilation, strict=True)]
        self._stretch = tuple(
            last_stretch(reach, stride, self.padding, more)
            for reach, stride, more in zip(reaches, self._strides, extra, strict=True)
        )
        cuts = [reach - stretch for reach, stretch in zip(reaches, self._stretch, strict=True)]
        self._cut = tuple(max(cut, 0) // 2 for cut in cuts)
        self._more = tuple(max(-cut, 0) for cut in cuts)
        self._odd = tuple(axis for axis, cut in enumerate(cuts) if cut > 0 and cut % 2)

    def build(self, input_shape: Shape) -> None:
        channels = int(input_shape[-1] or 0)
        if channels % self.groups:
            raise ShapeError(f"{self.title} cannot split {channels} channels into {self.groups} groups")
        self.weight = self.add_weight(
            (channels, self.filters // self.groups, *self._kernel),  # (C, F/G, k…)
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                (self.filters,), initializer=self.bias_initializer, regularizer=self.bias_regularizer
            )

    def forward(self, x: Tensor) -> Tensor:
        x = channels_first(x)  # (B, S…, C) -> (B, C, S…)
        if min(self._stretch) < 1:
            self._check_size(x)
        y = type(self).convolve(
            x, self.weight, self.bias, self._strides, self._cut, self._more, self.groups, self._dilation
        )
        for axis in self._odd:
            y = y.narrow(2 + axis, 0, y.shape[2 + axis] - 1)
        return self._activate(channels_last(y))  # (B, F, S'…) -> (B, S'…, F)

    def window(self) -> tuple[int, int | Fraction] | None:
        stride = self._strides[0]
        return -(-((self._kernel[0] - 1) * self._dilation[0] + 1) // stride), Fraction(1, stride)

    def _check_size(self, x: Tensor) -> None:
        for size, stride, stretch in zip(x.shape[2:], self._strides, self._stretch, strict=True):
            if (size - 1) * stride + stretch < 1:
                raise ShapeError(
                    f"{self.title}: nothing is left of the output",
                    got=shape_of(channels_last(x)),
                    do="leave out output_padding, or give a larger input",
                )


class Conv1DTranspose(TransposedConvolution):
    """Transposed convolution over time: (B, T, C) -> (B, T', F).

    ``weight`` is (C, F/G, k) as in ``nn.ConvTranspose1d``.

    >>> import torch
    >>> Conv1DTranspose(8, 3, strides=2, padding="same")(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 20, 8])
    """

    axes = 1
    rank = 3
    convolve = staticmethod(F.conv_transpose1d)
    keras_weights = (("weight", (2, 1, 0)), ("bias", None))


class Conv2DTranspose(TransposedConvolution):
    """Transposed convolution over images: (B, H, W, C) -> (B, H', W', F).

    ``weight`` is (C, F/G, kH, kW) as in ``nn.ConvTranspose2d``.

    >>> import torch
    >>> Conv2DTranspose(8, (3, 3), strides=2, padding="same")(torch.zeros(2, 7, 7, 4)).shape
    torch.Size([2, 14, 14, 8])
    """

    axes = 2
    rank = 4
    convolve = staticmethod(F.conv_transpose2d)
    keras_weights = (("weight", (2, 3, 1, 0)), ("bias", None))


class Conv3DTranspose(TransposedConvolution):
    """Transposed convolution over volumes: (B, D, H, W, C) -> (B, D', H', W', F).

    ``weight`` is (C, F/G, kD, kH, kW) as in ``nn.ConvTranspose3d``.

    >>> import torch
    >>> Conv3DTranspose(8, 3)(torch.zeros(2, 3, 4, 5, 1)).shape
    torch.Size([2, 5, 6, 7, 8])
    """

    axes = 3
    rank = 5
    convolve = staticmethod(F.conv_transpose3d)
    keras_weights = (("weight", (2, 3, 4, 1, 0)), ("bias", None))

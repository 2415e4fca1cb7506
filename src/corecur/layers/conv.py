"""Conv1D, Conv2D, Conv3D: cross-correlation over 1, 2 or 3 axes, as every framework calls convolution.

B batch, S… spatial axes (T | H W | D H W), C channels in, F filters, G groups, k… kernel.
Public tensors are (B, S…, C); inside, the same memory is seen as (B, C, S…), which is torch's channels_last.

With ``flip_kernel=True`` the kernel is turned around, which makes it the convolution of mathematics,
``y(i, j) = Σ_p Σ_q x(i - p, j - q) w(p, q)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.activation import Function, find_activation, in_place
from corecur.layers.conv_block import Geometry, native_activation, run_block
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape, shape_of
from corecur.layers.window_mask import window_mask

Padding = Literal["valid", "same", "causal"]
Size = int | tuple[int, ...]


def channels_first(x: Tensor) -> Tensor:
    """The same memory as (B, C, S…): a view, no copy."""
    return x.movedim(-1, 1) if x.ndim != 4 else x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """The same memory as (B, S…, C): a view, no copy."""
    return x.movedim(1, -1) if x.ndim != 4 else x.permute(0, 2, 3, 1)


def each_axis(value: Size, axes: int, *, what: str, least: int = 1) -> tuple[int, ...]:
    """One whole number for each spatial axis.

    >>> each_axis(3, 2, what="kernel_size")
    (3, 3)
    """
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (value,) * axes
    if len(sizes) != axes or any(not isinstance(size, int) or isinstance(size, bool) or size < least for size in sizes):
        expected = f"a whole number from {least}, or {axes} of them"
        raise ConfigError(f"{what} does not fit {axes} axes", got=value, expected=expected)
    return sizes


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after an axis for ``padding="same"``: ``ceil(size / stride)`` outputs, the odd zero after.

    >>> same_padding(28, 3, 1, 1), same_padding(28, 3, 2, 1)
    ((1, 1), (0, 1))
    """
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def convolve_time(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """``F.conv1d`` for x (B, C, T), which is (B, T, C) in memory, as an image of height 1.

    torch has a fast way for images whose channels lie side by side and none for sequences: 1.5 to 3 times as fast.

    >>> convolve_time(torch.ones(1, 1, 4), torch.ones(1, 1, 2), None, (1,), (0,), (1,), 1)
    tensor([[[2., 2., 2.]]])
    """
    image, kernel = x.unsqueeze(2), weight.unsqueeze(2)  # (B, C, 1, T), (F, C/G, 1, k)
    y = F.conv2d(image, kernel, bias, (1, *strides), (0, *padding), (1, *dilation), groups)
    return y.squeeze(2)  # (B, F, T')


class Convolution(Layer):
    """What the convolutions over 1, 2 and 3 axes share."""

    axes: ClassVar[int]
    convolve: ClassVar[Callable[..., Tensor]]
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")
    fixes_channels = True

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = 1,
        padding: Padding = "valid",
        *,
        dilation_rate: Size = 1,
        groups: int = 1,
        activation: str | Function | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        kernel_regularizer: str | Regularizer | None = None,
        bias_regularizer: str | Regularizer | None = None,
        flip_kernel: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        kind = type(self).__name__
        if padding not in self.paddings:
            raise ConfigError(f"{kind} has no padding {padding!r}", expected=" or ".join(map(repr, self.paddings)))
        each_axis(filters, 1, what=f"{kind}'s number of filters")
        each_axis(groups, 1, what=f"{kind}'s number of groups")
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.dilation_rate = dilation_rate
        self.groups = groups
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.flip_kernel = flip_kernel
        self._kernel = each_axis(kernel_size, self.axes, what=f"{kind}'s kernel_size")
        self._strides = each_axis(strides, self.axes, what=f"{kind}'s strides")
        self._dilation = each_axis(dilation_rate, self.axes, what=f"{kind}'s dilation_rate")
        if filters % groups:
            raise ConfigError(f"{kind} cannot split {filters} filters into {groups} groups")
        self._activate = find_activation(activation)
        self._activate_in_place = in_place(self._activate)
        self._native_activation = native_activation(self._activate)
        self._padding = self._constant_padding()
        self.bias: nn.Parameter | None
        self.register_parameter("weight", None)  # first, as in torch.nn
        self.register_parameter("bias", None)

    def build(self, input_shape: Shape) -> None:
        channels = int(input_shape[-1] or 0)
        if channels % self.groups:
            raise ShapeError(f"{self.title} cannot split {channels} channels into {self.groups} groups")
        weight = self.add_weight(
            (self.filters, channels // self.groups, *self._kernel),  # (F, C/G, k…)
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.axes == 2:  # in the layout of the activations, so that no step reorders it
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.weight = weight
        if self.use_bias:
            self.bias = self.add_weight(
                (self.filters,), initializer=self.bias_initializer, regularizer=self.bias_regularizer
            )

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.flip(tuple(range(2, 2 + self.axes))) if self.flip_kernel else self.weight
        x = channels_first(x)  # (B, S…, C) -> (B, C, S…)
        padding = self._padding
        if padding is None:
            x, padding = self._pad(x), (0,) * self.axes
        self._check_reach(x, padding)
        y = type(self).convolve(x, weight, self.bias, self._strides, padding, self._dilation, self.groups)
        if self._activate_in_place is not None:
            return channels_last(self._activate_in_place(y))  # (B, F, S'…) -> (B, S'…, F)
        return self._activate(channels_last(y))  # (B, F, S'…) -> (B, S'…, F)

    def window(self) -> tuple[int, int | Fraction] | None:
        return self.window_over_time, self._strides[0]

    @property
    def window_over_time(self) -> int:
        """Positions that the kernel reaches over along the first spatial axis."""
        return (self._kernel[0] - 1) * self._dilation[0] + 1

    def _constant_padding(self) -> tuple[int, ...] | None:
        """Zeros on both sides where they are equal for every size, so that torch pads inside the product."""
        if self.padding == "valid":
            return (0,) * self.axes
        reaches = [(k - 1) * d for k, d in zip(self._kernel, self._dilation, strict=True)]
        if self.padding == "same" and set(self._strides) == {1} and all(r % 2 == 0 for r in reaches):
            return tuple(r // 2 for r in reaches)
        return None

    def _pad(self, x: Tensor) -> Tensor:
        """Add the zeros that depend on the size of ``x`` (B, C, S…) or differ between its sides."""
        sides: list[int] = []
        for axis in reversed(range(self.axes)):  # F.pad starts from the last axis
            kernel, dilation = self._kernel[axis], self._dilation[axis]
            if self.padding == "causal":
                sides += [(kernel - 1) * dilation, 0]
            else:
                sides += same_padding(x.shape[2 + axis], kernel, self._strides[axis], dilation)
        return F.pad(x, sides)

    def _check_reach(self, x: Tensor, padding: tuple[int, ...]) -> None:
        for axis in range(self.axes):
            reach = (self._kernel[axis] - 1) * self._dilation[axis] + 1
            if x.shape[2 + axis] + 2 * padding[axis] < reach:
                raise ShapeError(
                    f"{self.title}: the kernel reaches over {reach} positions, the input has {x.shape[2 + axis]}",
                    got=shape_of(channels_last(x)),
                    expected=f"at least {reach} along every spatial axis",
                    do='use padding="same", a smaller kernel, or fewer pooling layers before it',
                )


class Conv1D(Convolution):
    """Convolution over time: (B, T, C) -> (B, T', F); ``padding="causal"`` sees only the past.

    ``weight`` is (F, C/G, k) as in ``nn.Conv1d``. Steps that a mask leaves out count as zeros, as what lies outside
    does, so that padding on either side changes nothing; which outputs are real, ``window_mask`` says. (With strides,
    windows keep the places they have over the whole batch, which padding on the left moves, and on the right too with
    ``padding="same"``.)

    >>> Conv1D(8, 3, padding="causal")(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 10, 8])
    """

    axes = 1
    rank = 3
    convolve = staticmethod(convolve_time)
    paddings = ("valid", "same", "causal")
    keras_weights = (("weight", (2, 1, 0)), ("bias", None))

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        return super().forward(x if mask is None else blank(x, mask))

    def compute_mask(self, inputs: Any, mask: Tensor | None) -> Tensor | None:
        """The mask of the windows."""
        return None if mask is None else window_mask(mask, self.window_over_time, self._strides[0], self.padding)


class Conv2D(Convolution):
    """Convolution over images: (B, H, W, C) -> (B, H', W', F).

    ``weight`` is (F, C/G, kH, kW) as in ``nn.Conv2d``.

    >>> Conv2D(8, (3, 3), activation="relu")(torch.zeros(2, 28, 28, 1)).shape
    torch.Size([2, 26, 26, 8])
    """

    axes = 2
    rank = 4
    convolve = staticmethod(F.conv2d)
    keras_weights = (("weight", (2, 3, 1, 0)), ("bias", None))

    def forward(self, x: Tensor) -> Tensor:
        known = self._native_activation
        y = self.run_native(x, self.weight, self.bias, activation=known or "linear")
        if y is None:
            return super().forward(x)
        return y if known is not None else self._activate(y)

    def run_native(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, *, activation: str, pool: str = ""
    ) -> Tensor | None:
        """This convolution with these weights and what follows it by a native kernel; None where torch does it."""
        if self.flip_kernel:
            weight = weight.flip((2, 3))
        return run_block(x, weight, bias, self.geometry(x.shape), activation=activation, pool=pool, groups=self.groups)

    def geometry(self, shape: Sequence[int]) -> Geometry:
        """Where the kernel looks in an input of this shape."""
        padding = self._padding
        if padding is None:
            sides = [
                same_padding(*along)
                for along in zip(shape[1:3], self._kernel, self._strides, self._dilation, strict=True)
            ]
            return Geometry(self._kernel, self._strides, (*sides[0], *sides[1]), self._dilation)
        (top, left) = padding
        return Geometry(self._kernel, self._strides, (top, top, left, left), self._dilation)


class Conv3D(Convolution):
    """Convolution over volumes: (B, D, H, W, C) -> (B, D', H', W', F).

    ``weight`` is (F, C/G, kD, kH, kW) as in ``nn.Conv3d``.

    >>> Conv3D(8, 3)(torch.zeros(2, 5, 6, 7, 1)).shape
    torch.Size([2, 3, 4, 5, 8])
    """

    axes = 3
    rank = 5
    convolve = staticmethod(F.conv3d)
    keras_weights = (("weight", (2, 3, 4, 1, 0)), ("bias", None))

"""BatchNormalization, LayerNormalization, GroupNormalization: values of mean 0 and variance 1, then scale and shift.

B batch, S… spatial axes, C channels, G groups.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import channels_first, channels_last, each_axis
from corecur.layers.initializers import Initializer, find_initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank, of_real_steps
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape


class ScaledNormalization(Layer):
    """What the normalisations share: ``weight`` (Keras' gamma) and ``bias`` (beta), as ``torch.nn`` calls them."""

    fixes_channels = True
    keras_weights: ClassVar[tuple[tuple[str, tuple[int, ...] | None], ...]] = (("weight", None), ("bias", None))

    def __init__(
        self,
        *,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: str | Initializer,
        gamma_initializer: str | Initializer,
        beta_regularizer: str | Regularizer | None,
        gamma_regularizer: str | Regularizer | None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)) or not epsilon > 0:
            raise ConfigError(f"{type(self).__name__} needs an epsilon above 0", got=repr(epsilon))
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self.beta_regularizer = beta_regularizer
        self.gamma_regularizer = gamma_regularizer
        self.weight: nn.Parameter | None
        self.bias: nn.Parameter | None
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def make_scale(self, shape: tuple[int, ...]) -> None:
        """The scale and the shift, where asked for."""
        if self.scale:
            self.weight = self.add_weight(shape, initializer=self.gamma_initializer, regularizer=self.gamma_regularizer)
        if self.center:
            self.bias = self.add_weight(shape, initializer=self.beta_initializer, regularizer=self.beta_regularizer)

    def check_axis(self, axis: int, rank: int) -> None:
        """Refuse any axis but the last."""
        if axis not in (-1, rank - 1):
            raise ConfigError(f"{self.title} normalises the channels, the last axis", got=f"axis={axis}")


class BatchNormalization(ScaledNormalization):
    """Each channel by its mean and variance over the batch and all positions (Ioffe & Szegedy 2015): (B, S…, C).

    ``momentum`` is Keras': running ← momentum · running + (1 - momentum) · batch. State names and shapes are those of
    ``nn.BatchNorm2d``, and so is the running variance: it takes the batch's variance with n - 1 in the denominator
    where Keras has n, n being the values of a channel in the batch. The running statistics are used in eval mode, when
    the layer is frozen (``trainable=False``, as in Keras), and for a batch of one value per channel, which has no
    variance. Of masked sequences, the steps that are not real count for nothing.

    >>> BatchNormalization()(torch.tensor([[1.0], [3.0]])).flatten()
    tensor([-0.9995,  0.9995], grad_fn=<ViewBackward0>)
    """

    keras_weights = (("weight", None), ("bias", None), ("running_mean", None), ("running_var", None))
    supports_masking = True
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        axis: int = -1,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | Initializer = "zeros",
        gamma_initializer: str | Initializer = "ones",
        moving_mean_initializer: str | Initializer = "zeros",
        moving_variance_initializer: str | Initializer = "ones",
        beta_regularizer: str | Regularizer | None = None,
        gamma_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            **options,
        )
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ConfigError("BatchNormalization needs a momentum from 0 to 1", got=repr(momentum))
        self.axis = axis
        self.momentum = momentum
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer
        self._share = 1.0 - momentum

    def build(self, input_shape: Shape) -> None:
        self.check_axis(self.axis, len(input_shape))
        channels = int(input_shape[-1] or 0)
        self.make_scale((channels,))
        mean, variance = torch.empty(channels), torch.empty(channels)
        self.register_buffer("running_mean", find_initializer(self.moving_mean_initializer)(mean))
        self.register_buffer("running_var", find_initializer(self.moving_variance_initializer)(variance))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is None or not self.training or x.is_meta:
            return self._normalise(x if mask is None else blank(x, mask))
        return of_real_steps(self._normalise, x, mask)

    def _normalise(self, x: Tensor) -> Tensor:
        uses_batch = self.training and self._trainable and x.numel() > x.shape[-1]
        if uses_batch:
            self.num_batches_tracked.add_(1)
        # images as (B, C, H, W) in channels_last memory, anything else as (B·S…, C): both are torch's fast ways
        values = x.permute(0, 3, 1, 2) if x.ndim == 4 else x.reshape(-1, x.shape[-1])
        y = torch.batch_norm(
            values,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            uses_batch,
            self._share,
            self.epsilon,
            torch.backends.cudnn.enabled,
        )
        return y.permute(0, 2, 3, 1) if x.ndim == 4 else y.view(x.shape)


class LayerNormalization(ScaledNormalization):
    """Each sample by its own mean and variance over ``axis``, the last axis or several last ones (Ba et al. 2016).

    ``weight`` and ``bias`` have the shape of those axes, as in ``nn.LayerNorm``. A mask goes on unless
    time is one of them; steps that are not real then count as zeros.

    >>> LayerNormalization()(torch.tensor([[1.0, 3.0]])).detach()
    tensor([[-0.9995,  0.9995]])
    """

    def __init__(
        self,
        axis: int | tuple[int, ...] = -1,
        *,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | Initializer = "zeros",
        gamma_initializer: str | Initializer = "ones",
        beta_regularizer: str | Regularizer | None = None,
        gamma_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            **options,
        )
        self.axis = axis

    def build(self, input_shape: Shape) -> None:
        rank = len(input_shape)
        axes = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        places = sorted(axis % rank for axis in axes if -rank <= axis < rank)
        if not axes or places != list(range(rank - len(axes), rank)) or 0 in places:
            expected = "-1, (-2, -1), … (the batch axis not among them)"
            raise ConfigError(f"{self.title} normalises the last axes", got=f"axis={self.axis}", expected=expected)
        sizes = input_shape[-len(axes) :]
        if None in sizes:
            raise ShapeError(f"{self.title} needs to know the sizes of axis {self.axis}", got=input_shape)
        self._sizes = tuple(size for size in sizes if size is not None)
        self.make_scale(self._sizes)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if x.shape[-len(self._sizes) :] != self._sizes:
            raise ShapeError(f"{self.title} was built for (…, {self._sizes})", got=tuple(x.shape))
        if mask is not None:  # the gradient of the scale would take up a NaN there, times 0
            x = blank(x, mask)
        return torch.layer_norm(x, self._sizes, self.weight, self.bias, self.epsilon)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The mask, where each step is normalised alone."""
        return mask if inputs.ndim - len(self._sizes) > 1 else None


class GroupNormalization(ScaledNormalization):
    """Each sample and group of channels by its mean and variance (Wu & He 2018): (B, S…, C).

    ``groups=-1`` makes each channel a group of its own. ``weight`` and ``bias`` are (C,) as in ``nn.GroupNorm``.
    Of masked sequences, mean and variance are those of the real steps.

    >>> GroupNormalization(groups=2)(torch.ones(2, 7, 7, 4)).shape
    torch.Size([2, 7, 7, 4])
    """

    supports_masking = True

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        *,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | Initializer = "zeros",
        gamma_initializer: str | Initializer = "ones",
        beta_regularizer: str | Regularizer | None = None,
        gamma_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            **options,
        )
        if groups != -1:
            each_axis(groups, 1, what="GroupNormalization's number of groups")
        self.groups = groups
        self.axis = axis

    def build(self, input_shape: Shape) -> None:
        self.check_axis(self.axis, len(input_shape))
        channels = int(input_shape[-1] or 0)
        self._groups = channels if self.groups == -1 else self.groups
        if channels % self._groups:
            raise ShapeError(
                f"{self.title} cannot split {channels} channels into {self._groups} groups",
                got=input_shape,
                do="choose groups that divide the channels",
            )
        self.make_scale((channels,))

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            return self._normalise_real(x, mask)
        if x.ndim == 3:  # as an image of height 1, so that torch takes its channels_last way
            return channels_last(self._normalise(x.unsqueeze(1))).squeeze(1)
        return channels_last(self._normalise(x))

    def _normalise(self, x: Tensor) -> Tensor:
        cudnn = torch.backends.cudnn.enabled
        return torch.group_norm(channels_first(x), self._groups, self.weight, self.bias, self.epsilon, cudnn)

    def _normalise_real(self, x: Tensor, mask: Tensor) -> Tensor:
        groups = torch.unflatten(blank(x, mask), -1, (self._groups, -1))  # (B, T, …, C) -> (B, T, …, G, C/G)
        axes = (*range(1, groups.ndim - 2), groups.ndim - 1)  # all but B and G
        count = mask.sum(1).clamp(min=1) * (math.prod(groups.shape[2:]) // self._groups)  # (B,), values of a group
        count = count.view(-1, *(1,) * (groups.ndim - 1)).to(x.dtype)
        centred = blank(groups - groups.sum(axes, keepdim=True) / count, mask)
        variance = (centred * centred).sum(axes, keepdim=True) / count
        y = (centred * torch.rsqrt(variance + self.epsilon)).flatten(-2)
        y = y if self.weight is None else y * self.weight
        return y if self.bias is None else y + self.bias

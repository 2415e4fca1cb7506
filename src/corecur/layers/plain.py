"""Whether anybody could tell if a layer ran: what several layers at once, in one native call, must not change."""

from __future__ import annotations

from typing import Any

from torch import nn

from corecur.layers.layer import Layer


def is_plain(layer: Any) -> bool:
    """Whether a layer does what its class says and no more.

    >>> layer = Layer()
    >>> layer.built = True
    >>> is_plain(layer), is_plain(Layer()), is_plain(nn.ReLU())
    (True, False, False)
    """
    return not (
        not isinstance(layer, Layer)
        or not layer.built
        or layer.dtype is not None
        or layer._activity_regularizer is not None
        or "forward" in layer.__dict__
        or layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )


def hooked_everywhere() -> bool:
    """Whether somebody watches all modules.

    >>> hooked_everywhere()
    False
    """
    every = nn.modules.module
    return bool(
        every._global_forward_hooks
        or every._global_forward_pre_hooks
        or every._global_backward_hooks
        or every._global_backward_pre_hooks
    )

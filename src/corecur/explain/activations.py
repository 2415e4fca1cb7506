"""Filters of convolutions, and what each of them finds in a sample.

H height, W width, T time, C channels, F filters.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from corecur.errors import ConfigError
from corecur.explain.attribution import Array, Panel
from corecur.explain.grad_cam import find_layer
from corecur.explain.question import Question
from corecur.layers.layer import Layer

_MOST_LAYERS, _MOST_MAPS = 3, 64


def activation_maps(question: Question, *, layer: str | None = None) -> tuple[Panel, ...]:
    """What the filters of a layer find in the sample, a map each; of the first three convolutions by default.

    >>> from corecur.explain.question import plain_question
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()).eval()
    >>> score = lambda x: network(x.permute(0, 3, 1, 2)).mean((1, 2, 3))
    >>> question = plain_question(score, torch.rand(6, 6, 1), network=network, kind="image")
    >>> activation_maps(question)[0].title
    '0: 2 maps of 6 × 6'
    """
    chosen = [find_layer(question.network, layer)] if layer is not None else _convolutions(question.network)
    kept: dict[str, tuple[nn.Module, Tensor]] = {}
    hooks = []
    for path, module in chosen[:_MOST_LAYERS]:

        def keep(module: nn.Module, args: object, output: Tensor, path: str = path) -> None:
            kept.setdefault(path, (module, output.detach()))

        hooks.append(module.register_forward_hook(keep))
    try:
        question.scores(question.inputs[None])
    finally:
        for hook in hooks:
            hook.remove()
    panels = []
    for path, (module, output) in kept.items():
        maps = output[0].movedim(-1, 0) if isinstance(module, Layer) else output[0]  # (F, …)
        if maps.ndim not in (2, 3):
            raise ConfigError(f"the layer {path!r} gives no maps", got=tuple(output.shape), do="name a convolution")
        values = maps[:_MOST_MAPS].float().cpu().numpy()
        if maps.ndim == 2:
            panels.append(Panel(f"{path}: {len(maps)} filters over time", values, across="step", down="filter"))
        else:
            panels.append(Panel(f"{path}: {len(maps)} maps of {maps.shape[1]} × {maps.shape[2]}", tiled(values)))
    return tuple(panels)


def filters(question: Question, *, layer: str | None = None) -> tuple[Panel, ...]:
    """The weights of the filters of convolutions, the mean over input channels of each.

    >>> from corecur.explain.question import plain_question
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()).eval()
    >>> score = lambda x: network(x.permute(0, 3, 1, 2)).mean((1, 2, 3))
    >>> question = plain_question(score, torch.rand(6, 6, 1), network=network, kind="image")
    >>> filters(question)[0].title
    '0: 2 filters of 3 × 3'
    """
    chosen = [find_layer(question.network, layer)] if layer is not None else _convolutions(question.network)
    panels = []
    for path, module in chosen[:_MOST_LAYERS]:
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim not in (3, 4):
            raise ConfigError(f"the layer {path!r} has no filters", do="name a convolution")
        means = weight.detach().float().mean(1).cpu().numpy()[:_MOST_MAPS]  # (F, C, …) -> (F, …)
        title = f"{path}: {len(weight)} filters of {' × '.join(map(str, weight.shape[2:]))}"
        panels.append(
            Panel(title, means, across="step", down="filter") if means.ndim == 2 else Panel(title, tiled(means))
        )
    return tuple(panels)


def tiled(maps: Array) -> Array:
    """Maps (N, H, W) side by side in rows, each divided by its largest magnitude, with gaps of NaN.

    >>> tiled(np.ones((3, 2, 2))).shape
    (5, 5)
    """
    count, height, width = maps.shape
    across = math.ceil(math.sqrt(count))
    largest = np.abs(maps).max((1, 2), keepdims=True)
    scaled = maps / np.where(largest > 0, largest, 1)
    down = math.ceil(count / across)
    sheet = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for place, tile in enumerate(scaled):
        top, left = place // across * (height + 1), place % across * (width + 1)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _convolutions(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The convolutions of a network, by path; ConfigError where there is none."""
    found = [
        (path, module)
        for path, module in network.named_modules()
        if "conv" in type(module).__name__.casefold() and isinstance(getattr(module, "weight", None), Tensor)
    ]
    if not found:
        raise ConfigError("the network has no convolution", do="take another explanation method")
    return found


def last_features(question: Question, variants: Tensor | None = None) -> Tensor:
    """What the last dense layer of a network is shown of N variants of a sample, by default of it alone: (N, F).

    Samples that are alike for the network lie near each other there.

    >>> from corecur.explain.question import plain_question
    >>> network = nn.Linear(3, 2)
    >>> last_features(plain_question(lambda x: network(x)[:, 0], torch.ones(3), network=network))
    tensor([[1., 1., 1.]])
    """
    inputs = question.inputs[None] if variants is None else variants
    kept: dict[int, Tensor] = {}

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        kept.setdefault(id(module), args[0].detach())

    dense = [m for m in question.network.modules() if type(m).__name__ in ("Dense", "Linear")]
    hooks = [module.register_forward_pre_hook(keep) for module in dense]
    try:
        found = []
        for piece in torch.split(inputs, question.batch):
            kept.clear()
            question.scores(piece)
            found.append(list(kept.values())[-1].float().flatten(1).cpu() if kept else None)
    finally:
        for hook in hooks:
            hook.remove()
    features = [one for one in found if one is not None]
    if not features:
        raise ConfigError("the network has no dense layer to compare samples by", do="take another explanation method")
    return torch.cat(features)

"""Grad-CAM: where a layer's channels speak for the answer (Selvaraju et al. 2017).

H, W or T the axes of a layer's output, F its channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.errors import ConfigError, nearest
from corecur.explain.question import Question, differentiable
from corecur.layers.layer import Layer

# A map of fewer places along an axis says little of where; a larger one is looked for among earlier layers.
_LEAST_SIDE = 4


def grad_cam(question: Question, *, layer: str | None = None) -> Tensor:
    """``relu(Σ_k α_k A_k)``, α the mean gradient of each channel A of the layer, brought to the input's size.

    ``layer`` is the name of any layer, a nested one with its path (``blocks.2.conv``); by default `last_maps`. Of a
    network that is called several times for one answer, the first call is looked at. Raises ConfigError where there is
    no such layer, or its output has no places.

    >>> from corecur.explain.question import plain_question
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()).eval()
    >>> score = lambda x: network(x.permute(0, 3, 1, 2)).mean((1, 2, 3))
    >>> question = plain_question(score, torch.rand(6, 6, 1), network=network, kind="image")
    >>> grad_cam(question).shape
    torch.Size([6, 6])
    """
    name, module = find_layer(question.network, layer) if layer is not None else last_maps(question)
    kept: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, args, output: kept.append(output))
    try:
        with differentiable(question.network), torch.enable_grad():
            score = question.score(question.inputs.detach().clone().requires_grad_()[None]).sum()
            if not kept or not _is_map(kept[0], question):
                raise _no_places(name, kept[0] if kept else None)
            (slope,) = torch.autograd.grad(score, kept[0])
    finally:
        hook.remove()
    maps, slope = (_channels_first(module, found.detach())[0].float() for found in (kept[0], slope))  # (F, …)
    weights = slope.flatten(1).mean(1)
    cam = torch.relu((weights.view(-1, *[1] * (maps.ndim - 1)) * maps).sum(0))
    size = tuple(question.parts.shape[: cam.ndim])
    mode = "bilinear" if cam.ndim == 2 else "linear"
    found = F.interpolate(cam[None, None], size=size, mode=mode, align_corners=False)[0, 0]
    if found.ndim < question.parts.ndim:  # by time: all channels of a step share its score
        found = (found / question.parts.shape[-1])[:, None].expand(question.parts.shape)
    return found.contiguous()


def find_layer(network: nn.Module, name: str) -> tuple[str, nn.Module]:
    """A layer by its path in the network, or by its own name; ConfigError with the nearest one where there is none.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU()))
    >>> find_layer(network, "1.1")
    ('1.1', ReLU())
    """
    known = {path: module for path, module in network.named_modules() if path}
    called = {str(getattr(module, "name", None) or path): module for path, module in known.items()} | known
    if name in called:
        return name, called[name]
    guess = nearest(name, called)
    raise ConfigError(
        f"the network has no layer {name!r}",
        expected="one of " + ", ".join(known),
        do=f"did you mean {guess!r}?" if guess else "take one of these names",
    )


def last_maps(question: Question) -> tuple[str, nn.Module]:
    """The last layer whose output is a map over the sample that still says where: four places or more along each axis.

    Where no layer gives one, the largest map's; ConfigError where none gives a map at all, as in a network without
    convolutions.

    >>> from corecur.explain.question import plain_question
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()).eval()
    >>> score = lambda x: network(x.permute(0, 3, 1, 2)).mean((1, 2, 3))
    >>> question = plain_question(score, torch.rand(6, 6, 1), network=network, kind="image")
    >>> last_maps(question)
    ('1', ReLU())
    """
    seen: dict[str, tuple[nn.Module, int]] = {}
    hooks = []
    for path, module in question.network.named_modules():
        if path and not list(module.children()):

            def keep(module: nn.Module, args: object, output: object, path: str = path) -> None:
                if isinstance(output, Tensor) and _is_map(output, question):
                    seen.setdefault(path, (module, min(_channels_first(module, output).shape[2:])))

            hooks.append(module.register_forward_hook(keep))
    try:
        question.scores(question.inputs[None])
    finally:
        for hook in hooks:
            hook.remove()
    after = [place for place, (module, _) in enumerate(seen.values()) if "conv" in type(module).__name__.casefold()]
    found = list(seen.items())[after[0] :] if after else []
    if not found:
        raise ConfigError(
            "the network has no convolution whose maps could be looked at", do="take another explanation method"
        )
    path, (module, _) = next(
        (row for row in reversed(found) if row[1][1] >= _LEAST_SIDE), max(found, key=lambda row: row[1][1])
    )
    return path, module


def _is_map(output: object, question: Question) -> bool:
    """Whether it has the places of one sample: (1, H, W, F), or (1, T, F)."""
    axes = question.parts.ndim + 2 - (question.kind == "series")
    return isinstance(output, Tensor) and output.ndim == axes and len(output) == 1


def _channels_first(module: nn.Module, output: Tensor) -> Tensor:
    """(B, …, F) of corecur's layers, (B, F, …) of torch's -> (B, F, …)."""
    return output.movedim(-1, 1) if isinstance(module, Layer) else output


def _no_places(name: str, output: object) -> ConfigError:
    shape = (
        tuple(output.shape) if isinstance(output, Tensor) else "nothing" if output is None else type(output).__name__
    )
    return ConfigError(
        f"the layer {name!r} gives no map over the sample",
        got=shape,
        expected="an output with the sample's axes and channels",
        do="name a convolution or what follows one",
    )

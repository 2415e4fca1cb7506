"""Successive layers: the first ones that one native call computes together, and the others one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from corecur.layers.conv import Conv2D
from corecur.layers.conv_chain import run_chain
from corecur.layers.gru import GRU
from corecur.layers.layer import Layer
from corecur.layers.lstm import LSTM
from corecur.layers.masks import call_plain
from corecur.layers.plain_stretch import LONGEST, pays_alone, run_plainly
from corecur.layers.recurrent_stack import run_stack
from corecur.layers.simple_rnn import SimpleRNN

Run = Callable[[Sequence[Any], Any], tuple[Any, int] | None]
#: By the kind of the first layer: what may run it and some of those behind it at once, the best first.
_AT_ONCE: dict[type[nn.Module], tuple[Run, ...]] = {
    Conv2D: (run_plainly, run_chain),
    **dict.fromkeys((SimpleRNN, LSTM, GRU), (run_stack, run_plainly)),
}


def most_at_once(first: nn.Module) -> int:
    """How many layers may be computed at once where this one is the first.

    >>> most_at_once(nn.ReLU())
    1
    """
    return LONGEST if type(first) in _AT_ONCE else 1


def run_at_once(layers: Sequence[Any], x: Any) -> tuple[Any, int] | None:
    """What the first of these layers make of ``x`` at once, and how many they are; None where they run one by one.

    >>> run_at_once([nn.ReLU(), nn.ReLU()], None) is None
    True
    """
    for run in _AT_ONCE.get(type(layers[0]), ()) if len(layers) > 1 or pays_alone(x) else ():
        found = run(layers[:LONGEST], x)
        if found is not None:
            return found
    return None


def run_layers(layers: Sequence[Any], x: Any) -> Any:
    """What layers (or any modules), one after the other, make of ``x``.

    >>> import torch
    >>> run_layers([nn.ReLU(), nn.Flatten()], torch.tensor([[[-1.0], [2.0]]]))
    tensor([[0., 2.]])
    """
    at = 0
    while at < len(layers):
        layer = layers[at]
        found = run_at_once(layers[at:], x) if type(layer) in _AT_ONCE else None
        if found is None:
            x = layer(x) if isinstance(layer, Layer) else call_plain(layer, x)
            at += 1
        else:
            x, passed = found
            at += passed
    return x

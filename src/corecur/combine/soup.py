"""One network from the weights of several: their average, of as many as do the validation split good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from corecur.engine.norm_statistics import counting_statistics


def average_of(states: Sequence[dict[str, Tensor]], like: nn.Module) -> dict[str, Tensor]:
    """The mean of state dicts, tensor by tensor in their order, under the names of ``like``; counters as in the first.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> average_of([{"a": torch.tensor([[1.0]])}, {"b": torch.tensor([[3.0]])}], layer)
    {'weight': tensor([[2.]])}
    """
    columns = zip(*(state.values() for state in states), strict=True)
    found = {}
    for name, tensors in zip(like.state_dict(), columns, strict=True):
        same = tensors[0].is_floating_point()
        mean = torch.stack([tensor.double() for tensor in tensors]).mean(0).to(tensors[0].dtype) if same else tensors[0]
        found[name] = mean
    return found


def greedy_soup(
    network: nn.Module,
    states: Sequence[dict[str, Tensor]],
    *,
    loss: Callable[[], float],
    count: Callable[[], Any],
) -> list[int]:
    """Fill ``network`` with the greedy soup of ``states``; the places of those in it, the best first.

    Wortsman et al. 2022, "Model soups": the best by validation ``loss`` first; then each next one is kept where the
    average with it is no worse. ``count`` answers some training batches, from which the statistics of batch
    normalisations are counted anew.
    """

    def tried(places: Sequence[int]) -> float:
        network.load_state_dict(average_of([states[place] for place in places], network))
        if len(places) > 1:
            with counting_statistics(network):
                count()
        return loss()

    alone = [tried([place]) for place in range(len(states))]
    order = sorted(range(len(states)), key=lambda place: (alone[place], place))
    kept, best = order[:1], alone[order[0]]
    for place in order[1:]:
        found = tried([*kept, place])
        if found <= best:
            kept, best = [*kept, place], found
    tried(kept)
    return kept

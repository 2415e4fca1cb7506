"""Words of a text taken away by degrees: a gate of 1 leaves a word as it is, a gate of 0 puts an unknown one there.

N variants of one text, T time (tokens), C channels, O items of a bag, J different ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.data.text.token_arrays import UNKNOWN
from corecur.layers.character_encoder import CharacterEncoder
from corecur.layers.embedding import Embedding
from corecur.layers.embedding_bag import EmbeddingBag
from corecur.layers.masks import mask_of, with_mask

#: What stands in place of a word's vector, (C,): of an embedding.
Base = Callable[[Embedding], Tensor]


@dataclass(frozen=True, eq=False)
class BagItems:
    """What a text holds for an `EmbeddingBag`: the number of each item and the tokens it is made of.

    An item that stands there several times counts once, as long as one of them is there.

    >>> BagItems([7, 9], [[0], [1]]).gates(torch.tensor([[1.0, 0.5]]))[1].tolist()
    [[1.0, 0.5]]
    """

    numbers: Sequence[int]
    tokens: Sequence[Sequence[int]]

    def gates(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """The different items (J,), and the gate of each, (N, J), for gates of tokens (N, T).

        >>> items = BagItems([7, 7, 9], [[0], [1], [0, 1]])
        >>> items.gates(torch.tensor([[1.0, 0.0]]))
        (tensor([7, 9]), tensor([[1., 0.]]))
        """
        different, place = torch.unique(torch.tensor(list(self.numbers), device=gates.device), return_inverse=True)
        longest = max(map(len, self.tokens))
        padded = torch.cat([gates, gates.new_ones(len(gates), 1)], 1)  # the last one fills up: it is always there
        rows = [[*one, *[gates.shape[1]] * (longest - len(one))] for one in self.tokens]
        each = padded[:, torch.tensor(rows, device=gates.device)].prod(2)  # (N, O)
        found = gates.new_zeros(len(gates), len(different))
        return different, found.scatter_reduce(1, place[None].expand_as(each), each, "amax", include_self=False)


def unknown_row(layer: Embedding) -> Tensor:
    """The vector of a word that is not in the vocabulary.

    >>> layer = Embedding(4, 1, "ones")
    >>> _ = layer(torch.tensor([[1]]))
    >>> unknown_row(layer).tolist()
    [1.0]
    """
    return layer.weight[UNKNOWN]


def mean_row(layer: Embedding) -> Tensor:
    """The mean vector of all that can stand there, for vocabularies that know everything.

    >>> layer = Embedding(4, 1, "ones")
    >>> _ = layer(torch.tensor([[1]]))
    >>> mean_row(layer).tolist()
    [1.0]
    """
    return layer.weight[UNKNOWN + 1 :].mean(0)


@contextlib.contextmanager
def gated(
    network: nn.Module, gates: Tensor, *, base: Base = unknown_row, items: BagItems | None = None
) -> Iterator[None]:
    """A network that sees tokens through gates (N, T) meanwhile: vectors blend into those of an absent token.

    Spellings fade to nothing, and a bag of ``items`` holds what its tokens' gates leave of them.

    >>> layer = Embedding(4, 1, "ones")
    >>> with gated(layer, torch.tensor([[1.0, 0.5]]), base=lambda layer: torch.zeros(1)):
    ...     layer(torch.tensor([[2, 3]])).flatten().tolist()
    [1.0, 0.5]
    """

    def blend(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if args[0].is_floating_point():  # the way back from vectors to tokens
            return None
        absent = base(module) if isinstance(module, Embedding) else output.new_zeros(output.shape[-1])
        share = F.pad(gates, (0, output.shape[1] - gates.shape[1]), value=1.0).unsqueeze(2).to(output)
        return with_mask(absent + share * (output - absent), mask_of(output))

    def weigh(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output if not isinstance(module, EmbeddingBag) else bagged(module, gates, items)

    hooks = []
    for module in network.modules():
        if isinstance(module, (Embedding, CharacterEncoder)):
            hooks.append(module.register_forward_hook(blend))
        elif isinstance(module, EmbeddingBag):
            hooks.append(module.register_forward_hook(weigh))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def bagged(layer: EmbeddingBag, gates: Tensor, items: BagItems | None) -> Tensor:
    """What the layer gives for items behind gates (N, T): ``b + Σ_j g_j W_j / max(1, Σ_j g_j)^e``, (N, C).

    >>> layer = EmbeddingBag(4, 1, "ones", mode="sum", mask_zero=True)
    >>> _ = layer(torch.tensor([[2, 3]]))
    >>> bagged(layer, torch.tensor([[1.0, 0.5]]), BagItems([2, 3], [[0], [1]])).tolist()
    [[1.5]]
    """
    if items is None or not items.numbers:
        y = layer.weight.new_zeros(len(gates), layer.weight.shape[1])
    else:
        numbers, shares = items.gates(gates.to(layer.weight))
        y = shares @ layer.weight[numbers] / shares.sum(1, keepdim=True).clamp(min=1) ** layer._power
    return y if layer.bias is None else y + layer.bias

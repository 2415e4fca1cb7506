"""How much each word counted in a reading: attention, or what a convolution's filters found where.

B batch, T time (tokens), T' steps after pooling, F filters.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from corecur.layers.attention_pooling import AttentionPooling
from corecur.layers.conv import Conv1D
from corecur.layers.pool import MaxPooling1D


class WordWeights:
    """Inside the block, what was read where in the last call of a network: weights of sum 1 for each text.

    With attention they are its own weights; a step that stands for several tokens shares its weight among them. Without
    it, each filter of the convolutions gives what it found to the token at the middle of the window where it found
    most. A text in which nothing was found has equal weights.

    >>> from corecur.layers.embedding import Embedding
    >>> from corecur.models import Sequential
    >>> network = Sequential([Embedding(9, 4, mask_zero=True), AttentionPooling(3)])
    >>> with WordWeights(network) as weigh:
    ...     _ = network(torch.tensor([[5, 6], [7, 0]]))
    ...     weigh(torch.tensor([[True, True], [True, False]]))[1]
    (1.0,)
    """

    def __init__(self, network: nn.Module) -> None:
        self._attention = [module for module in network.modules() if isinstance(module, AttentionPooling)][:1]
        self._convolutions = [] if self._attention else [m for m in network.modules() if isinstance(m, Conv1D)]
        pools = (m.pool_size for m in network.modules() if isinstance(m, MaxPooling1D))
        self._pool = next((size for size in pools if isinstance(size, int)), 1)
        self._found: list[Tensor] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        self._hooks = [layer.register_forward_hook(self._keep) for layer in self._convolutions]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, module: nn.Module, args: object, output: Tensor) -> None:
        self._found = [*self._found, output][-len(self._convolutions) :]

    def __call__(self, mask: Tensor) -> list[tuple[float, ...]]:
        """The weights of the real tokens of each text of the last call; ``mask`` (B, T) is False at padding."""
        weights = self._of_attention(mask) if self._attention else self._of_filters(mask)  # (B, T)
        weights = weights.float().masked_fill(~mask, 0.0)
        total, count = weights.sum(1, keepdim=True), mask.sum(1, keepdim=True)
        weights = torch.where(total > 0, weights / total, mask / count.clamp(min=1))
        lengths = mask.sum(1).tolist()
        return [tuple(row[:length]) for row, length in zip(weights.tolist(), lengths, strict=True)]

    def _of_attention(self, mask: Tensor) -> Tensor:
        attention = self._attention[0].last_attention
        if attention is None:
            return mask.float()
        return attention.repeat_interleave(self._pool, 1)[:, : mask.shape[1]]  # (B, T') -> (B, T)

    def _of_filters(self, mask: Tensor) -> Tensor:
        weights = torch.zeros(mask.shape, device=mask.device)
        for output in self._found:  # (B, T, F) each
            best, place = output.float().masked_fill(~mask[..., None], 0.0).max(1)  # (B, F)
            weights.scatter_add_(1, place, best.clamp(min=0))
        return weights

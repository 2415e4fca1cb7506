"""Attention: the softmax of scores over the keys that are real, and the values it weighs.

B batch, Q queries (steps that look), T keys (steps looked at).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ShapeError
from corecur.layers.dropout import drop
from corecur.layers.masks import blank, checked_mask
from corecur.layers.symbolic import shape_of


def attention_weights(scores: Tensor, allowed: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Softmax over the last axis of (…, T) where ``allowed`` (broadcast to it) is True, 0 elsewhere.

    A row without anything allowed has weights of 0, not NaN, and passes no gradient on. ``dropout`` is the share of
    weights dropped (0 in evaluation).

    >>> attention_weights(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]]))
    tensor([[1., 0.],
            [0., 0.]])
    """
    if allowed is None:
        weights = torch.softmax(scores, -1)
    else:  # the least finite number and not -inf: of a row of -inf, the softmax and its gradient are NaN
        least = torch.finfo(scores.dtype).min
        weights = torch.softmax(scores.masked_fill(~allowed, least), -1).masked_fill(~allowed, 0.0)
    return drop(weights, dropout, weights.shape) if dropout else weights


def allowed_pairs(
    queries: int, keys: Tensor, key_mask: Tensor | None, *, causal: bool, pairs: Tensor | None = None
) -> Tensor | None:
    """Which query may look at which key, broadcast to (B, Q, T); None where every one may.

    ``key_mask`` (B, T) leaves out keys that are not real, ``causal`` those after the query, ``pairs`` (… Q, T) what it
    holds False for.

    >>> allowed_pairs(2, torch.zeros(1, 2, 4), None, causal=True)
    tensor([[[ True, False],
             [ True,  True]]])
    """
    found = None if key_mask is None else key_mask.unsqueeze(1)  # (B, T) -> (B, 1, T)
    if causal:
        past = torch.ones(queries, keys.shape[1], dtype=torch.bool, device=keys.device).tril().unsqueeze(0)
        found = past if found is None else found & past
    if pairs is not None:
        pairs = pairs.bool()
        found = pairs if found is None else found & pairs
    return found


def check_keys(query: Tensor, key: Tensor, value: Tensor, title: str) -> None:
    """Refuse queries (B, Q, …), keys (B, T, …) and values (B, T, …) that do not go together."""
    if any(x.ndim != 3 for x in (query, key, value)) or key.shape[:2] != value.shape[:2] or len(query) != len(key):
        raise ShapeError(
            f"{title} cannot put these together",
            got=f"query {shape_of(query)}, value {shape_of(value)}, key {shape_of(key)}",
            expected="query (batch, queries, features), value and key (batch, time, features)",
        )


def attend(
    query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None, scale: float, dropout: float = 0.0
) -> Tensor:
    """``softmax(scale · query key^T) value`` over the allowed keys, by torch's fused kernels: (…, Q, V).

    A query with nothing allowed gets zeros.

    >>> q, v = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 1.0], [5.0, 5.0]]])
    >>> attend(q, v, v, torch.tensor([[[True, False]]]), 1.0)
    tensor([[[1., 1.]]])
    """
    if allowed is None:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale)
    empty = ~allowed.any(-1, keepdim=True)  # which rows torch leaves to its kernels: some of them give NaN
    output = F.scaled_dot_product_attention(query, key, value, allowed | empty, dropout_p=dropout, scale=scale)
    return output.masked_fill(empty, 0.0)


def split_inputs(
    inputs: Sequence[Tensor], masks: Sequence[Tensor | None] | None, title: str
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Query, value and key out of a list of two or three, what is not real in them blank; the query's and key's mask.

    The mask of the key is that of the value unless it has its own.
    """
    if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
        raise ShapeError(f"{title} takes a list of tensors", got=len(inputs), expected="[query, value] or with a key")
    given = [None] * len(inputs) if masks is None else list(masks)
    if not isinstance(masks, (list, tuple, type(None))) or len(given) not in (2, len(inputs)):
        raise ShapeError(f"{title} takes a list of masks, one for each input", got=type(masks).__name__)
    given += [None] * (len(inputs) - len(given))
    found = [m if m is None else checked_mask(m, x, title) for m, x in zip(given, inputs, strict=True)]
    query_mask, value_mask, key_mask = found[0], found[1], found[-1] if found[-1] is not None else found[1]
    query, value = inputs[0], inputs[1]
    query = query if query_mask is None else blank(query, query_mask)
    seen = key_mask if value_mask is None or key_mask is None else key_mask & value_mask
    value = value if seen is None else blank(value, seen)
    if len(inputs) == 2:
        return query, value, value, query_mask, seen
    return query, value, inputs[2] if seen is None else blank(inputs[2], seen), query_mask, seen

"""Forecasts that need no training, for every window of a batch at once: what a model has to beat.

Shapes: B batch, L lookback, H horizon, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from corecur.errors import ConfigError
from corecur.names import Table


def last_value(past: Tensor, horizon: int) -> Tensor:
    """``ŷ(h) = y(L)``: past (B, L, C) -> (B, H, C).

    >>> last_value(torch.tensor([[[1.0], [2.0]]]), 2).flatten().tolist()
    [2.0, 2.0]
    """
    _check(past, horizon, 1)
    return past[:, -1:].expand(-1, horizon, -1)


def seasonal_naive(past: Tensor, horizon: int, period: int) -> Tensor:
    """``ŷ(h) = y(L + h - k·period)``, the value one season (or as few as reach back) before: (B, L, C) -> (B, H, C).

    Raises ConfigError where the past is shorter than a season.

    >>> seasonal_naive(torch.tensor([[[1.0], [2.0], [3.0]]]), 3, 2).flatten().tolist()
    [2.0, 3.0, 2.0]
    """
    _check(past, horizon, period)
    return past[:, past.shape[1] - period + torch.arange(horizon, device=past.device) % period]


def drift(past: Tensor, horizon: int) -> Tensor:
    """``ŷ(h) = y(L) + h · (y(L) - y(1)) / (L - 1)``, the line through the first and the last value.

    Past (B, L, C) -> (B, H, C). Raises ConfigError where the past has one value only.

    >>> drift(torch.tensor([[[1.0], [2.0], [5.0]]]), 2).flatten().tolist()
    [7.0, 9.0]
    """
    _check(past, horizon, 2)
    slope = (past[:, -1:] - past[:, :1]) / (past.shape[1] - 1)  # (B, 1, C)
    steps = torch.arange(1, horizon + 1, device=past.device, dtype=past.dtype)[None, :, None]  # (1, H, 1)
    return past[:, -1:] + slope * steps


#: name -> (past (B, L, C), horizon, period) -> (B, H, C)
BASELINES: Table[Callable[[Tensor, int, int], Tensor]] = Table(
    "baseline",
    {
        "last_value": lambda past, horizon, _period: last_value(past, horizon),
        "seasonal_naive": seasonal_naive,
        "drift": lambda past, horizon, _period: drift(past, horizon),
    },
    aliases={"naive": "last_value"},
)


def _check(past: Tensor, horizon: int, least: int) -> None:
    if horizon < 1 or least < 1:
        raise ConfigError("wrong horizon or period", got=f"horizon {horizon}, period {least}", expected="1 or more")
    if past.shape[1] < least:
        raise ConfigError(
            "the past is too short for this forecast",
            got=f"{past.shape[1]} rows",
            expected=f"at least {least}",
            do="use a longer lookback, or another baseline",
        )

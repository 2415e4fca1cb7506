"""Which class is explained, and what was answered, in words."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from corecur.errors import ConfigError, nearest
from corecur.report.charts import percent

_MOST_NAMED = 30


def wanted_class(classes: Sequence[str], probabilities: Tensor, target: str | None, *, what: str = "label") -> int:
    """The number of the class asked for, or of the likeliest (K,); ConfigError, with the nearest, for an unknown one.

    >>> import torch
    >>> wanted_class(("cat", "dog"), torch.tensor([0.2, 0.8]), None), wanted_class(("cat", "dog"), torch.ones(2), "cat")
    (1, 0)
    """
    if target is None:
        return int(probabilities.argmax())
    if target in classes:
        return list(classes).index(target)
    guess = nearest(target, classes)
    more = ", …" if len(classes) > _MOST_NAMED else ""
    raise ConfigError(
        f"unknown {what} {target!r}",
        expected="one of " + ", ".join(classes[:_MOST_NAMED]) + more,
        do=f"did you mean {guess!r}?"
        if guess
        else f"use one of these, or leave it out to explain the likeliest {what}",
    )


def said(classes: Sequence[str], probabilities: Tensor) -> str:
    """The likeliest class with its probability.

    >>> import torch
    >>> said(("cat", "dog"), torch.tensor([0.25, 0.75]))
    'taken for dog (75.0 %)'
    """
    best = int(probabilities.argmax())
    return f"taken for {classes[best]} ({percent(float(probabilities[best]))})"

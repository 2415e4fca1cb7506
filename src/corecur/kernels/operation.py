"""Native functions as operations of torch: what watches torch sees them; where nothing does they are called at once.

The way through torch's dispatch takes as long as a small recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from corecur.kernels.traced import traced_by

_LIBRARY: Any = torch.library.Library("corecur", "FRAGMENT")  # type: ignore[no-untyped-call]
_PLAIN = frozenset((Tensor, torch.nn.Parameter, NoneType, bool, int, float, str))
_SEVERAL = (list, tuple)


def operation(schema: str, run: Callable[..., Any], shapes: Callable[..., Any]) -> Callable[..., Any]:
    """``run``, for CPUs, as the operation ``corecur::schema``; ``shapes`` gives what it gives, but for the values.

    It takes arguments by place, in lists and tuples where the schema has several.

    >>> twice = operation("twice(Tensor x) -> Tensor", lambda x: 2 * x, torch.empty_like)
    >>> twice(torch.ones(2)), torch.ops.corecur.twice(torch.ones(2))
    (tensor([2., 2.]), tensor([2., 2.]))
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, run, "CPU")
    torch.library.register_fake(f"corecur::{name}", shapes, lib=_LIBRARY)
    dispatched = getattr(torch.ops.corecur, name).default

    def call(*given: Any) -> Any:
        return (dispatched if _is_watched(given) else run)(*given)

    return call


def _is_watched(given: Sequence[Any]) -> bool:
    """Whether a compiler, a tracer, a mode, a profiler or a class of tensors may want to see the operation."""
    if torch.compiler.is_compiling():  # asked first: a compiler cannot follow the other questions
        return True
    if traced_by() is not None or torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        return True
    for part in given:
        kind = type(part)
        if not (_PLAIN.issuperset(map(type, part)) if kind in _SEVERAL else kind in _PLAIN):
            return True
    return False

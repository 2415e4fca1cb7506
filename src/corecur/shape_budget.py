"""How much a described network may ask for, counted while it is built on shapes alone, before anything has memory."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from corecur.errors import BundleError

#: Bytes of one tensor inside the network for one sample; the largest networks for pictures need a tenth.
MOST_BYTES_A_SAMPLE = 1 << 30
#: Operations of all layers together; a network of a thousand layers has a tenth.
MOST_OPERATIONS = 200_000


class ShapeBudget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches every tensor operation inside ``with``; BundleError as soon as one makes too much, or there are too many.

    ``rows`` is the largest batch that the shapes are tried with.

    >>> with ShapeBudget(rows=1), torch.device("meta"):
    ...     torch.empty(1 << 40)
    Traceback (most recent call last):
        ...
    corecur.errors.BundleError: the network holds a tensor of 4,398,046,511,104 bytes [too-much]
    """

    def __init__(self, *, rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._most_bytes = MOST_BYTES_A_SAMPLE * max(1, rows)
        self._operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._operations += 1
        if self._operations > MOST_OPERATIONS:
            raise BundleError("too-much", f"the network has more than {MOST_OPERATIONS:,} operations")
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.numel() * tensor.itemsize > self._most_bytes:
                size = tensor.numel() * tensor.itemsize
                raise BundleError("too-much", f"the network holds a tensor of {size:,} bytes")
        return result

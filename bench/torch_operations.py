"""Which of torch's operations run inside a block of code: what a library really does, whatever it is called."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Inside the block: the names of torch's operations that run. Not in inference mode, which shows no parts.

    >>> import torch
    >>> with Operations() as seen:
    ...     _ = torch.ones(1) + 1
    >>> "aten::add" in seen.names
    True
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(function._schema.name)
        return function(*args, **(kwargs or {}))

    @property
    def recurrence(self) -> str:
        """How a recurrence was run: as one operation of oneDNN, or step by step."""
        return "oneDNN" if "aten::mkldnn_rnn_layer" in self.names else "step by step"

"""What looks over torch's shoulder and needs its operations, one by one, in place of a native kernel."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def traced_by() -> str | None:
    """What watches torch's operations at the moment and cannot follow a native kernel; None as a rule.

    >>> traced_by() is None
    True
    """
    if torch._C._is_tracing():
        return "torch.jit.trace"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a transform of torch.func"
    if torch._C._len_torch_dispatch_stack():
        return "a dispatch mode"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    return None
